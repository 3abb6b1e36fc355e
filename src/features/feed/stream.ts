// The event log as server-sent events (HTML standard, section 9.2): from the log until its end, then with the tail.
import { patiently } from '../../platform/db/patience.ts';
import type { Cursor } from '../../platform/events/store/cursor.ts';
import type { Filter } from '../../platform/events/store/reading.ts';
import type { Tail } from '../../platform/events/tail.ts';
import { detailsOf } from '../../platform/http/errors.ts';
import type { Stream } from '../../platform/http/streams.ts';
import { Problem } from '../../platform/problem.ts';
import type { Slots } from '../../platform/runtime/slots.ts';
import { type FrameReader, type Piece, tailPieces } from './frames.ts';

export const eventStream = 'text/event-stream';
export const heartbeat = Buffer.from(': still here\n\n');

/** How far a reader who takes everything at once gets in its turn. */
const batchesInTurn = 50;

export type Following = {
  readonly tail: Tail;
  readonly frames: FrameReader;
  /** Each holds a batch that was read from the log until its reader has taken it, or takes no more. */
  readonly turns: Slots;
};

type Wanted = { readonly after: Cursor | undefined; readonly filter: Filter; readonly path: string; readonly traceId: string };

/** Sends what follows the cursor, until the stream ends or its events have expired. */
export async function follow(stream: Stream, { tail, frames, turns }: Following, { after, filter, path, traceId }: Wanted): Promise<void> {
  const grown = tail.follow(stream.ended);
  let cursor = after;
  let atEnd = false;
  try {
    stream.write(Buffer.from(': open\n\n'));
    while (!stream.ended.aborted && !tail.closing) {
      await stream.drained();
      const recalled = cursor === undefined ? undefined : tail.recall(cursor);
      if (cursor !== undefined && (recalled === 'end' || (recalled === undefined && atEnd))) {
        await grown(cursor);
        atEnd = false;
      } else if (cursor !== undefined && typeof recalled === 'object') {
        await give(tailPieces(recalled, cursor, filter), recalled.next);
      } else {
        await patiently(stream.ended, () => turns.run(catchUp));
      }
    }
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'cursor_expired') throw error;
    stream.write(Buffer.from(`event: ${error.code}\ndata: ${JSON.stringify(detailsOf(error, path, traceId))}\n\n`));
  }

  async function catchUp(): Promise<void> {
    for (let batches = 0; batches < batchesInTurn && !atEnd && !stream.ended.aborted; batches += 1) {
      const { pieces, next, atEnd: last } = await frames.read(cursor, filter);
      if (!(await give(pieces, next))) return;
      atEnd = last;
      if (!(await stream.flows())) return;
    }
  }

  // What the system does not take at once is forgotten, and read again from the cursor when there is room.
  async function give(pieces: readonly Piece[], next: Cursor): Promise<boolean> {
    for (const [index, piece] of pieces.entries()) {
      if (index > 0 && !(await stream.flows())) return false;
      stream.write(piece.bytes);
      cursor = piece.next;
    }
    cursor = next;
    return true;
  }
}
