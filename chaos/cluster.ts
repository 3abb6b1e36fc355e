// One run's own world on the servers: a database, a virtual host, the instances with their networks, the wire, the load.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Vhost } from '../harness/management.ts';
import { startNetwork } from '../harness/network.ts';
import { findPort } from '../harness/ports.ts';
import { listUsers } from '../src/features/users/queries.ts';
import type { Broker } from './broker.ts';
import type { History } from './history.ts';
import { Instance } from './instance.ts';
import { Load } from './load.ts';
import { type Database, type Postgres, role } from './postgres.ts';
import type { Random } from './random.ts';
import type { Servers } from './servers.ts';
import { openWire, ownQueues, type Wire } from './wire.ts';

type Parts = {
  readonly postgres: Postgres;
  readonly broker: Broker;
  readonly database: Database;
  readonly vhost: Vhost;
  readonly wire: Wire;
  readonly instances: readonly Instance[];
  readonly load: Load;
  readonly random: Random;
  /** What the service did that it must not do under any fault, apart from what the history shows. */
  readonly incidents: string[];
  /** Whether the clock that SQL sees can be moved. */
  readonly movableClock: boolean;
  /** Milliseconds since the run began. */
  readonly now: () => number;
};

/** One instance of the service on a database of its own, without RabbitMQ: nothing of it stands in the history. */
export type Aside = AsyncDisposable & { readonly instance: Instance; readonly database: Database };

export type Cluster = Parts &
  AsyncDisposable & {
    startAside(): Promise<Aside>;
    /** The instance whose relay holds the lock of the outbox at this moment. */
    findRelay(signal: AbortSignal): Promise<Instance>;
    /** The instance whose consumer handles events: the one whose count of them grows. */
    findConsumer(signal: AbortSignal): Promise<Instance>;
    /** Mends everything that a fault may have left: good networks, servers and instances that run. */
    heal(): Promise<void>;
    /** Waits, within bounds, until outbox and queues are empty and every event took effect. @returns how long that took, in milliseconds */
    drain(signal: AbortSignal): Promise<number>;
    /** All that is known. Only after the load was stopped and drained. */
    readHistory(): Promise<History>;
  };

export type ClusterOptions = {
  readonly instances: number;
  readonly clients: number;
  /** Requests a second, of all clients together. */
  readonly rate: number;
  readonly random: Random;
  readonly movableClock: boolean;
  /** Folder for the instances' logs. */
  readonly logs?: string | undefined;
  readonly say: (words: string) => void;
};

const readyMsMax = 90_000;
/** The broker counts every 5 s: what it says may be of an earlier moment, a none as well as a some. */
const countAgeMsMax = 6000;
const drainMsMax = 240_000;
/** Longer than an event that was put off waits for its next turn (a minute). */
const stallMsMax = 75_000;
const pollMs = 100;

// `effect` is written in the transaction of the inbox row. The transaction of a user whose name begins with "slow 800" stays open for
// 800 ms more, with all that it drew and locked: a deferred trigger runs at the commit.
const schemaSql = `
  create table chaos.effect (seq bigint generated always as identity primary key, event_id uuid not null, trace_id text not null);
  create function chaos.record_effect() returns trigger language plpgsql as $$
    begin insert into chaos.effect (event_id, trace_id) values (new.event_id, new.trace_id); return null; end $$;
  create trigger chaos_effect after insert on inbox for each row execute function chaos.record_effect();
  create function chaos.linger() returns trigger language plpgsql as $$
    begin perform pg_sleep(substring(new.name from '^slow (\\d+)')::float8 / 1000); return null; end $$;
  create constraint trigger chaos_linger after insert or update on "user" deferrable initially deferred
    for each row when (new.name like 'slow %') execute function chaos.linger();`;

// An unqualified now() finds this one before PostgreSQL's own, which comes last in the search path; so do the defaults of columns, since
// the migrations run with that path.
const clockSql = `
  create table chaos.clock (shift interval not null);
  insert into chaos.clock values ('0');
  create function chaos.now() returns timestamptz language sql stable parallel safe
    as 'select pg_catalog.now() + (select shift from chaos.clock)';`;

