// How long an outage of the broker is felt after its end.
import { setTimeout as sleep } from 'node:timers/promises';
import { startNetwork } from '../harness/network.ts';
import { measureBacklog } from '../src/platform/events/store/backlog.ts';
import type { Database } from './database.ts';
import { createCaller, timeOf } from './load.ts';
import { operations } from './operations.ts';
import { type Measurement, takeTurns } from './row.ts';
import type { Stage } from './stage.ts';

const changes = 10_000;
const rounds = 2;
const warmUpChanges = 100;
const pollMs = 50;

export const backlog: Measurement = {
  definition: `RabbitMQ cannot be reached while ${changes} PUTs, each of another user, are answered. From the moment when it can be reached again until nothing waits to be published and the inbox holds every event, the wait for the next attempt to connect included. Floor: as many inbox rows at the rate at which 32 callers write them in a bare loop.`,
  async measure(stage) {
    await using database = await stage.cloneDatabase('users');
    await using untouched = await stage.cloneDatabase('empty');
    await using rabbit = await stage.createVhost();
    const { hostname, port } = new URL(rabbit.url);
    await using network = await startNetwork({ host: hostname, port: Number(port) });
    await using service = await stage.startService({ DATABASE_URL: database.url, RABBITMQ_URL: withPort(rabbit.url, network.port) });
    await using floor = stage.startFloor('statements', { url: untouched.url, operation: 'handle' });
    using caller = createCaller(service.url);
    let n = 0;
    const write = (count: number) => Promise.all(Array.from({ length: count }, () => caller.call(operations.update.request(++n))));

    const handle = () => floor.ask<number>({ seconds: stage.seconds / rounds });

    // The queue is there from now on.
    await Promise.all([write(warmUpChanges), handle()]);
    await untilHandled(stage, database, warmUpChanges);
    const { measured, loop } = await takeTurns(rounds, {
      async measured() {
        // What was handled before is not to be missed by the consumer when it holds the log against the inbox.
        await database.query('update subscription set position = published_position, logged_at = published_at from event_state');
        await database.query('truncate inbox');
        await network.refuse();
        await write(changes);
        await network.heal();
        return (await timeOf(() => untilHandled(stage, database, changes))) / 1000;
      },
      loop: async () => changes / (await handle()),
    });
    return [
      {
        what: `${changes} events after an outage`,
        unit: 's',
        measured,
        floor: { what: 'inbox rows, bare loop', measured: loop },
        want: { of: 'measured', atMost: 30 },
      },
    ];
  },
};

function withPort(url: string, port: number): string {
  return Object.assign(new URL(url), { port: String(port) }).href;
}

async function untilHandled({ signal }: Stage, database: Database, count: number): Promise<void> {
  for (;;) {
    const [{ handled = 0 } = {}] = await database.query<{ handled: number }>('select count(*)::int as handled from inbox');
    if (handled === count && (await measureBacklog(database)).depth === 0) return;
    await sleep(pollMs, undefined, { signal });
  }
}
