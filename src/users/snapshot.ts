// All users with their versions, and first the cursor from which the events go on: the start of a copy elsewhere.
import { Readable } from 'node:stream';
import { Type } from 'typebox';
import type { Db } from '../db/client.ts';
import { formatCursor } from '../events/cursor.ts';
import { readBounds } from '../events/log.ts';
import { refusals } from '../http/responses.ts';
import type { App } from '../http/server.ts';
import { columnsSql, type UserRow, userOf } from './queries.ts';
import { exampleUser } from './schemas.ts';

const batchSize = 1000;
const mediaType = 'application/x-ndjson';
const example = `${JSON.stringify({ cursor: 'MUAyMDI1LTAxLTAxVDEwOjAwOjAwLjAwMDAwMFo' })}\n${JSON.stringify({ ...exampleUser, version: 1 })}\n`;

export function addSnapshot(app: App, db: Db): void {
  app.get(
    '/users/snapshot',
    {
      config: { access: 'anyone' },
      schema: {
        tags: ['events'],
        operationId: 'getUsersSnapshot',
        summary: 'Stream all users',
        description:
          'Newline-delimited JSON: first `{"cursor":"..."}`, then a line for each user, with its `version`. Read it to its end, then read `/events/` after the cursor and apply each event whose version is newer than that of your copy. An answer that is cut short is no snapshot.',
        response: {
          ...refusals('database_unavailable'),
          200: { description: 'The cursor and the users.', content: { [mediaType]: { schema: Type.String(), example } } },
        },
      },
    },
    async (_request, reply) => {
      // Before the first user is read: a change after this is in the events, and may be in the users already; its version tells.
      const { end } = await readBounds(db);
      return reply.type(mediaType).send(Readable.from(lines(db, formatCursor(end)), { highWaterMark: 1 }) as never);
    },
  );
}

// Each batch is a statement of its own, so that a slow reader holds no connection and no snapshot of the database.
async function* lines(db: Db, cursor: string): AsyncGenerator<string> {
  yield `${JSON.stringify({ cursor })}\n`;
  for (let last = '0'; ; ) {
    const rows = await db.query<UserRow & { version: string }>(
      `select ${columnsSql}, version from "user" where id > $1 order by id limit ${batchSize}`,
      [last],
    );
    if (rows.length > 0) yield rows.map((row) => `${JSON.stringify({ ...userOf(row), version: Number(row.version) })}\n`).join('');
    if (rows.length < batchSize) return;
    last = rows.at(-1)?.id ?? last;
  }
}
