// What events that no queue takes cost those that one does take.
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from 'rabbitmq-client';
import { exchange } from '../src/platform/events/contract/topology.ts';
import type { Database } from './database.ts';
import { createCaller, pace } from './load.ts';
import { operations } from './operations.ts';
import { type Measurement, quantile } from './row.ts';
import type { Stage } from './stage.ts';

const stuck = 60_000;
const perSecond = 50;
const shares = [0.5, 0.99];
const pollMs = 100;

export const stuckEvents: Measurement = {
  definition: `PUTs at a steady ${perSecond} a second, each from its request to the arrival of its event at a queue, while ${stuck} events of another type, each of another user, come back again and again since no queue takes them. Floor: the same service just before those events.`,
  async measure(stage) {
    await using database = await stage.cloneDatabase('users');
    await using rabbit = await stage.createVhost();
    await using queue = await bind(rabbit.url);
    await using service = await stage.startService({ DATABASE_URL: database.url, RABBITMQ_URL: rabbit.url, RUN: 'api,relay' });
    using caller = createCaller(service.url);
    let n = 0;
    const measure = () =>
      pace({ ...stage, perSecond }, () => {
        n += 1;
        const traceId = `Bench-${n}`;
        return Promise.all([queue.arrival(traceId), caller.call({ ...operations.update.request(n), traceId })]);
      });

    await measure();
    const alone = await measure();
    await seed(stage, database);
    const beside = await measure();
    return shares.map((share) => ({
      what: `event of a PUT, p${share * 100}, ${stuck} stuck`,
      unit: 'ms',
      measured: [quantile(beside, share)],
      floor: { what: `none stuck, p${share * 100}`, measured: [quantile(alone, share)] },
      want: { of: 'ratio', atMost: 3 },
    }));
  },
};

async function bind(url: string) {
  const connection = new Connection(url);
  connection.on('error', () => {});
  const arrivals = new Map<string, () => void>();
  const consumer = connection.createConsumer(
    {
      queue: 'bench',
      queueOptions: { durable: true },
      noAck: true,
      exchanges: [{ exchange, type: 'topic', durable: true }],
      queueBindings: [{ exchange, routingKey: 'user.updated' }],
    },
    ({ correlationId }) => arrivals.get(correlationId ?? '')?.(),
  );
  consumer.on('error', () => {});
  await new Promise<void>((resolve) => consumer.once('ready', resolve));
  return {
    arrival: (traceId: string) => new Promise<void>((resolve) => arrivals.set(traceId, resolve)),
    async [Symbol.asyncDispose]() {
      await consumer.close();
      await connection.close();
    },
  };
}

/** Resolves when all of them have come back once. */
async function seed({ signal }: Stage, database: Database): Promise<void> {
  await database.query(
    `insert into outbox (event_id, event_type, trace_id, traceparent, subject, occurred_at, data)
     select uuidv7(), 'user.deleted', 'stuck', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', (1000000 + n)::text, now(),
       json_build_object('user_id', 1000000 + n, 'version', 2)
     from generate_series(1, $1::int) as n`,
    [stuck],
  );
  for (let waiting = 0; waiting < stuck; ) {
    await sleep(pollMs, undefined, { signal });
    [{ waiting } = { waiting }] = await database.query<{ waiting: number }>('select count(*)::int as waiting from event_retry');
  }
}
