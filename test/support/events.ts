// The parts that carry events, put together by hand: an outbox, a relay that is stepped, a consumer whose reaction the test
// chooses.

import { createVhost, type Vhost } from '../../harness/management.ts';
import { createMetrics } from '../../src/app/metrics.ts';
import { definitions } from '../../src/features/users/events.ts';
import { type Pool, startPool } from '../../src/platform/db/client.ts';
import type { Broker } from '../../src/platform/events/broker.ts';
import { type Consumer, createConsumer } from '../../src/platform/events/consumer.ts';
import type { Event, EventDefinition } from '../../src/platform/events/contract/envelope.ts';
import { createEventCheck } from '../../src/platform/events/contract/schemas.ts';
import { bindingsOf, queue } from '../../src/platform/events/contract/topology.ts';
import { createInProcessBroker } from '../../src/platform/events/in-process.ts';
import { createIntakes } from '../../src/platform/events/intake.ts';
import { createLogReader } from '../../src/platform/events/log-reader.ts';
import type { EventMetrics } from '../../src/platform/events/metrics.ts';
import { type Redriven, redrive } from '../../src/platform/events/operations/redrive.ts';
import { createRabbitBroker } from '../../src/platform/events/rabbitmq/broker.ts';
import { runOnce } from '../../src/platform/events/relay.ts';
import { measureBacklog } from '../../src/platform/events/store/backlog.ts';
import { type Reaction, register, type Subscription } from '../../src/platform/events/subscriptions.ts';
import { startLoop } from '../../src/platform/runtime/loop.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { type CapturedLog, captureLog } from './log.ts';

export type BrokerKind = 'in-process' | 'RabbitMQ';
export const brokerKinds: readonly BrokerKind[] = ['in-process', 'RabbitMQ'];

export type Carrier = AsyncDisposable &
  CapturedLog & {
    readonly database: TestDatabase;
    readonly metrics: EventMetrics;
    readonly pool: Pool;
    readonly vhost: Vhost | undefined;
    /** Starts a consumer; events that come before wait. On RabbitMQ there may be several. @returns its end, as on SIGTERM */
    consume(effect: Effect, options?: { laterContainsEarlier?: boolean }, definitions?: readonly EventDefinition[]): RunningConsumer;
    /** Registers a subscription that reads the log, to be stepped. It begins at the end of the log as it is now. */
    subscribe(name: string, effects: Readonly<Record<string, Effect>>): Promise<ReadingConsumer>;
    /** Gives a dead letter to its subscription again. */
    redrive(id: string): Promise<Redriven>;
    /** Appends an event for a user, as a change would have. @returns its id */
    append(userId: number, version: number, options?: { eventId?: string; traceId?: string }): Promise<string>;
    /** Runs the relay until everything is published; what was put off is due at once. */
    relay(): Promise<void>;
    /** As `relay`, of a version of the service that knows these events, or whatever comes. */
    relayAs(definitions: readonly EventDefinition[] | undefined): Promise<void>;
    /** One round of the relay. */
    step(): ReturnType<typeof runOnce>;
    backlog(): Promise<number>;
  };

export type RunningConsumer = AsyncDisposable & {
  /** One look at the log for what nobody delivered. */
  reconcile(): Promise<number>;
};

type Effect = NonNullable<Reaction['effect']>;

export type ReadingConsumer = Pick<Consumer, 'retryOnce' | 'unparkOnce'> & {
  /** One round. @returns how many events it took */
  read(limit?: number): Promise<number>;
};

export const retryDelaysMs = [10, 20];

