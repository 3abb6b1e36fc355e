// POST, PUT and DELETE, each with its event.
import { createCaller, load } from './load.ts';
import { create, operations } from './operations.ts';
import { besideBoth, inTurns } from './reads.ts';
import type { Measurement, Row } from './row.ts';
import type { Stage } from './stage.ts';

export const post: Measurement = {
  definition:
    'POST /users/, each with a new argon2id hash (19 MiB, two passes). RUN=api: its event is written with it, and handled by nobody. Floor: such hashes from one thread a core, and nothing else.',
  async measure(stage) {
    await using database = await stage.cloneDatabase('users');
    await using service = await stage.startService({ DATABASE_URL: database.url, RUN: 'api' });
    await using hashes = stage.startFloor('hashes');
    using caller = createCaller(service.url);
    const { measured, floor } = await inTurns(stage, {
      async measured(seconds) {
        const rate = await load({ ...stage, seconds }, service.url, [create]);
        // It waits behind all whose callers have gone: none of them is hashed in the floor's time.
        await caller.call(create);
        return rate;
      },
      floor: (seconds) => hashes.ask<number>({ seconds }),
    });
    return [
      {
        what: 'POST',
        unit: '/s',
        measured,
        floor: { what: 'argon2id on all cores', measured: floor },
        want: { of: 'ratio', atLeast: 0.9 },
      },
    ];
  },
};

const alone =
  'RUN=api: its event is written with it, and handled by nobody. Floors: a Fastify handler that runs the same statement, without logs, validation, hooks and schemas; the same SQL from 32 callers in a bare loop over a pool of the same size.';

export const put: Measurement = {
  definition: `PUT /users/{id} with a new name and surname. ${alone}`,
  measure: (stage) => measureWrite(stage, 'PUT, names only', 'update'),
};

export const remove: Measurement = {
  definition: `DELETE /users/{id}. ${alone}`,
  measure: (stage) => measureWrite(stage, 'DELETE', 'delete'),
};

async function measureWrite(stage: Stage, what: string, operation: 'update' | 'delete'): Promise<Row[]> {
  await using database = await stage.cloneDatabase('users');
  await using untouched = await stage.cloneDatabase('users');
  await using third = await stage.cloneDatabase('users');
  await using service = await stage.startService({ DATABASE_URL: database.url, RUN: 'api' });
  await using floor = stage.startFloor('statements', { url: untouched.url, operation });
  await using server = await stage.startHandlers(third.url);
  const write = (url: string) => {
    let n = 0;
    return (seconds: number) => load({ ...stage, seconds }, url, () => operations[operation].request(++n));
  };
  const sides = { measured: write(service.url), handler: write(server.url), loop: (seconds: number) => floor.ask<number>({ seconds }) };
  return besideBoth(what, await inTurns(stage, sides), 0.9);
}
