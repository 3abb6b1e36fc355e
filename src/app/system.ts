// Everything that runs, in the order in which it starts; the reverse is the shutdown.
import { randomUUID } from 'node:crypto';
import { type Config, ConfigError } from '../config.ts';
import { createDatabaseCheck } from '../features/health/database.ts';
import { readIndexes } from '../features/users/settings.ts';
import { definitions, loops, subscriptions } from '../features.ts';
import { type ConnectionSettings, type Pool, startPool } from '../platform/db/client.ts';
import { createNotifier, startListening } from '../platform/db/notifications.ts';
import type { Broker } from '../platform/events/broker.ts';
import { asyncApiDocument } from '../platform/events/contract/asyncapi.ts';
import { createEventCheck } from '../platform/events/contract/schemas.ts';
import { bindingsOf } from '../platform/events/contract/topology.ts';
import { createInProcessBroker } from '../platform/events/in-process.ts';
import { createIntakes } from '../platform/events/intake.ts';
import { createRabbitBroker } from '../platform/events/rabbitmq/broker.ts';
import { startRelay } from '../platform/events/relay.ts';
import { measureBacklog } from '../platform/events/store/backlog.ts';
import { createReader } from '../platform/events/store/reading.ts';
import { maintain } from '../platform/events/store/retention.ts';
import { subscriptionIssues } from '../platform/events/subscriptions.ts';
import { startTail } from '../platform/events/tail.ts';
import { addDrain } from '../platform/http/drain.ts';
import { publicUrlOf } from '../platform/http/identity.ts';
import { listen } from '../platform/http/listen.ts';
import { createPrecedence } from '../platform/http/precedence.ts';
import { type StreamLimits, startStreams, streamLimits } from '../platform/http/streams.ts';
import { startLoop } from '../platform/runtime/loop.ts';
import { createSlots } from '../platform/runtime/slots.ts';
import type { HashCost } from '../platform/security/argon2.ts';
import { startPasswords } from '../platform/security/passwords.ts';
import type { Logger } from '../platform/telemetry/logger.ts';
import { type EmbeddedPostgres, startEmbedded } from '../private-postgres/server.ts';
import { startConsuming } from './consuming.ts';
import { createApp } from './http.ts';
import { createMetrics } from './metrics.ts';
import { prepareSchema } from './schema.ts';
import { own, timingIssues } from './timings.ts';

const publicDefinitions = definitions.filter(({ audience }) => audience === 'public');
/** They keep the log from expiring before they have read it. */
const readers = subscriptions.filter(({ source }) => source === 'log').map(({ name }) => name);

/** For reads by id, which no list or write holds up. */
const readsPoolSize = 2;
/** For readers of the event log and of the snapshot, however many there are; the end of the log has a connection of its own. */
const readersPoolSize = 2;
/** Of them, how many may have a batch in memory that their caller has not taken yet. */
const readersAtOnce = 3;
/** One for the relay's transaction, the others for events that the consumer handles at once. */
const eventsPoolSize = 5;
/** Of a statement for `/ready` and `/metrics`, whatever the setting for requests is. */
const healthStatementMs = 1000;
const prefetch = 50;
const retryDelaysMs = [1000, 5000, 30_000, 120_000];
const deliveryGraceMs = 30_000;
const unpreparedWarning =
  'PostgreSQL plans each statement each time, since a pooler hands its connections on: set max_prepared_statements = 200 in PgBouncer (1.21 or newer) for full speed';

export type System = AsyncDisposable & {
  /** Where the API answers, such as http://127.0.0.1:8000. */
  readonly url: string;
  readonly publicUrl: string;
  /** What the service runs on, in words for the operator. */
  readonly database: string;
  readonly broker: string;
};

export type SystemOptions = {
  /** Called for an error that shows only after the start and that the operator must mend. */
  readonly onError?: (error: unknown) => void;
  readonly passwordCost?: HashCost;
  readonly streamLimits?: Partial<StreamLimits>;
};

