// From the commit of a change to the commit of what its event does.
import { setTimeout as sleep } from 'node:timers/promises';
import { startPool } from '../src/platform/db/client.ts';
import { connectionSettings, type Database } from './database.ts';
import { createCaller, pace } from './load.ts';
import { operations } from './operations.ts';
import { type Measurement, quantile, type Row, takeTurns } from './row.ts';
import type { Service, Stage } from './stage.ts';

const steady = {
  perSecond: 200,
  wanted: [
    { share: 0.5, atMost: 8 },
    { share: 0.99, atMost: 30 },
  ],
};
/** Each comes to an idle service. */
const alone = { perSecond: 5, wanted: [{ share: 0.5, atMost: 5 }] };
const elsewhere = { perSecond: 5, wanted: [{ share: 0.5, atMost: 50 }] };
type Load = { readonly perSecond: number; readonly wanted: readonly { readonly share: number; readonly atMost: number }[] };
const rounds = 2;
/** Long enough for the compiler. */
const warmUpSeconds = 3;
const warmUpPerSecond = 200;
const pollMs = 20;

export const events: Measurement = {
  definition: `PUTs at a steady ${steady.perSecond} a second, and ${alone.perSecond} a second: each alone in an idle service. From the commit of the user's row to the commit of the consumer's inbox row, as PostgreSQL noted both (track_commit_timestamp). "another process": one process has RUN=api, the other RUN=relay,consumer. Floor: the same two rows written one after the other over the driver, with nothing in between.`,
  async measure(stage) {
    await using rabbit = await stage.createVhost();
    const withRabbit = { RABBITMQ_URL: rabbit.url };
    const one = (env: Record<string, string>) => [env];
    const two = [
      { ...withRabbit, RUN: 'api' },
      { ...withRabbit, RUN: 'relay,consumer' },
    ];
    return [
      ...(await measureEvents(stage, 'in-process', steady, one({}))),
      ...(await measureEvents(stage, 'RabbitMQ', steady, one(withRabbit))),
      ...(await measureEvents(stage, 'RabbitMQ, alone', alone, one(withRabbit))),
      ...(await measureEvents(stage, 'RabbitMQ, alone, another process', elsewhere, two)),
    ];
  },
};

/** @param processes the settings of each; the first serves the requests */
async function measureEvents(
  stage: Stage,
  how: string,
  { perSecond, wanted }: Load,
  processes: readonly Record<string, string>[],
): Promise<Row[]> {
  await using database = await stage.cloneDatabase('users');
  await using untouched = await stage.cloneDatabase('users');
  await using running = new AsyncDisposableStack();
  const services = [];
  for (const env of processes) services.push(running.use(await stage.startService({ DATABASE_URL: database.url, ...env })));
  using caller = createCaller((services[0] as Service).url);
  const settings = connectionSettings(untouched.url);
  await using pool = startPool(settings, settings.poolSize);

  const throughService: Send = (n, traceId) => caller.call({ ...operations.update.request(n), traceId });
  const throughDriver: Send = async (n, traceId) => {
    await operations.update.statement(pool, n);
    await pool.query('insert into inbox (event_id, trace_id) values (gen_random_uuid(), $1)', [traceId]);
  };
  const warmUp = { seconds: warmUpSeconds, perSecond: warmUpPerSecond };
  await measureTimes(stage, database, warmUp, throughService);
  await measureTimes(stage, untouched, warmUp, throughDriver);
  const measuredPart = { seconds: stage.seconds / rounds, perSecond };
  const { measured, floor } = await takeTurns(rounds, {
    measured: () => measureTimes(stage, database, measuredPart, throughService),
    floor: () => measureTimes(stage, untouched, measuredPart, throughDriver),
  });
  return wanted.map(({ share, atMost }) => ({
    what: `event handled, p${share * 100}, ${how}`,
    unit: 'ms',
    measured: measured.map((times) => quantile(times, share)),
    floor: { what: `two commits, p${share * 100}`, measured: floor.map((times) => quantile(times, share)) },
    want: { of: 'measured', atMost },
  }));
}

/** Writes change `n`, whose inbox row gets the trace id. */
type Send = (n: number, traceId: string) => Promise<unknown>;

let changes = 0;

/** Milliseconds between the two commits of each change. */
async function measureTimes(
  { signal }: Stage,
  database: Database,
  part: { readonly seconds: number; readonly perSecond: number },
  send: Send,
): Promise<number[]> {
  // What was handled before is not to be missed by the consumer when it holds the log against the inbox.
  await database.query('update subscription set position = published_position, logged_at = published_at from event_state');
  await database.query('truncate inbox');
  const sent = await pace({ signal, ...part }, () => {
    changes += 1;
    return send(changes, `Bench-${changes}`);
  });
  for (;;) {
    // The change gave its number to the user's surname; each changes another user, so xmin is that of the change.
    const times = await database.query<{ ms: number }>(
      `select (extract(epoch from pg_xact_commit_timestamp(inbox.xmin) - pg_xact_commit_timestamp("user".xmin)) * 1000)::float8 as ms
       from inbox join "user" on "user".surname = inbox.trace_id`,
    );
    if (times.length === sent.length) return times.map(({ ms }) => ms);
    await sleep(pollMs, undefined, { signal });
  }
}