/** @param others types of events beside those of users; their subject is of the kind before the dot, its id in `<kind>_id` */
export async function startCarrier(kind: BrokerKind, others: readonly EventDefinition[] = []): Promise<Carrier> {
  const known = [...definitions, ...others];
  await using starting = new AsyncDisposableStack();
  const database = starting.use(await createDatabase());
  const captured = captureLog();
  const { log } = captured;
  const metrics = createMetrics({ name: 'test', version: '0' }).events;
  const pool = starting.use(
    startPool({ url: database.url, applicationName: 'test', connectTimeoutMs: 60_000, statementTimeoutMs: 60_000 }, 8),
  );
  const vhost = kind === 'RabbitMQ' ? starting.use(await createVhost(process.env['TEST_RABBITMQ_URL'] ?? '')) : undefined;
  const rabbit = {
    url: vhost?.url ?? '',
    appName: 'test',
    confirmTimeoutMs: 5000,
    prefetch: 50,
    bindings: bindingsOf(known.filter(({ audience }) => audience === 'public')),
    consumes: true,
  };
  const broker: Broker = vhost === undefined ? createInProcessBroker('test') : createRabbitBroker(rabbit, log);
  const violationOf = createEventCheck(known);
  const publisher = starting.use(broker.startPublisher());
  const consuming = starting.use(new AsyncDisposableStack());
  const stack = starting.move();
  const step = (violation = violationOf) => runOnce({ pool, publisher, violationOf: violation, onLogged: () => {}, metrics, log });
  async function relay(violation = violationOf): Promise<void> {
    while ((await backlog()) > 0) {
      await step(violation);
      // What was put off is due at once: the wait itself is not what is tested.
      await database.query('update event_retry set retry_at = now() where retry_at > now()');
    }
  }

  const about: Reaction['about'] = ({ event_type, data }) => {
    const [kind = ''] = event_type.split('.');
    return { kind, name: `${kind}_id`, id: Number(data[`${kind}_id`]), version: Number(data['version']) };
  };
  const subscriptions: Subscription[] = [];
  const create = (subscription: Subscription, stopping: AbortSignal, types: readonly EventDefinition[] = known) => {
    subscriptions.push(subscription);
    const parts = { pool, subscription, definitions: types, deliveryGraceMs: 0, retryDelaysMs, appName: 'test', metrics, log, stopping };
    return createConsumer(parts);
  };

  const backlog = async () => (await measureBacklog(pool)).depth;

  return {
    ...captured,
    database,
    metrics,
    pool,
    vhost,
    consume(effect, options = {}, types = known) {
      const reactions = Object.fromEntries(
        types.filter(({ audience }) => audience === 'public').map(({ type }) => [type, { effect, about, ...options }]),
      );
      const stopping = new AbortController();
      const consumer = create({ name: queue, source: 'queue', reactions }, stopping.signal, types);
      const running = consuming.use(new AsyncDisposableStack());
      running.use(broker.startSubscription(consumer));
      running.use(startLoop(async () => ((await consumer.retryOnce(20)) > 0 ? 0 : 10)));
      running.use(startLoop(async () => ((await consumer.unparkOnce(20)) > 0 ? 0 : 10)));
      running.defer(() => stopping.abort());
      return {
        reconcile: () => consumer.reconcileOnce(1000),
        [Symbol.asyncDispose]: () => running.disposeAsync(),
      };
    },
    async subscribe(name, effects) {
      const reactions = Object.fromEntries(Object.entries(effects).map(([type, effect]) => [type, { about, effect }]));
      const subscription = { name, source: 'log', reactions } as const;
      await register(pool, [subscription]);
      const consumer = create(subscription, new AbortController().signal);
      const reader = createLogReader(pool, name, consumer.takeLogged);
      return { ...consumer, read: (limit = 100) => reader.readOnce(limit) };
    },
    redrive: (id) => redrive(pool, createIntakes(subscriptions, known, 'test'), id),
    async append(userId, version, { eventId = crypto.randomUUID(), traceId = `trace-${userId}-${version}` } = {}) {
      await database.query(
        `insert into outbox (event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
         values ($1, 'user.updated', $2, now(), $3, '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', $4)`,
        [eventId, String(userId), traceId, JSON.stringify({ user_id: userId, version, changed: ['name'] })],
      );
      return eventId;
    },
    step: () => step(),
    relay: () => relay(),
    relayAs: (types) => relay(types === undefined ? () => undefined : createEventCheck(types)),
    backlog,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export function versionOf(event: Event): number {
  return Number(event.data['version']);
}