/** Resolves when all instances are ready and the load may start. */
export async function startCluster({ postgres, broker, watchdog }: Servers, options: ClusterOptions): Promise<Cluster> {
  await using starting = new AsyncDisposableStack();
  const { random, clients, rate, movableClock, logs, say } = options;
  const begunAt = performance.now();
  const now = () => performance.now() - begunAt;
  const incidents: string[] = [];
  const database = starting.use(await postgres.createDatabase(`chaos_${randomBytes(4).toString('hex')}`));
  await database.query('create schema chaos');
  if (movableClock) {
    await database.query(clockSql);
    await database.query(`alter database ${database.name} set search_path = public, chaos, pg_catalog`);
  }
  const vhost = starting.use(await broker.createVhost());
  const wire = starting.use(await openWire(vhost, now));

  async function createInstance(name: string): Promise<Instance> {
    const toDatabase = starting.use(await startNetwork({ path: postgres.socketPath }));
    const toBroker = starting.use(await startNetwork({ host: '127.0.0.1', port: broker.port }));
    const brokerUrl = new URL(vhost.url);
    brokerUrl.port = String(toBroker.port);
    const databaseUrl = `postgresql://${role}@127.0.0.1:${toDatabase.port}/${database.name}?sslmode=disable`;
    return starting.use(
      new Instance({
        name,
        port: await findPort(),
        env: { DATABASE_URL: databaseUrl, RABBITMQ_URL: brokerUrl.href, RATE_LIMIT_PER_MINUTE: '0' },
        database: toDatabase,
        broker: toBroker,
        watchdog,
        logFile: logs === undefined ? undefined : join(logs, `${name}.log`),
        incident(words) {
          incidents.push(`${name} ${words}`);
          say(`          INCIDENT: ${name} ${words.slice(0, 300)}`);
        },
      }),
    );
  }

  const instances: Instance[] = [];
  for (let n = 1; n <= options.instances; n += 1) instances.push(await createInstance(`rollcall-${n}`));
  // All at once, on an empty database.
  await Promise.all(instances.map((instance) => instance.start()));
  await untilReady(instances);
  await database.query(schemaSql);

  const load = starting.use(new Load({ instances, random: random.fork('load'), clients, rate, now }));
  const parts = { postgres, broker, database, vhost, wire, instances, load, random, incidents, movableClock, now };
  async function startAside(): Promise<Aside> {
    await using beginning = new AsyncDisposableStack();
    const own = beginning.use(await postgres.createDatabase(`aside_${randomBytes(4).toString('hex')}`));
    const toDatabase = beginning.use(await startNetwork({ path: postgres.socketPath }));
    const instance = beginning.use(
      new Instance({
        name: 'rollcall-aside',
        port: await findPort(),
        env: {
          DATABASE_URL: `postgresql://${role}@127.0.0.1:${toDatabase.port}/${own.name}?sslmode=disable`,
          RATE_LIMIT_PER_MINUTE: '0',
        },
        database: toDatabase,
        broker: toDatabase,
        watchdog,
        logFile: logs === undefined ? undefined : join(logs, 'rollcall-aside.log'),
        incident: (words) => incidents.push(`rollcall-aside ${words}`),
      }),
    );
    await instance.start();
    await untilReady([instance]);
    const alive = beginning.move();
    return { instance, database: own, [Symbol.asyncDispose]: () => alive.disposeAsync() };
  }

  const running = starting.move();
  return { ...parts, startAside, ...watch(parts), [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function untilReady(instances: readonly Instance[]): Promise<void> {
  const startedAt = performance.now();
  while (!(await Promise.all(instances.map((instance) => instance.answers('/ready')))).every(Boolean)) {
    if (performance.now() - startedAt > readyMsMax) throw new Error(`the service was not ready within ${readyMsMax / 1000} s`);
    await sleep(pollMs);
  }
}

/** What can be asked of a cluster, and waited for. */
function watch({ postgres, broker, database, vhost, wire, instances, load }: Parts) {
  async function outboxDepth(): Promise<number> {
    const depths = await Promise.all(instances.map((instance) => instance.metric('rollcall_outbox_depth')));
    // One that cannot say is not taken for empty.
    return Math.max(...depths.map((depth) => depth ?? Infinity));
  }

  async function countEffects(): Promise<number> {
    const [row] = await database.query<{ n: string }>('select count(distinct event_id) as n from chaos.effect');
    return Number(row?.n);
  }

  async function countQueued(): Promise<number> {
    const counts = await vhost.countMessages();
    const [row] = await database.query<{ n: string }>(
      'select (select count(*) from delivery_retry) + (select count(*) from dead_letter) as n',
    );
    return [...counts].filter(([name]) => !ownQueues.has(name)).reduce((sum, [, count]) => sum + count, Number(row?.n));
  }

  async function until<Found>(signal: AbortSignal, look: () => Promise<Found | undefined>): Promise<Found> {
    for (;;) {
      signal.throwIfAborted();
      const found = await look();
      if (found !== undefined) return found;
      await sleep(5, undefined, { signal });
    }
  }

  return {
    // The lock of src/platform/events/store/log.ts, as pg_locks shows one of a single bigint.
    findRelay: (signal: AbortSignal) =>
      until(signal, async () => {
        const rows = await database.query<{ name: string }>(
          `select a.application_name as name from pg_locks l join pg_stat_activity a using (pid)
           where l.locktype = 'advisory' and l.objid = 1869968482 and l.objsubid = 1 and l.granted and a.datname = current_database()`,
        );
        return instances.find(({ name }) => rows.some((row) => row.name === name));
      }),

    async findConsumer(signal: AbortSignal) {
      const count = () => Promise.all(instances.map((instance) => instance.metric('rollcall_events_handled_total')));
      let before = await count();
      return until(signal, async () => {
        await sleep(150, undefined, { signal });
        const after = await count();
        const at = after.findIndex((handled, n) => handled !== undefined && handled > (before[n] ?? Infinity));
        before = after;
        return instances[at];
      });
    },

    async heal() {
      broker.resume();
      for (const instance of instances) instance.resume();
      await postgres.freeDisk();
      await Promise.all([postgres.start(), broker.heal()]);
      for (const instance of instances) await Promise.all([instance.database.heal(), instance.broker.heal()]);
      await Promise.all(instances.map((instance) => instance.start()));
    },

    async drain(signal: AbortSignal) {
      const startedAt = performance.now();
      let state = '';
      let changedAt = startedAt;
      let drainedAt: number | undefined;
      let emptyAt: number | undefined;
      while (performance.now() - startedAt < drainMsMax && performance.now() - changedAt < stallMsMax) {
        const [depth, effects, queued] = await Promise.all([outboxDepth(), countEffects(), countQueued()]);
        const seen = [depth, effects, wire.distinct, queued].join();
        if (seen !== state) changedAt = performance.now();
        state = seen;
        if (depth > 0 || effects < wire.distinct) drainedAt = undefined;
        else drainedAt ??= performance.now();
        if (drainedAt === undefined || queued > 0) emptyAt = undefined;
        else emptyAt ??= performance.now();
        if (emptyAt !== undefined && performance.now() - emptyAt > countAgeMsMax) break;
        await sleep(pollMs, undefined, { signal });
      }
      return (drainedAt ?? performance.now()) - startedAt;
    },

    async readHistory(): Promise<History> {
      const [effects, users, list, depth, queued] = await Promise.all([
        database.query<{ event_id: string; trace_id: string }>('select event_id, trace_id from chaos.effect order by seq'),
        database.query<{ id: string; version: string; name: string }>('select id, version, name from "user" order by id'),
        listUsers(database, 1, 1),
        outboxDepth(),
        countQueued(),
      ]);
      return {
        attempts: load.attempts,
        deliveries: wire.deliveries,
        effects: effects.map(({ event_id, trace_id }) => ({ eventId: event_id, traceId: trace_id })),
        users: users.map(({ id, version, name }) => ({ id: Number(id), version: Number(version), name })),
        total: list.total,
        outboxDepth: depth,
        queued,
      };
    },
  };
}
