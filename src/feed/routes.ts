// The event log over HTTP: pages by cursor, with waiting at the end, and the same as server-sent events.
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Db } from '../db/client.ts';
import { formatCursor, isBefore, parseCursor } from '../events/cursor.ts';
import type { EventDefinition } from '../events/envelope.ts';
import { type Cursor, type Filter, type LoggedEvent, positionsMax, readAfter, readBounds } from '../events/log.ts';
import type { Tail } from '../events/tail.ts';
import { answer, reference, refusals } from '../http/responses.ts';
import type { App } from '../http/server.ts';
import { Problem } from '../problem.ts';
import { FeedPage, FeedQuery, limitDefault } from './schemas.ts';

export type FeedParts = { readonly db: Db; readonly tail: Tail; readonly definitions: readonly EventDefinition[] };

const heartbeatMs = 15_000;
const eventStream = 'text/event-stream';

type Reading = { readonly events: readonly LoggedEvent[]; readonly next: Cursor };

export function addFeed(app: App, { db, tail, definitions }: FeedParts): void {
  app.addSchema(FeedPage(definitions.map(({ schema }) => schema)));
  const [{ example } = { example: {} }] = definitions;

  app.get(
    '/events/',
    {
      config: { access: 'anyone' },
      schema: {
        tags: ['events'],
        operationId: 'listEvents',
        summary: 'Read the event log',
        description:
          'Every committed change in one order without gaps: who has read up to a cursor has missed nothing before it. With `Accept: text/event-stream` the same as server-sent events, each with its cursor as `id`; `Last-Event-ID` continues.',
        querystring: FeedQuery,
        response: {
          ...refusals('cursor_expired', 'database_unavailable'),
          200: withStream(
            answer(
              'Events after the cursor.',
              reference('FeedPage'),
              { events: [example], next: 'NEAyMDI2LTAxLTAxVDAwOjAwOjAwLjAwMDAwMFo' },
              {
                link: { type: 'string', description: 'The next request, as `rel="next"` (RFC 8288).' },
              },
            ),
          ),
        },
      },
    },
    async (request, reply) => {
      const { after, limit = limitDefault, wait = 0, user_id, types } = request.query;
      const filter: Filter = { subject: user_id?.toString(), types: types?.split(',') };
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());

      if (request.headers.accept?.includes(eventStream)) {
        const cursor = await start(request.headers['last-event-id']?.toString() ?? after);
        return stream(reply, cursor, limit, filter, gone.signal);
      }
      const cursor = await start(after);
      let reading = await read(cursor, limit, filter);
      const until = performance.now() + wait * 1000;
      while (reading.events.length === 0 && performance.now() < until && !tail.closing && !gone.signal.aborted) {
        await tail.waitAfter(reading.next.position, until - performance.now(), gone.signal);
        reading = await read(reading.next, limit, filter);
      }
      const next = formatCursor(reading.next);
      return reply
        .header('link', `<${linkTo(request, next)}>; rel="next"`)
        .type('application/json; charset=utf-8')
        .send(JSON.stringify({ events: reading.events.map(({ event }) => event), next }) as never);
    },
  );

  async function start(after: string | undefined): Promise<Cursor> {
    const { end, expiredPosition } = await readBounds(db);
    if (after === undefined) return { position: expiredPosition, loggedAt: '1970-01-01T00:00:00.000000Z' };
    const cursor = parseCursor(after);
    if (cursor === undefined) {
      const violations = [{ key: 'after', message: 'is no cursor of this service', source: 'query' as const }];
      throw new Problem('validation_failed', 'Validation failed for GET /events/', { violations });
    }
    if (isBefore(cursor.position, expiredPosition)) {
      throw new Problem(
        'cursor_expired',
        'Events after this cursor have expired. Take a new snapshot from /users/snapshot and go on from its cursor.',
      );
    }
    // As after a restore from an older backup: waiting until the log gets there would skip what is written meanwhile.
    if (isBefore(end.position, cursor.position)) {
      throw new Problem(
        'cursor_expired',
        'This cursor is beyond the end of the log. Take a new snapshot from /users/snapshot and go on from its cursor.',
      );
    }
    return cursor;
  }

  // The end is read first: whatever is logged meanwhile is either in the answer or after its cursor.
  async function read(cursor: Cursor, limit: number, filter: Filter): Promise<Reading> {
    const { end } = await readBounds(db);
    const events = await readAfter(db, cursor, limit, filter);
    const last = events.at(-1);
    if (events.length === limit && last !== undefined) return { events, next: last };
    const looked = (BigInt(cursor.position) + BigInt(positionsMax)).toString();
    if (isBefore(looked, end.position)) return { events, next: { position: looked, loggedAt: last?.loggedAt ?? cursor.loggedAt } };
    const beyondEnd = last !== undefined && isBefore(end.position, last.position);
    if (beyondEnd) return { events, next: last };
    return { events, next: isBefore(end.position, cursor.position) ? cursor : end };
  }

  function stream(reply: FastifyReply, from: Cursor, limit: number, filter: Filter, gone: AbortSignal) {
    async function* frames(): AsyncGenerator<string> {
      let cursor = from;
      // Sent at once, so that the caller sees the stream open.
      yield ': open\n\n';
      while (!gone.aborted && !tail.closing) {
        const { events, next } = await read(cursor, limit, filter);
        for (const { event, position, loggedAt } of events) {
          yield `id: ${formatCursor({ position, loggedAt })}\nevent: ${event.event_type}\ndata: ${JSON.stringify(event)}\n\n`;
        }
        const atEnd = events.length === 0 && next.position === cursor.position;
        cursor = next;
        if (!atEnd) continue;
        await tail.waitAfter(cursor.position, heartbeatMs, gone);
        yield ': still here\n\n';
      }
    }
    return reply
      .type(eventStream)
      .header('x-accel-buffering', 'no')
      .send(Readable.from(frames(), { highWaterMark: 1 }) as never);
  }
}

function withStream(page: ReturnType<typeof answer>) {
  return { ...page, content: { ...page.content, [eventStream]: { schema: Type.String() } } };
}

function linkTo(request: FastifyRequest<{ Querystring: FeedQuery }>, next: string): string {
  const query = new URLSearchParams(request.query as Record<string, string>);
  query.set('after', next);
  return `/events/?${query}`;
}
