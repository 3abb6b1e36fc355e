// A consumer of Rollcall in a hundred lines: it keeps an exact copy of all users, beginning at any time, while they change.
//
//   node examples/copy.ts http://127.0.0.1:8000                           over HTTP alone
//   node examples/copy.ts http://127.0.0.1:8000 amqp://127.0.0.1:5672     the changes over RabbitMQ
//
// It prints a line for each change, and the size and checksum of its copy when it is ended with Ctrl-C.
import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { Connection } from 'rabbitmq-client';

type User = {
  readonly id: number;
  readonly name: string;
  readonly surname: string;
  readonly created_at: string;
  readonly updated_at: string;
};
type UserEvent = {
  readonly event_type: string;
  readonly data: { readonly user_id: number; readonly version: number; readonly user?: User };
};

export type Copy = AsyncDisposable & {
  /** Of every user with its version, in order of id. */
  checksum(): string;
  readonly size: number;
};

/** Users by id. A deleted one stays as its last version: an older event of it may still be delivered again. */
class Users {
  readonly #entries = new Map<number, { readonly version: number; readonly user: User | undefined }>();

  apply(id: number, version: number, user: User | undefined): void {
    if (version > (this.#entries.get(id)?.version ?? 0)) this.#entries.set(id, { version, user });
  }

  present(): (User & { version: number })[] {
    return [...this.#entries.values()]
      .flatMap(({ version, user }) => (user === undefined ? [] : [{ ...user, version }]))
      .sort((a, b) => a.id - b.id);
  }
}

/**
 * Reads the snapshot, then follows the changes. The order matters: changes from before the first user was read must not be
 * missed, so over RabbitMQ the queue is bound before the snapshot is asked for.
 * @param amqpUrl left out: the changes are read over HTTP
 */
export async function startCopy(url: string, amqpUrl?: string, onChange: (event: UserEvent) => void = () => {}): Promise<Copy> {
  const users = new Users();
  const ending = new AbortController();
  const apply = (event: UserEvent) => {
    const { user_id, version, user } = event.data;
    users.apply(user_id, version, event.event_type === 'user.deleted' ? undefined : user);
    onChange(event);
  };

  let close: () => Promise<void>;
  if (amqpUrl === undefined) {
    const cursor = await readSnapshot(url, users);
    const following = follow(url, cursor, apply, ending.signal);
    close = () => following;
  } else {
    close = await consume(amqpUrl, apply, () => readSnapshot(url, users));
  }
  return {
    checksum: () => createHash('sha256').update(JSON.stringify(users.present())).digest('hex'),
    get size() {
      return users.present().length;
    },
    async [Symbol.asyncDispose]() {
      ending.abort();
      await close();
    },
  };
}

async function readSnapshot(url: string, users: Users): Promise<string> {
  const response = await fetch(`${url}/users/snapshot`);
  if (!response.ok) throw new Error(`no snapshot: ${response.status}`);
  // Rejects where the answer is cut short: a part is no snapshot.
  const [first = '', ...lines] = (await response.text()).trimEnd().split('\n');
  for (const line of lines) {
    const { version, ...user } = JSON.parse(line) as User & { version: number };
    users.apply(user.id, version, user);
  }
  return (JSON.parse(first) as { cursor: string }).cursor;
}

async function follow(url: string, from: string, apply: (event: UserEvent) => void, signal: AbortSignal): Promise<void> {
  for (let cursor = from; !signal.aborted; ) {
    try {
      const response = await fetch(`${url}/events/?after=${cursor}&wait=30`, { signal });
      if (response.status === 410) throw new Error('the cursor has expired: start again with a snapshot');
      if (!response.ok) continue;
      const { events, next } = (await response.json()) as { events: UserEvent[]; next: string };
      for (const event of events) apply(event);
      cursor = next;
    } catch (error) {
      // The service is away or restarts: the cursor is still good.
      if (!signal.aborted && !(error instanceof TypeError)) throw error;
    }
  }
}

async function consume(amqpUrl: string, apply: (event: UserEvent) => void, snapshot: () => Promise<unknown>): Promise<() => Promise<void>> {
  const connection = new Connection(amqpUrl);
  connection.on('error', () => {});
  const bound = Promise.withResolvers<void>();
  let taken = false;
  const early: UserEvent[] = [];
  const consumer = connection.createConsumer(
    // A service that stops and comes back takes a durable queue with a name instead, and keeps its copy.
    { queue: '', queueOptions: { exclusive: true }, queueBindings: [{ exchange: 'user_events', routingKey: 'user.*' }] },
    ({ body }) => {
      if (taken) apply(body as UserEvent);
      else early.push(body as UserEvent);
    },
  );
  consumer.on('ready', bound.resolve);
  consumer.on('error', () => {});
  await bound.promise;
  await snapshot();
  for (const event of early) apply(event);
  taken = true;
  return async () => {
    await consumer.close();
    await connection.close();
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [url = 'http://127.0.0.1:8000', amqpUrl] = process.argv.slice(2);
  const copy = await startCopy(url, amqpUrl, ({ event_type, data }) =>
    console.log(`${event_type} user_id=${data.user_id} version=${data.version}`),
  );
  console.log(`${copy.size} users copied`);
  process.once('SIGINT', async () => {
    console.log(`${copy.size} users, sha256 ${copy.checksum()}`);
    await copy[Symbol.asyncDispose]();
    process.exit(0);
  });
}
