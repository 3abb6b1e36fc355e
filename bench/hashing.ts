// What hashing does to everybody else.
import { setTimeout as sleep } from 'node:timers/promises';
import { createCaller, pace, startLoad } from './load.ts';
import { create, operations } from './operations.ts';
import { type Measurement, quantile, takeTurns } from './row.ts';

const perSecond = 300;
/** p99 of fewer than some 500 calls is chance. */
const rounds = 2;
const warmUpSeconds = 1;

export const hashing: Measurement = {
  definition: `p99 of GET /users/{id} at a steady ${perSecond} a second, each sent at its time, while 32 connections POST without a pause; its floor is the p99 of the same GETs while nothing else is asked.`,
  async measure(stage) {
    await using database = await stage.cloneDatabase('users');
    await using service = await stage.startService({ DATABASE_URL: database.url });
    using caller = createCaller(service.url);
    let n = 0;
    const p99 = async (seconds: number) =>
      quantile(await pace({ ...stage, seconds, perSecond }, () => caller.call(operations.get.request(++n))), 0.99);
    const seconds = stage.seconds / rounds;

    await p99(warmUpSeconds);
    const { busy, idle } = await takeTurns(rounds, {
      idle: () => p99(seconds),
      async busy() {
        const posts = startLoad(service.url, [create]);
        try {
          await sleep(warmUpSeconds * 500, undefined, { signal: stage.signal });
          return await p99(seconds);
        } finally {
          await posts.stop();
          // It waits behind all whose callers have gone.
          await caller.call(create);
        }
      },
    });
    return [
      {
        what: 'GET p99 while POSTs hash',
        unit: 'ms',
        measured: busy,
        floor: { what: 'GET p99, idle', measured: idle },
        want: { of: 'ratio', atMost: 3 },
      },
    ];
  },
};
