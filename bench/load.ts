// Two kinds of load. `load` is closed: each of 32 connections sends its next request when it has its answer, as fast as it
// goes. `pace` is open: calls begin at their time, whether or not the earlier ones have ended.
import { Agent, request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import autocannon from 'autocannon';

export type Request = { readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'; readonly path: string; readonly body?: object };

export const connections = 32;
/** A machine that is busy otherwise may make one late; more is a fault. */
const refusedShareMax = 0.01;
const jsonBody = { 'content-type': 'application/json' };

/** Load until it is stopped. */
export type Load = {
  /** @returns 2xx answers a second; rejects if more than a hundredth of them were none */
  stop(): Promise<number>;
};

/** @param requests a list that is gone through again and again, or what makes the next one */
export function startLoad(url: string, requests: readonly Request[] | (() => Request)): Load {
  let answers = 0;
  let refused = 0;
  let failure: string | undefined;
  let firstAt = 0;
  let lastAt = 0;
  const fresh = (make: () => Request) => [{ setupRequest: (base: autocannon.Request) => ({ ...base, ...wire(make()) }) }];
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const run = autocannon(
    {
      url,
      connections,
      duration: 3600,
      // How often it looks whether it shall stop, in milliseconds.
      sampleInt: 20,
      requests: typeof requests === 'function' ? fresh(requests) : requests.map(wire),
    },
    () => resolve(),
  );
  run.on('response', (_client, status) => {
    lastAt = performance.now();
    if (answers === 0) firstAt = lastAt;
    answers += 1;
    if (status >= 200 && status <= 299) return;
    refused += 1;
    if (refused > answers * refusedShareMax + 1) failure ??= `${refused} of ${answers} answers were like the last one, a ${status}`;
  });
  run.on('reqError', (error: Error) => {
    failure ??= error.message;
  });
  return {
    async stop() {
      // Between the first answer and the last: neither the start of the connections nor their end counts.
      const [count, seconds] = [answers - refused - 1, (lastAt - firstAt) / 1000];
      run.stop();
      await ended;
      if (failure !== undefined || count < 1) throw new Error(`${url}: ${failure ?? 'no answers'}`);
      return count / seconds;
    },
  };
}

/** @returns answers a second */
export async function load(
  { signal, seconds }: { signal: AbortSignal; seconds: number },
  url: string,
  requests: readonly Request[] | (() => Request),
): Promise<number> {
  const running = startLoad(url, requests);
  await sleep(seconds * 1000, undefined, { signal }).catch(() => {});
  const rate = await running.stop();
  signal.throwIfAborted();
  return rate;
}

// A copy of the headers, because autocannon writes the length of the body into them.
function wire({ method, path, body }: Request): autocannon.Request {
  return { method, path, ...(body !== undefined && { headers: { ...jsonBody }, body: JSON.stringify(body) }) };
}

/** @returns how long each call took, in milliseconds */
export async function pace(
  { signal, seconds, perSecond }: { signal: AbortSignal; seconds: number; perSecond: number },
  call: (n: number) => Promise<unknown>,
): Promise<number[]> {
  const startedAt = performance.now();
  const times: Promise<number>[] = [];
  for (let n = 0; n < seconds * perSecond; n += 1) {
    const waitMs = startedAt + (n * 1000) / perSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs, undefined, { signal });
    const time = timeOf(() => call(n));
    // It is told below.
    time.catch(() => {});
    times.push(time);
  }
  return Promise.all(times);
}

export async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

export type Caller = Disposable & { call(request: Request & { readonly traceId?: string }): Promise<void> };

/** Sends single requests over connections that are kept; rejects what is not 2xx. */
export function createCaller(url: string): Caller {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return {
    call({ method, path, body, traceId }) {
      const headers = { ...(body !== undefined && jsonBody), ...(traceId !== undefined && { 'x-request-id': traceId }) };
      return new Promise((resolve, reject) => {
        const request = httpRequest(`${url}${path}`, { agent, method, headers }, (response) => {
          const { statusCode = 0 } = response;
          text(response).then((answer) => {
            if (statusCode < 200 || statusCode > 299) reject(new Error(`${method} ${path} was answered ${statusCode}: ${answer}`));
            else resolve();
          }, reject);
        });
        request.once('error', reject).end(body === undefined ? undefined : JSON.stringify(body));
      });
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}
