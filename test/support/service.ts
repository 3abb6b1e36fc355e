// A whole service under test: the real system on a database of its own, reached over HTTP.

import { type SystemOptions, startSystem } from '../../src/app/system.ts';
import { readConfig } from '../../src/config.ts';
import { measureBacklog } from '../../src/platform/events/store/backlog.ts';
import { createDatabase, patienceMs, type TestDatabase } from './database.ts';
import { type CapturedLog, captureLog } from './log.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test says by its assertions what the JSON is
export type Answer = { readonly status: number; readonly headers: Headers; readonly text: string; readonly json: any };

export type TestService = AsyncDisposable &
  CapturedLog & {
    readonly url: string;
    readonly database: TestDatabase;
    /** A plain value goes as JSON; bytes and text go as they are, with the content type that `headers` name. */
    call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
    /** Resolves when just so many committed events are not yet published. */
    backlog(depth: number): Promise<void>;
    createUser(fields?: { name?: string; surname?: string; password?: string }): Promise<{ id: number } & Record<string, string>>;
  };

/** Limits that a busy machine keeps. */
const patient = { DATABASE_CONNECT_TIMEOUT_MS: String(patienceMs), DATABASE_STATEMENT_TIMEOUT_MS: String(patienceMs) };
/** Those that the service has by default. */
export const defaultLimits = { DATABASE_CONNECT_TIMEOUT_MS: '', DATABASE_STATEMENT_TIMEOUT_MS: '' };

/** Real argon2id, at a cost that lets a test make hundreds of users. */
export const cheapCost = { memoryKib: 64, passes: 1 };

export async function startService(
  env: Record<string, string> = {},
  options: { database?: TestDatabase } & Pick<SystemOptions, 'passwordCost' | 'streamLimits'> = {},
): Promise<TestService> {
  await using stack = new AsyncDisposableStack();
  const database = options.database ?? stack.use(await createDatabase());
  const captured = captureLog();
  const config = readConfig({ DATABASE_URL: database.url, PORT: '0', SHUTDOWN_DRAIN_MS: '0', ...patient, ...env });
  const { database: _, ...rest } = options;
  const system = stack.use(await startSystem(config, captured.log, { passwordCost: cheapCost, ...rest }));
  const running = stack.move();

  async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const raw = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
    const response = await fetch(`${system.url}${path}`, {
      method,
      headers: { ...(!raw && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: (raw ? body : JSON.stringify(body)) as NonNullable<RequestInit['body']> }),
      redirect: 'manual',
    });
    const text = await response.text();
    const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '');
    return { status: response.status, headers: response.headers, text, json: isJson && text !== '' ? JSON.parse(text) : undefined };
  }

  return {
    ...captured,
    url: system.url,
    database,
    call,
    async backlog(depth) {
      while ((await measureBacklog(database)).depth !== depth);
    },
    async createUser(fields = {}) {
      const user = { name: 'John', surname: 'Doe', password: 'correct horse', ...fields };
      for (const startedAt = performance.now(); ; ) {
        const { status, json, text } = await call('POST', '/users/', user);
        if (status === 201) return json;
        // As a client does: on a busy machine the first connection may take longer than the service waits for it.
        if (status !== 503 || performance.now() - startedAt > patienceMs) throw new Error(`the user was not created: ${text}`);
      }
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
