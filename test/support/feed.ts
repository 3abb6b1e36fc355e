// The event log of a service under test: filled past the service, and what the service says of it.
import type { TestService } from './service.ts';

/** More than sockets of this machine take for a reader who takes nothing. */
export const muchMore = { events: 6000, bytesEach: 4000 };

/** Puts events into the log as the relay does, without users. */
export async function fillLog({ database }: TestService, { events, bytesEach }: typeof muchMore, loggedAt = 'now()'): Promise<void> {
  await database.query(`
    with filled as (
      insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
      select n, ${loggedAt}, gen_random_uuid(), 'user.updated', 'user:' || n % 100, now(), 'filled', 'x',
        json_build_object('user_id', n % 100, 'version', n, 'changed', json_build_array(repeat('x', ${bytesEach})))
      from generate_series(1, ${events}) as n
    )
    update event_state set logged_position = ${events}, logged_at = now(), published_position = ${events}, published_at = now()`);
}

/** @returns the cursor at the end of the log */
export async function endOf({ call }: TestService): Promise<string> {
  const { text } = await call('GET', '/users/snapshot');
  return JSON.parse(text.slice(0, text.indexOf('\n'))).cursor;
}

export async function openStreams(service: TestService): Promise<number> {
  const { text } = await service.call('GET', '/metrics');
  return Number(/^rollcall_streams_open (\d+)$/m.exec(text)?.[1]);
}
