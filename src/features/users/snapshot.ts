// All users with their versions, and first the cursor from which the events go on: the start of a copy elsewhere.

import type { Db } from '../../platform/db/client.ts';
import { patiently } from '../../platform/db/patience.ts';
import { formatCursor } from '../../platform/events/store/cursor.ts';
import { readEnd } from '../../platform/events/store/reading.ts';
import { reference, refusals } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import type { Stream, Streams } from '../../platform/http/streams.ts';
import { problems } from '../../platform/problem.ts';
import { createRecent } from '../../platform/runtime/recent.ts';
import { Type } from '../../platform/runtime/schema.ts';
import type { Slots } from '../../platform/runtime/slots.ts';
import { type StateRow, stateOf, stateSql } from './queries.ts';
import { exampleState } from './schemas.ts';

export type SnapshotParts = {
  readonly db: Db;
  readonly streams: Streams;
  /** Among whom readers take turns: each holds one batch of users. */
  readonly turns: Slots;
};

/** About 16 KiB: what a reader that does not take it costs. */
const batchSize = 100;
/** How far a reader who takes everything at once gets in its turn. */
const batchesInTurn = 50;
const kept = { ms: 2000, max: 64 };
const mediaType = 'application/x-ndjson';
const example = `${JSON.stringify({ cursor: 'MUAyMDI1LTAxLTAxVDEwOjAwOjAwLjAwMDAwMFpANWYzYzlhMWI3ZTI0' })}\n${JSON.stringify(exampleState)}\n`;

const UsersSnapshot = Type.String({
  $id: 'UsersSnapshot',
  // Bytes, for clients that would read a text as a JSON value.
  format: 'binary',
  description: 'Newline-delimited JSON: a line with the `cursor`, then a line for each user, as `User` without `last_login_at`.',
});

/** `last` is undefined where there is no more. */
type Batch = { readonly bytes: Buffer; readonly last: string | undefined };

export function addSnapshot(app: App, { db, streams, turns }: SnapshotParts): void {
  app.addSchema(UsersSnapshot);
  // A batch serves every snapshot whose cursor is older than its reading.
  const recent = createRecent<Promise<Batch>>(kept);
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
          ...refusals(problems.database_unavailable, problems.overloaded),
          200: { description: 'The cursor and the users.', content: { [mediaType]: { schema: reference('UsersSnapshot'), example } } },
        },
      },
    },
    async (request, reply) => {
      // Before the first user is read: a change after this is in the events, and may be in the users already; its version tells.
      const cursor = request.method === 'HEAD' ? '' : formatCursor(await readEnd(db));
      const begun = performance.now();
      return streams.start(reply, { mediaType }, (stream) => send(stream, cursor, begun));
    },
  );

  // Each batch is a statement of its own, so that a slow reader holds no connection and no snapshot of the database.
  async function send(stream: Stream, cursor: string, begun: number): Promise<void> {
    stream.write(Buffer.from(`${JSON.stringify({ cursor })}\n`));
    for (let last: string | undefined = '0'; last !== undefined && !stream.ended.aborted; ) {
      const after: string = last;
      await stream.drained();
      last = await patiently(stream.ended, () => turns.run(() => sendBatches(stream, after, begun)));
    }
  }

  /** @returns the last id that was written; undefined when there is no more */
  async function sendBatches(stream: Stream, after: string, begun: number): Promise<string | undefined> {
    let last: string | undefined = after;
    for (let batches = 0; batches < batchesInTurn && last !== undefined && !stream.ended.aborted; batches += 1) {
      const batch: Batch = await readBatch(last, begun);
      stream.write(batch.bytes);
      last = batch.last;
      if (!(await stream.flows())) break;
    }
    return last;
  }

  function readBatch(after: string, begun: number): Promise<Batch> {
    const before = recent.find(after, begun);
    if (before !== undefined) return before;
    const reading = queryBatch(after);
    recent.keep(after, performance.now(), reading);
    reading.catch(() => recent.forget(after));
    return reading;
  }

  async function queryBatch(after: string): Promise<Batch> {
    const rows = await db.query<StateRow>(`select ${stateSql} from "user" where id > $1 order by id limit ${batchSize}`, [after]);
    const lines = rows.map((row) => `${JSON.stringify(stateOf(row))}\n`);
    return { bytes: Buffer.from(lines.join('')), last: rows.length < batchSize ? undefined : rows.at(-1)?.id };
  }
}
