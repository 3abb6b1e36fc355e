// The event log over HTTP: pages by cursor, with waiting at the end, and the same as server-sent events.

import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DatabaseUnavailableError } from '../../platform/db/unavailable.ts';
import { AnyEvent, type EventDefinition } from '../../platform/events/contract/envelope.ts';
import { problems as own } from '../../platform/events/contract/problems.ts';
import { type Cursor, formatCursor, isBefore, parseCursor } from '../../platform/events/store/cursor.ts';
import type { LoggedEvent } from '../../platform/events/store/log.ts';
import { type Filter, matches, placeOf, type Reader, type Reading } from '../../platform/events/store/reading.ts';
import type { Batch, Tail } from '../../platform/events/tail.ts';
import { notACursor } from '../../platform/http/cursor.ts';
import { mediaTypes, preferredType } from '../../platform/http/negotiation.ts';
import { answer, reference, refusals } from '../../platform/http/responses.ts';
import type { App } from '../../platform/http/server.ts';
import type { Streams } from '../../platform/http/streams.ts';
import { pathOf } from '../../platform/http/target.ts';
import { problems, type Violation } from '../../platform/problem.ts';
import type { Slots } from '../../platform/runtime/slots.ts';
import { createFrameReader } from './frames.ts';
import { cursorExample, EventStream, EventType, FeedPage, FeedQuery, limitDefault } from './schemas.ts';
import { eventStream, follow, heartbeat } from './stream.ts';

export type FeedParts = {
  readonly reader: Reader;
  readonly tail: Tail;
  readonly streams: Streams;
  /** Among whom the readers who lag take turns. */
  readonly turns: Slots;
  readonly definitions: readonly EventDefinition[];
};

type Page = { readonly events: readonly LoggedEvent[]; readonly next: Cursor };

export function addFeed(app: App, { reader, tail, streams, turns, definitions }: FeedParts): void {
  const frames = createFrameReader(reader);
  const types = definitions.map(({ type }) => type);
  for (const schema of [AnyEvent(types), EventType(types), FeedPage, EventStream]) app.addSchema(schema);
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
          'Every committed change in one order without gaps: who has read up to a cursor has missed nothing before it. With `Accept: text/event-stream` the same as server-sent events, each with its cursor as `id`; `Last-Event-ID` continues. A stream whose cursor expires ends with the event `cursor_expired`.',
        querystring: FeedQuery(types),
        response: {
          ...refusals(own.cursor_expired, problems.database_unavailable, problems.overloaded),
          200: withStream(
            answer(
              'Events after the cursor.',
              reference('FeedPage'),
              { events: [example], next: cursorExample },
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
      const filter: Filter = { subject: user_id === undefined ? undefined : `user:${user_id}`, types: types?.split(',') };
      const { accept, 'last-event-id': lastId } = request.headers;

      if (accept !== undefined && preferredType(accept, [...mediaTypes, eventStream]) === eventStream) {
        // An empty one is what a browser has before the first event (HTML standard, section 9.2.3).
        const [text, key, source] = lastId ? [String(lastId), 'last-event-id', 'header' as const] : [after, 'after', 'query' as const];
        return stream(request, reply, readCursor(text, key, source), filter);
      }
      const page = await readPage(readCursor(after, 'after', 'query'), limit, filter, wait * 1000, reply.raw);
      const next = formatCursor(page.next);
      const body = JSON.stringify({ events: page.events.map(({ event }) => event), next });
      streams.count(reply.raw, Buffer.byteLength(body));
      return reply
        .header('link', `<${linkTo(request, next)}>; rel="next"`)
        .type('application/json; charset=utf-8')
        .send(body as never);
    },
  );

  async function readPage(after: Cursor | undefined, limit: number, filter: Filter, waitMs: number, raw: ServerResponse): Promise<Page> {
    const isAtEnd = ({ next, end }: Reading) => next.position === end.position;
    const reading = await reader.read(after, limit, filter);
    if (waitMs === 0 || reading.events.length > 0) return reading;
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), waitMs);
    raw.once('close', () => over.abort());
    const grown = tail.follow(over.signal);
    let page: Page = reading;
    let atEnd = isAtEnd(reading);
    while (page.events.length === 0 && !over.signal.aborted && !tail.closing) {
      const recalled = tail.recall(page.next);
      if (typeof recalled === 'object') page = pick(recalled, page.next, limit, filter);
      else if (recalled === 'end' || atEnd) {
        await grown(page.next);
        atEnd = false;
      } else {
        const more = await reader.read(page.next, limit, filter);
        page = more;
        atEnd = isAtEnd(more);
      }
    }
    clearTimeout(timer);
    return page;
  }

  async function stream(request: FastifyRequest, reply: FastifyReply, after: Cursor | undefined, filter: Filter) {
    try {
      // Of no event: only whether the cursor holds.
      if (after !== undefined) await reader.read(after, 0);
    } catch (error) {
      // A browser gives up at any answer but 200 (HTML standard, section 9.2.3): the stream opens, and waits.
      if (!(error instanceof DatabaseUnavailableError)) throw error;
    }
    const options = { after, filter, path: pathOf(request.url), traceId: request.trace.traceId };
    return streams.start(reply, { mediaType: eventStream, heartbeat }, (stream) => follow(stream, { tail, frames, turns }, options));
  }
}

function readCursor(text: string | undefined, key: string, source: Violation['source']): Cursor | undefined {
  if (text === undefined) return undefined;
  const cursor = parseCursor(text);
  if (cursor !== undefined) return cursor;
  throw notACursor('/events/', key, source);
}

function pick({ events, next }: Batch, after: Cursor, limit: number, filter: Filter): Page {
  const wanted = events.filter((logged) => isBefore(after.position, logged.position) && matches(filter, logged)).slice(0, limit);
  const last = wanted.at(-1);
  return { events: wanted, next: last !== undefined && wanted.length === limit ? { ...placeOf(last), epoch: next.epoch } : next };
}

function withStream(page: ReturnType<typeof answer>) {
  return { ...page, content: { ...page.content, [eventStream]: { schema: reference('EventStream') } } };
}

function linkTo(request: FastifyRequest<{ Querystring: FeedQuery }>, next: string): string {
  const query = new URLSearchParams(request.query as Record<string, string>);
  query.set('after', next);
  return `/events/?${query}`;
}
