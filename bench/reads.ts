// GET by id and the list.
import { columnsSql } from '../src/features/users/queries.ts';
import { connectionSettings, type Database } from './database.ts';
import type { FloorDatabase } from './floors/server.ts';
import { load } from './load.ts';
import { deepPage, operations, someReads } from './operations.ts';
import { type Measurement, type Row, takeTurns } from './row.ts';
import type { Stage } from './stage.ts';

const warmUpSeconds = 3;

export async function floorDatabase({ url }: Database): Promise<FloorDatabase> {
  const settings = connectionSettings(url);
  return {
    config: { connectionString: url, statement_timeout: settings.statementTimeoutMs, max: settings.poolSize },
    sql: `select ${columnsSql('$1')} from "user" where id = $1`,
  };
}

export const getById: Measurement = {
  definition:
    'GET /users/{id}, 200 ids in turn. Floors: a Fastify route without database; a Fastify handler that reads the same row over a pool of the same size, without logs, validation, hooks and schemas.',
  async measure(stage) {
    await using database = await stage.cloneDatabase('users');
    await using service = await stage.startService({ DATABASE_URL: database.url });
    await using floor = await stage.startFloorServer(await floorDatabase(database));
    const get = (url: string) => (seconds: number) => load({ ...stage, seconds }, url, someReads);
    const bare = (seconds: number) => load({ ...stage, seconds }, floor.url, [{ method: 'GET', path: '/bare' }]);
    const sides = { measured: get(service.url), query: get(floor.url), bare };
    const { measured, query, bare: route } = await inTurns(stage, sides);
    return [
      {
        what: 'GET by id',
        unit: '/s',
        measured,
        floor: { what: 'Fastify, same query', measured: query },
        want: { of: 'ratio', atLeast: 1.3 },
      },
      { what: 'GET by id', unit: '/s', measured, floor: { what: 'Fastify, no database', measured: route } },
    ];
  },
};

const listFloor =
  'Floors: a Fastify handler that runs the same statement, without logs, validation, hooks and schemas; the same SQL from 32 callers in a bare loop over a pool of the same size.';

export const list: Measurement = {
  definition: `GET /users/: the first ten users of 100,000, and their total. ${listFloor}`,
  measure: (stage) => measureList(stage, 'GET list, page 1', 'listFirst'),
};

export const deepList: Measurement = {
  definition: `GET /users/?page=${deepPage}: ten users with 89,990 before them, and the total. ${listFloor}`,
  measure: (stage) => measureList(stage, `GET list, page ${deepPage}`, 'listDeep'),
};

async function measureList(stage: Stage, what: string, operation: 'listFirst' | 'listDeep'): Promise<Row[]> {
  await using database = await stage.cloneDatabase('users');
  await using service = await stage.startService({ DATABASE_URL: database.url });
  await using floor = stage.startFloor('statements', { url: database.url, operation });
  await using server = await stage.startHandlers(database.url);
  const get = (url: string) => (seconds: number) => load({ ...stage, seconds }, url, [operations[operation].request()]);
  const sides = { measured: get(service.url), handler: get(server.url), loop: (seconds: number) => floor.ask<number>({ seconds }) };
  return besideBoth(what, await inTurns(stage, sides), 0.95);
}

/** A rate beside that of Fastify handlers with the same statement, and beside that of the statement alone. */
export function besideBoth(what: string, of: Record<'measured' | 'handler' | 'loop', number[]>, atLeast: number): Row[] {
  const { measured, handler, loop } = of;
  return [
    { what, unit: '/s', measured, floor: { what: 'Fastify, same statement', measured: handler }, want: { of: 'ratio', atLeast } },
    { what, unit: '/s', measured, floor: { what: 'same SQL, bare loop', measured: loop } },
  ];
}

/** A warm-up, long enough for the compiler and of all sides at once, then the rounds. */
export async function inTurns<Side extends string>(
  { rounds, seconds }: Pick<Stage, 'rounds' | 'seconds'>,
  sides: Readonly<Record<Side, (seconds: number) => Promise<number>>>,
): Promise<Record<Side, number[]>> {
  const names = Object.keys(sides) as Side[];
  await Promise.all(names.map((name) => sides[name](warmUpSeconds)));
  const parts = Object.fromEntries(names.map((name) => [name, () => sides[name](seconds / rounds)]));
  return takeTurns(rounds, parts as Record<Side, () => Promise<number>>);
}