/** @throws RabbitUrlError, EmbeddedPostgresError, MigrationError or ListenError; what was started is stopped again */
export async function startSystem(config: Config, log: Logger, options: SystemOptions = {}): Promise<System> {
  // Before anything is started or written.
  const issues = [
    ...timingIssues({ ...own, confirmTimeoutMs: config.RABBITMQ_CONFIRM_TIMEOUT_MS, retryDelaysMs }),
    ...subscriptionIssues(subscriptions, definitions),
  ];
  if (issues.length > 0) throw new ConfigError(issues);
  await using starting = new AsyncDisposableStack();
  const metrics = createMetrics({ name: config.APP_NAME, version: config.APP_VERSION });
  const runs = (part: Config['RUN'][number]) => config.RUN.includes(part);

  const embedded =
    config.DATABASE_URL === undefined
      ? starting.use(
          await startEmbedded({
            dataDir: config.DATA_DIR,
            holder: `http://${config.HOST}:${config.PORT}`,
            log: (event, fields, level = 'info') => log[level]({ component: 'postgres', ...fields }, event),
          }),
        )
      : undefined;
  let isUnprepared = false;
  const connection: ConnectionSettings = {
    url: config.DATABASE_URL ?? (embedded as NonNullable<typeof embedded>).url,
    applicationName: config.APP_NAME,
    connectTimeoutMs: config.DATABASE_CONNECT_TIMEOUT_MS,
    statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
    onUnprepared() {
      if (!isUnprepared) log.warn({ component: 'postgres' }, unpreparedWarning);
      isUnprepared = true;
    },
  };
  const reads = starting.use(startPool(connection, readsPoolSize));
  const pool = starting.use(startPool(connection, config.DATABASE_POOL_SIZE));
  const eventsPool = starting.use(startPool(connection, eventsPoolSize));
  const readinessPool = starting.use(startPool({ ...connection, statementTimeoutMs: healthStatementMs }, 1));
  const gaugesPool = starting.use(startPool({ ...connection, statementTimeoutMs: healthStatementMs }, 1));
  const schema = starting.use(
    await prepareSchema(
      connection,
      config.DATABASE_ADMIN_URL,
      pool,
      subscriptions,
      readIndexes(config.USER_ATTRIBUTES_SCHEMA),
      log,
      options.onError ?? (() => {}),
    ),
  );

  const broker = createBroker(config, log);
  const consuming = runs('consumer')
    ? starting.use(
        startConsuming({
          subscriptions,
          definitions,
          connection,
          pool: eventsPool,
          broker,
          retryDelaysMs,
          deliveryGraceMs,
          appName: config.APP_NAME,
          metrics: metrics.events,
          log,
        }),
      )
    : undefined;
  const tailPool = starting.use(startPool(connection, 1));
  const readersPool = starting.use(startPool(connection, readersPoolSize));
  const tail = starting.use(startTail(tailPool, log));
  const turns = createSlots(readersAtOnce);
  const precedence = createPrecedence();
  const streams = starting.use(startStreams({ ...streamLimits, streamsMax: config.STREAMS_MAX, ...options.streamLimits }, precedence, log));
  if (runs('relay')) starting.use(startLoop(() => maintainLog(eventsPool, config.EVENT_RETENTION_DAYS, log)));
  if (runs('api')) for (const start of loops) starting.use(start(eventsPool, log, () => schema.ready));
  const sender = randomUUID();
  const tellLogged = createNotifier(eventsPool, 'rollcall_log', sender);
  const tellCommitted = createNotifier(eventsPool, 'rollcall_outbox', sender);
  const wakeReaders = () => {
    tail.wake();
    consuming?.wake();
  };
  const publisher = runs('relay') ? starting.use(broker.startPublisher()) : undefined;
  const relay =
    publisher &&
    starting.use(
      startRelay({
        pool: eventsPool,
        publisher,
        violationOf: createEventCheck(definitions),
        onLogged() {
          wakeReaders();
          tellLogged();
        },
        metrics: metrics.events,
        log,
      }),
    );
  starting.use(startListening(connection, sender, { rollcall_outbox: () => relay?.wake(), rollcall_log: wakeReaders }));
  const passwords = starting.use(startPasswords(options.passwordCost));

  const brokerState = () => {
    if (config.RABBITMQ_URL === undefined) return 'in process';
    if (broker.refusal?.isCertain) return 'refused';
    if (publisher === undefined) return 'not used here';
    return publisher.ready ? 'ok' : 'away';
  };
  metrics.watch({
    pool,
    passwords,
    streams,
    backlog: () => measureBacklog(gaugesPool),
    isBrokerConnected: () => publisher?.ready === true,
  });

  const app = await createApp({
    settings: config,
    config,
    log,
    metrics: metrics.http,
    asyncApi: asyncApiDocument(publicDefinitions, config.APP_VERSION),
    platform: {
      db: pool,
      reads,
      readers: readersPool,
      reader: createReader(readersPool, readersPoolSize),
      tail,
      streams,
      turns,
      passwords,
      registry: metrics.registry,
      definitions,
      subscriptions,
      intakes: createIntakes(subscriptions, definitions, config.APP_NAME),
      readiness: {
        accepting: () => !drain.draining,
        database: createDatabaseCheck({ own: readinessPool, others: [reads, pool], prepared: () => schema.ready }),
        broker: brokerState,
        brokerReason: () => broker.refusal?.sentence,
      },
      // A relay of its own takes it at once; other processes are not told then.
      onChange: relay === undefined ? tellCommitted : relay.wake,
    },
  });
  precedence.addTo(app);
  const drain = addDrain(app);
  // Readers who wait for events would otherwise keep the server open.
  starting.defer(async () => {
    await Promise.all([drain.close(config.SHUTDOWN_DRAIN_MS), tail[Symbol.asyncDispose](), streams[Symbol.asyncDispose]()]);
  });
  const url = await listen(app, config.HOST, config.PORT);
  const running = starting.move();
  return {
    url,
    publicUrl: publicUrlOf(app, config),
    database: embedded === undefined ? 'PostgreSQL at DATABASE_URL' : describePrivate(embedded),
    broker: config.RABBITMQ_URL === undefined ? 'events delivered inside the process' : 'RabbitMQ at RABBITMQ_URL',
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function describePrivate({ dataDir, account }: EmbeddedPostgres): string {
  const where = `a private PostgreSQL server, its data in ${dataDir}`;
  return account === undefined ? where : `${where}, run by the account "${account}" since PostgreSQL refuses root`;
}

function createBroker(config: Config, log: Logger): Broker {
  const bindings = bindingsOf(publicDefinitions);
  if (config.RABBITMQ_URL === undefined) return createInProcessBroker(config.APP_NAME);
  return createRabbitBroker(
    {
      url: config.RABBITMQ_URL,
      appName: config.APP_NAME,
      confirmTimeoutMs: config.RABBITMQ_CONFIRM_TIMEOUT_MS,
      prefetch,
      bindings,
      consumes: config.RUN.includes('consumer'),
    },
    log,
  );
}

async function maintainLog(pool: Pool, days: number, log: Logger): Promise<number> {
  const dropped = await maintain(pool, days, readers).catch(() => undefined);
  for (const name of dropped ?? []) log.info({ component: 'relay', partition: name }, 'Events that are no longer kept were dropped');
  return dropped === undefined ? 5000 : 60_000;
}
