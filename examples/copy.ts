// A consumer of Rollcall: it keeps an exact copy of all users, beginning at any time, while they change.
//
//   node examples/copy.ts http://127.0.0.1:8000                           over HTTP alone
//   node examples/copy.ts http://127.0.0.1:8000 amqp://127.0.0.1:5672     the changes over RabbitMQ
//
// It prints a line for each change, and the size and checksum of its copy when it is ended with Ctrl-C.
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { Connection } from 'rabbitmq-client';

type User = {
  readonly id: number;
  readonly name: string;
  readonly surname: string;
  readonly email: string | null;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly version: number;
  readonly created_at: string;
  readonly updated_at: string;
};
type UserEvent = {
  readonly event_type: string;
  readonly data: { readonly user_id: number; readonly version: number; readonly user?: User };
};

type Apply = (event: UserEvent) => void;

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

  present(): User[] {
    return [...this.#entries.values()].flatMap(({ user }) => user ?? []).sort((a, b) => a.id - b.id);
  }
}

/**
 * Reads the snapshot, then follows the changes. The order matters: over RabbitMQ the queue is bound before the snapshot is asked
 * for, and a change may come before the row that it changed, or twice; the version tells.
 * @param amqpUrl left out: the changes are read over HTTP
 */
export async function startCopy(url: string, amqpUrl?: string, onChange: (event: UserEvent) => void = () => {}): Promise<Copy> {
  const users = new Users();
  const ending = new AbortController();
  const apply: Apply = (event) => {
    const { user_id, version, user } = event.data;
    const deleted = event.event_type === 'user.deleted';
    if (!deleted && user === undefined) throw new Error('the events are without users: the service has EVENT_PAYLOAD=id');
    users.apply(user_id, version, deleted ? undefined : user);
    onChange(event);
  };
  const read = (cursor: string, waitSeconds: number) => readEvents(url, cursor, waitSeconds, apply, ending.signal);
  const quietlyAtTheEnd = (error: unknown) => {
    if (!ending.signal.aborted) throw error;
  };

  async function follow(from: string): Promise<void> {
    for (let cursor = from; ; ) cursor = await read(cursor, 30);
  }

  async function catchUp(from: string): Promise<string> {
    let cursor = from;
    for (let next = await read(cursor, 0); next !== cursor; next = await read(cursor, 0)) cursor = next;
    return cursor;
  }

  let close: () => Promise<unknown>;
  if (amqpUrl === undefined) {
    const following = follow(await readSnapshot(url, users)).catch(quietlyAtTheEnd);
    close = () => following;
  } else {
    let cursor: Promise<string> | undefined;
    close = await consume(amqpUrl, apply, () => {
      cursor = cursor === undefined ? readSnapshot(url, users) : cursor.then(catchUp);
      cursor.catch(quietlyAtTheEnd);
    });
    await cursor;
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
    const user = JSON.parse(line) as User;
    users.apply(user.id, user.version, user);
  }
  return (JSON.parse(first) as { cursor: string }).cursor;
}

/** One page. @returns the cursor after it, which is `cursor` itself at the end of the log */
async function readEvents(url: string, cursor: string, waitSeconds: number, apply: Apply, signal: AbortSignal): Promise<string> {
  for (;;) {
    try {
      const response = await fetch(`${url}/events/?after=${cursor}&wait=${waitSeconds}`, { signal });
      if (response.status === 410) throw new Error('the cursor has expired: start again with a snapshot');
      if (response.ok) {
        const { events, next } = (await response.json()) as { events: UserEvent[]; next: string };
        for (const event of events) apply(event);
        return next;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    // The service is away or restarts: the cursor is still good.
    await sleep(1000, undefined, { signal });
  }
}

/** @param onBound called each time when its queue takes every change from now on: with the connection goes the queue, and what was in it */
async function consume(amqpUrl: string, apply: Apply, onBound: () => void): Promise<() => Promise<void>> {
  const connection = new Connection(amqpUrl);
  // It connects again by itself.
  connection.on('error', () => {});
  const consumer = connection.createConsumer(
    { queue: '', queueOptions: { exclusive: true }, queueBindings: [{ exchange: 'user_events', routingKey: 'user.*' }] },
    ({ body }) => apply(body as UserEvent),
  );
  consumer.on('error', (error) => {
    if (!('code' in error)) throw error;
  });
  consumer.on('ready', onBound);
  await new Promise<void>((resolve) => consumer.once('ready', resolve));
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
