// RabbitMQ's management API (https://www.rabbitmq.com/docs/http-api-reference): virtual hosts, users, and the topology behind the service's back.
import { randomBytes, randomUUID } from 'node:crypto';
import { managementOffset } from './ports.ts';

/** A virtual host of one's own. Disposing removes it with all that is in it. */
export type Vhost = AsyncDisposable & {
  /** Ends in its name. */
  readonly url: string;
  setTracing(on: boolean): Promise<void>;
  declareExchange(name: string): Promise<void>;
  deleteExchange(name: string): Promise<void>;
  hasExchange(name: string): Promise<boolean>;
  deleteQueue(name: string): Promise<void>;
  bind(exchange: string, queue: string, key: string): Promise<void>;
  unbind(exchange: string, queue: string, key: string): Promise<void>;
  isBound(exchange: string, queue: string): Promise<boolean>;
  /** Those that stand by count too. */
  countConsumers(queue: string): Promise<number>;
  /** How many messages each queue holds, those under way to a consumer included. Up to 5 s old, since the broker counts that often. */
  countMessages(): Promise<Map<string, number>>;
};

export type Management = <Answer = void>(method: string, path: string, body?: object) => Promise<Answer>;

type Permissions = { readonly configure: string; readonly write: string; readonly read: string };
const everything: Permissions = { configure: '.*', write: '.*', read: '.*' };

/** Any process may call this that knows the address; the user of `amqpUrl` may do everything in the virtual host. */
export async function createVhost(amqpUrl: string, managementUrl = findManagementUrl(amqpUrl)): Promise<Vhost> {
  const name = `test-${randomUUID()}`;
  const call = createManagement(amqpUrl, managementUrl);
  await call('PUT', `vhosts/${name}`, {});
  await call('PUT', `permissions/${name}/${new URL(amqpUrl).username || 'guest'}`, everything);
  const url = new URL(amqpUrl);
  url.pathname = `/${name}`;
  const queues = () => call<{ name: string; messages?: number }[]>('GET', `queues/${name}`);
  const binding = (exchange: string, queue: string) => `bindings/${name}/e/${exchange}/q/${queue}`;
  return {
    url: url.href,
    setTracing: (on) => call('PUT', `vhosts/${name}`, { tracing: on }),
    declareExchange: (exchange) => call('PUT', `exchanges/${name}/${exchange}`, { type: 'topic', durable: true }),
    deleteExchange: (exchange) => call('DELETE', `exchanges/${name}/${exchange}`),
    hasExchange: async (exchange) => (await call<{ name: string }[]>('GET', `exchanges/${name}`)).some((found) => found.name === exchange),
    deleteQueue: (queue) => call('DELETE', `queues/${name}/${queue}`),
    bind: (exchange, queue, key) => call('POST', binding(exchange, queue), { routing_key: key }),
    // Without arguments a binding's name is its key, percent-encoded by RabbitMQ too.
    unbind: (exchange, queue, key) => call('DELETE', `${binding(exchange, queue)}/${encodeURIComponent(key).replace('*', '%2A')}`),
    isBound: async (exchange, queue) => (await call<unknown[]>('GET', binding(exchange, queue))).length > 0,
    async countConsumers(queue) {
      const consumers = await call<{ queue: { name: string } }[]>('GET', `consumers/${name}`);
      return consumers.filter((consumer) => consumer.queue.name === queue).length;
    },
    countMessages: async () => new Map((await queues()).map(({ name, messages = 0 }) => [name, messages])),
    async [Symbol.asyncDispose]() {
      // A test may have ended the whole broker.
      await call('DELETE', `vhosts/${name}`).catch((error: Error) => {
        if (!(error.cause instanceof Error)) throw error;
      });
    },
  };
}

/** A user of its own, with these permissions on the virtual host of `vhostUrl` or with none; `url` is the address as that user. */
export async function createUser(vhostUrl: string, permissions?: Permissions) {
  const name = `test-${randomUUID()}`;
  const secret = randomBytes(8).toString('hex');
  const call = createManagement(vhostUrl);
  const permit = (to: Permissions) => call('PUT', `permissions${new URL(vhostUrl).pathname}/${name}`, to);
  await call('PUT', `users/${name}`, { password: secret, tags: '' });
  if (permissions !== undefined) await permit(permissions);
  const url = new URL(vhostUrl);
  [url.username, url.password] = [name, secret];
  return { url: url.href, permit, [Symbol.asyncDispose]: () => call('DELETE', `users/${name}`) };
}

// 5672 has 15672, 5671 has 15671; private nodes keep the rule.
export function findManagementUrl(amqpUrl: string): string {
  const { TEST_RABBITMQ_MANAGEMENT_URL } = process.env;
  if (TEST_RABBITMQ_MANAGEMENT_URL) return TEST_RABBITMQ_MANAGEMENT_URL;
  const { protocol, hostname, port } = new URL(amqpUrl);
  const secure = protocol === 'amqps:';
  return `${secure ? 'https' : 'http'}://${hostname}:${Number(port || (secure ? 5671 : 5672)) + managementOffset}`;
}

/** Calls as the user of `amqpUrl`, whose name and password arrive percent-encoded. */
export function createManagement(amqpUrl: string, managementUrl = findManagementUrl(amqpUrl)): Management {
  const { username, password } = new URL(amqpUrl);
  const credentials = `${decodeURIComponent(username) || 'guest'}:${decodeURIComponent(password) || 'guest'}`;
  const headers = { authorization: `Basic ${Buffer.from(credentials).toString('base64')}`, 'content-type': 'application/json' };
  return async <Answer>(method: string, path: string, body?: object) => {
    const address = `${managementUrl.replace(/\/$/, '')}/api/${path}`;
    const init: RequestInit = { method, headers, signal: AbortSignal.timeout(10_000), ...(body && { body: JSON.stringify(body) }) };
    const response = await fetch(address, init).catch((cause: Error) => {
      throw new Error(
        `Virtual hosts are made through RabbitMQ's management plugin, and nothing answers at ${managementUrl}: enable rabbitmq_management, or name its address in TEST_RABBITMQ_MANAGEMENT_URL.`,
        { cause },
      );
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`RabbitMQ's management plugin refused ${method} ${address}: ${response.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as Answer;
  };
}
