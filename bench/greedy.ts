// What callers who send more than the service takes do to everybody else.
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { createCaller, pace } from './load.ts';
import { operations } from './operations.ts';
import { type Measurement, quantile, takeTurns } from './row.ts';

const perSecond = 300;
const rounds = 3;
const greedyConnections = 4;
const brackets = '['.repeat(1024 * 1024);
const head = 'POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';

const ways = {
  '1 MiB of brackets': `${head}Content-Length: ${brackets.length}\r\n\r\n${brackets}`,
  '32 KiB of brackets': `${head}Content-Length: 32768\r\n\r\n${brackets.slice(0, 32_768)}`,
  '1 MiB of brackets in chunks': `${head}Transfer-Encoding: chunked\r\n\r\n${`4000\r\n${brackets.slice(0, 0x4000)}\r\n`.repeat(64)}0\r\n\r\n`,
};

function startCallers(url: string, request: string): AsyncDisposable {
  const { hostname, port } = new URL(url);
  const workerData = { hostname, port, connections: greedyConnections, request: Buffer.from(request) };
  const worker = new Worker(new URL('./greedy-callers.ts', import.meta.url), { workerData });
  return { [Symbol.asyncDispose]: async () => void (await worker.terminate()) };
}

export const greedy: Measurement = {
  definition: `p50 of GET /users/{id} at a steady ${perSecond} a second while ${greedyConnections} connections send a body again and again; its floor is the p50 of the same GETs while nothing else is asked.`,
  async measure(stage) {
    await using database = await stage.cloneDatabase('users');
    await using service = await stage.startService({ DATABASE_URL: database.url });
    using caller = createCaller(service.url);
    let n = 0;
    const p50 = async (seconds: number) =>
      quantile(await pace({ ...stage, seconds, perSecond }, () => caller.call(operations.get.request(++n))), 0.5);
    const seconds = stage.seconds / rounds;

    await p50(1);
    const rows = [];
    for (const [what, request] of Object.entries(ways)) {
      const { busy, idle } = await takeTurns(rounds, {
        idle: () => p50(seconds),
        async busy() {
          await using _callers = startCallers(service.url, request);
          await sleep(300, undefined, { signal: stage.signal });
          return await p50(seconds);
        },
      });
      rows.push({
        what: `GET p50 while 4 send ${what}`,
        unit: 'ms' as const,
        measured: busy,
        floor: { what: 'GET p50, idle', measured: idle },
        want: { of: 'ratio' as const, atMost: 1.2 },
      });
    }
    return rows;
  },
};
