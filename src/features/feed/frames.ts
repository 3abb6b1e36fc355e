// The frames of server-sent events: made once, whoever they are for, and cut into pieces that a slow reader may hold.
import { type Cursor, formatCursor, isBefore } from '../../platform/events/store/cursor.ts';
import type { LoggedEvent } from '../../platform/events/store/log.ts';
import { type Filter, matches, placeOf, type Reader } from '../../platform/events/store/reading.ts';
import type { Batch } from '../../platform/events/tail.ts';
import { createRecent } from '../../platform/runtime/recent.ts';

const batchSize = 100;
/** What is written at once; a reader that does not take it costs that much. */
const pieceBytes = 16 * 1024;
const kept = { ms: 2000, max: 64 };

/** Frames, and where a reader stands that has them. */
export type Piece = { readonly bytes: Buffer; readonly next: Cursor };
/** What follows a cursor, and where a reader stands after it. */
export type Frames = { readonly pieces: readonly Piece[]; readonly next: Cursor; readonly atEnd: boolean };

export type FrameReader = { read(after: Cursor | undefined, filter: Filter): Promise<Frames> };

/** Reads frames from the log. A batch that is full never changes: readers of the next moments at the same cursor get the same. */
export function createFrameReader(reader: Reader): FrameReader {
  const recent = createRecent<Frames>(kept);
  return {
    async read(after, filter) {
      const key = JSON.stringify([after, filter]);
      const before = recent.find(key);
      if (before !== undefined) return before;
      const at = performance.now();
      const { events, next, end } = await reader.read(after, batchSize, filter);
      const frames = { pieces: piecesOf(events, next), next, atEnd: next.position === end.position };
      if (events.length === batchSize) recent.keep(key, at, frames);
      return frames;
    },
  };
}

const framesOfTail = new WeakMap<LoggedEvent, Buffer>();
const piecesOfTail = new WeakMap<Batch, Piece[]>();

/** What of a batch of the tail follows the cursor. Nearly everybody there stands before a whole one. */
export function tailPieces(batch: Batch, cursor: Cursor, filter: Filter): readonly Piece[] {
  const { events, after, next } = batch;
  if (cursor.position !== after.position || filter.subject !== undefined || filter.types !== undefined) {
    const wanted = events.filter((logged) => isBefore(cursor.position, logged.position) && matches(filter, logged));
    return piecesOf(wanted, next, tailFrame);
  }
  let pieces = piecesOfTail.get(batch);
  if (pieces === undefined) {
    pieces = piecesOf(events, next, tailFrame);
    piecesOfTail.set(batch, pieces);
  }
  return pieces;
}

// Once for all readers, whatever their filters are.
function tailFrame(logged: LoggedEvent, epoch: string | undefined): Buffer {
  let frame = framesOfTail.get(logged);
  if (frame === undefined) {
    frame = frameOf(logged, epoch);
    framesOfTail.set(logged, frame);
  }
  return frame;
}

function frameOf(logged: LoggedEvent, epoch: string | undefined): Buffer {
  const id = formatCursor({ ...placeOf(logged), epoch });
  return Buffer.from(`id: ${id}\nevent: ${logged.event.event_type}\ndata: ${JSON.stringify(logged.event)}\n\n`);
}

function piecesOf(events: readonly LoggedEvent[], { epoch }: Cursor, render = frameOf): Piece[] {
  const pieces: Piece[] = [];
  let frames: Buffer[] = [];
  let bytes = 0;
  for (const [index, logged] of events.entries()) {
    const frame = render(logged, epoch);
    frames.push(frame);
    bytes += frame.length;
    if (bytes < pieceBytes && index < events.length - 1) continue;
    pieces.push({ bytes: frames.length === 1 ? frame : Buffer.concat(frames), next: { ...placeOf(logged), epoch } });
    frames = [];
    bytes = 0;
  }
  return pieces;
}
