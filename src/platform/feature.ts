// A feature as a value: what it declares, and its routes over what the platform runs. The list of them is src/features.ts.
import type { TSchema } from 'typebox';
import type { Db, Pool } from './db/client.ts';
import type { EventDefinition } from './events/contract/envelope.ts';
import type { Intake } from './events/intake.ts';
import type { Reader } from './events/store/reading.ts';
import type { Subscription } from './events/subscriptions.ts';
import type { Tail } from './events/tail.ts';
import type { App } from './http/server.ts';
import type { Streams } from './http/streams.ts';
import type { ProblemKind } from './problem.ts';
import type { Loop } from './runtime/loop.ts';
import type { Slots } from './runtime/slots.ts';
import type { Passwords } from './security/passwords.ts';
import type { Logger } from './telemetry/logger.ts';
import type { Registry } from './telemetry/metrics.ts';

/** What the platform runs, for the routes of features. */
export type Platform = {
  /** For lists and writes. */
  readonly db: Pool;
  /** For reads of one row, which are many and short. */
  readonly reads: Db;
  /** For readers of the event log and of snapshots. */
  readonly readers: Db;
  readonly reader: Reader;
  readonly tail: Tail;
  readonly streams: Streams;
  /** Among whom readers who lag take turns. */
  readonly turns: Slots;
  readonly passwords: Passwords;
  /** Of `/metrics`. */
  readonly registry: Registry;
  /** Of every feature. */
  readonly definitions: readonly EventDefinition[];
  readonly subscriptions: readonly Subscription[];
  /** By subscription. */
  readonly intakes: ReadonlyMap<string, Intake>;
  readonly readiness: Readiness;
  /** Called after each change that was committed. */
  readonly onChange: () => void;
};

export type Readiness = {
  /** False once the service is asked to stop. */
  accepting(): boolean;
  /** Whether PostgreSQL answers and has every migration of this code. Never rejects. */
  database(): Promise<DatabaseState>;
  /** Reported, but no reason to be unready: events wait in the outbox. */
  broker(): 'ok' | 'away' | 'refused' | 'in process' | 'not used here';
  /** What somebody has to set right before RabbitMQ can be used. */
  brokerReason(): string | undefined;
};
export type DatabaseState = 'ok' | 'unreachable' | 'migrations missing';

/** @template Values of the settings that its routes read */
export type Feature<Values = never> = {
  readonly name: string;
  readonly settings?: Readonly<Record<string, TSchema>>;
  readonly problems?: Readonly<Record<string, ProblemKind>>;
  readonly events?: readonly EventDefinition[];
  readonly subscriptions?: readonly Subscription[];
  /** Whether its routes are served by a process that does not run the API, too. */
  readonly isForProbes?: boolean;
  /** What it does by itself, in each process that runs the API. */
  readonly loops?: readonly ((pool: Pool, log: Logger, isReady: () => boolean) => Loop)[];
  routes(app: App, platform: Platform, values: Values): void;
};
