// What is done: as a request to the service, where there is one, and as the call of the service's own function that sends the
// SQL. `n` counts the calls, so that no two of them write the same.
import { randomUUIDv7 } from 'node:crypto';
import { deleteUser, updateUser } from '../src/features/users/commands.ts';
import { createUserReader, listUsers } from '../src/features/users/queries.ts';
import type { Db } from '../src/platform/db/client.ts';
import { queue } from '../src/platform/events/contract/topology.ts';
import { claimNext } from '../src/platform/events/store/inbox.ts';
import { users } from './database.ts';
import type { Request } from './load.ts';

export type Operation = { request?(n: number): Request; statement(db: Db, n: number): Promise<unknown> };

/** Of 10,000 pages of ten. */
export const deepPage = 9000;

const anyId = (n: number) => String(1 + ((n * 7919) % users));
const names = (n: number) => ({ name: `Bench-${n}`, surname: `Bench-${n}` });
const updated = (n: number) => ({
  event_id: randomUUIDv7(),
  event_type: 'user.updated',
  occurred_at: '2025-01-01T10:00:00.000000Z',
  trace_id: `Bench-${n}`,
  data: {},
});
const parts = (db: Db) => ({ db, passwords: undefined as never, eventPayload: 'full' as const, confusables: 'refuse' as const });

export const operations = {
  get: {
    request: (n) => ({ method: 'GET', path: `/users/${anyId(n)}` }),
    statement: (db, n) => createUserReader(db)(anyId(n)),
  },
  listFirst: {
    request: () => ({ method: 'GET', path: '/users/' }),
    statement: (db) => listUsers(db, 1, 10),
  },
  listDeep: {
    request: () => ({ method: 'GET', path: `/users/?page=${deepPage}` }),
    statement: (db) => listUsers(db, deepPage, 10),
  },
  update: {
    request: (n) => ({ method: 'PUT', path: `/users/${anyId(n)}`, body: names(n) }),
    statement: (db, n) => updateUser(parts(db), anyId(n), names(n)),
  },
  delete: {
    request: (n) => ({ method: 'DELETE', path: `/users/${users - n}` }),
    statement: (db, n) => deleteUser(parts(db), String(users - n)),
  },
  handle: {
    statement: (db, n) => claimNext(db, { subscription: queue, event: updated(n), subject: String(n), version: 1 }),
  },
} as const satisfies Record<string, Operation>;

/** A list for `load`, long enough that not the same few rows are read again and again. */
export const someReads: readonly Request[] = Array.from({ length: 200 }, (_, n) => operations.get.request(n));

export const create: Request = {
  method: 'POST',
  path: '/users/',
  body: { name: 'John', surname: 'Doe', password: 'correct horse battery' },
};
