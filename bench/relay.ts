// How fast a backlog leaves the outbox.
import { setTimeout as sleep } from 'node:timers/promises';
import { measureBacklog } from '../src/platform/events/store/backlog.ts';
import type { Database } from './database.ts';
import type { PublisherQuestion } from './floors/publisher.ts';
import { type Measurement, takeTurns } from './row.ts';
import type { Stage } from './stage.ts';

const backlog = 10_000;
const rounds = 3;
const pollMs = 20;

export const relay: Measurement = {
  definition: `A process with RUN=relay empties an outbox of ${backlog} events, each of another user, into a quorum queue, every one confirmed; the clock runs from the first batch that is gone to the last. Floor: a loop that publishes the very same messages with confirms, 500 under way, and touches no database.`,
  async measure(stage) {
    await using database = await stage.cloneDatabase('empty');
    await using rabbit = await stage.createVhost();
    await using floor = stage.startFloor('publisher', { url: rabbit.url });
    const ask = <Answer>(question: PublisherQuestion) => floor.ask<Answer>(question);
    await ask({ task: 'bind' });
    await using _service = await stage.startService({ DATABASE_URL: database.url, RABBITMQ_URL: rabbit.url, RUN: 'relay' });

    const { measured, loop } = await takeTurns(rounds, {
      async measured() {
        await ask({ task: 'purge' });
        return drain(stage, database);
      },
      async loop() {
        await ask({ task: 'collect', count: backlog });
        return ask<number>({ task: 'publish' });
      },
    });
    return [{ what: 'relay, RabbitMQ', unit: '/s', measured, floor: { what: 'bare confirmed publishing', measured: loop } }];
  },
};

/** Events a second. */
async function drain({ signal }: Stage, database: Database): Promise<number> {
  const left = async () => (await measureBacklog(database)).depth;
  await seed(database);
  await untilFewerThan(backlog);
  const [from, startedAt] = [await left(), performance.now()];
  await untilFewerThan(1);
  return (from * 1000) / (performance.now() - startedAt);

  async function untilFewerThan(count: number): Promise<void> {
    while ((await left()) >= count) await sleep(pollMs, undefined, { signal });
  }
}

/** Events as a POST writes them. */
async function seed(database: Database): Promise<void> {
  await database.query(
    `insert into outbox (event_id, event_type, trace_id, traceparent, subject, occurred_at, data)
     select uuidv7(), 'user.created', gen_random_uuid(), '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', n::text, now(),
       json_build_object('user_id', n, 'version', 1, 'changed', json_build_array('name', 'surname', 'password'), 'user', json_build_object(
         'id', n, 'name', 'John', 'surname', 'Doe',
         'created_at', '2025-01-01T10:00:00.000000Z', 'updated_at', '2025-01-01T10:00:00.000000Z'))
     from generate_series(1, $1::int) as n`,
    [backlog],
  );
}
