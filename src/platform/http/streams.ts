// Answers without an end: how many there may be, how long a reader may take nothing, and how much memory all of them hold. A
// stream keeps at most what was written last; where its reader stands is its writer's to know.
import type { ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import * as context from '../context.ts';
import { Problem, problems } from '../problem.ts';
import { startLoop } from '../runtime/loop.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Precedence } from './precedence.ts';

export type StreamLimits = {
  readonly streamsMax: number;
  /** After it a reader who takes nothing of what waits for it is cut off, sooner the less room there is. */
  readonly progressMs: number;
  /** Of everything that waits to be read, in all answers that are counted here. */
  readonly bytesMax: number;
  readonly heartbeatMs: number;
};

export const streamLimits = { progressMs: 8000, bytesMax: 16 * 1024 * 1024, heartbeatMs: 15_000 };

export type Stream = {
  readonly ended: AbortSignal;
  write(bytes: Buffer): void;
  /** Whether the system takes what was written within this turn of the event loop, so that more may follow. */
  flows(): Promise<boolean>;
  /** Resolves when the system has taken everything, or the stream has ended. */
  drained(): Promise<void>;
};

export type StreamOptions = {
  readonly mediaType: string;
  /** For a stream without an end: written where nothing else was for a while, so that who reads, or is between, sees it live. */
  readonly heartbeat?: Buffer;
};

export type Streams = AsyncDisposable & {
  /**
   * Answers with a stream that ends when `work` does; to HEAD with its headers alone. Work has to return soon after
   * `stream.ended` has aborted.
   * @throws overloaded
   */
  start(reply: FastifyReply, options: StreamOptions, work: (stream: Stream) => Promise<void>): FastifyReply;
  /** Counts an answer that is sent as a whole among what waits to be read, until the system has taken it. */
  count(response: ServerResponse, bytes: number): void;
  readonly open: number;
};

const checkMs = 1000;
/** However full the memory is. */
const patienceMsMin = 1000;
const checkedInTurn = 100;
const retrySeconds = 5;

/** An answer, and what of it waits to be read. */
type Debtor = {
  readonly response: ServerResponse;
  readonly trace: context.Context | undefined;
  /** How long it may take nothing while there is room. */
  readonly patienceMs: number;
  waitingBytes: number;
  progressAt: number;
};
type Running = { readonly work: Promise<void>; readonly end: () => void; readonly beat: () => void };

export function startStreams(
  { streamsMax, progressMs, bytesMax, heartbeatMs }: StreamLimits,
  precedence: Precedence,
  log: Logger,
): Streams {
  const open = new Map<Debtor, Running>();
  /** Who has waited longest without taking anything comes first. */
  const debtors = new Set<Debtor>();
  let waitingBytes = 0;

  function owe(debtor: Debtor, bytes: number): void {
    if (debtor.waitingBytes === 0) {
      debtor.progressAt = performance.now();
      debtors.add(debtor);
    }
    debtor.waitingBytes += bytes;
    waitingBytes += bytes;
    if (waitingBytes <= bytesMax) return;
    const [slowest] = debtors;
    if (slowest !== undefined) cut(slowest, 'more waits to be read than is kept, and this has waited longest');
  }

  function pay(debtor: Debtor, bytes: number): void {
    debtor.progressAt = performance.now();
    debtor.waitingBytes -= bytes;
    waitingBytes -= bytes;
    debtors.delete(debtor);
    if (debtor.waitingBytes > 0) debtors.add(debtor);
  }

  function cut(debtor: Debtor, reason: string): void {
    const tell = () => log.warn({ component: 'streams', reason }, 'Stream cut off');
    if (debtor.trace === undefined) tell();
    else context.run(debtor.trace, tell);
    pay(debtor, debtor.waitingBytes);
    // Not closed in order: the system would keep megabytes for a reader who does not take them.
    debtor.response.socket?.resetAndDestroy();
    open.get(debtor)?.end();
  }

  const watching = startLoop(async () => {
    // The fuller the memory, the shorter the patience: a few slow readers may be slow.
    const room = 1 - waitingBytes / bytesMax;
    for (const debtor of [...debtors]) {
      const quietMs = performance.now() - debtor.progressAt;
      if (debtor.waitingBytes === 0 || quietMs <= Math.max(Math.min(patienceMsMin, debtor.patienceMs), debtor.patienceMs * room)) continue;
      cut(debtor, `its reader took nothing for ${(quietMs / 1000).toFixed(1)} s`);
      // The system frees megabytes for each, and requests must not wait for all of them.
      await nextTurn();
      await precedence.giveWay();
    }
    let checked = 0;
    for (const [debtor, { beat }] of [...open]) {
      if (debtor.waitingBytes === 0 && performance.now() - debtor.progressAt > heartbeatMs) beat();
      checked += 1;
      if (checked % checkedInTurn === 0) await nextTurn();
    }
    return checkMs;
  });

  return {
    start(reply, { mediaType, heartbeat }, work) {
      if (open.size >= streamsMax) {
        throw new Problem(problems.overloaded, 'Too many streams are open. Try again later.', {
          headers: { 'retry-after': String(retrySeconds) },
        });
      }
      const response = reply.raw;
      const headers = { ...reply.getHeaders(), 'content-type': mediaType, 'x-accel-buffering': 'no' } as Record<string, string>;
      reply.hijack();
      precedence.exempt(response);
      if (reply.request.method === 'HEAD') {
        response.writeHead(200, headers).end();
        return reply;
      }
      // Nothing comes after it, so that a stop need not wait for the connection.
      // Of what has no end none need be marked, and a chunk around each event would cost each reader three buffers for one.
      if (heartbeat !== undefined) response.useChunkedEncodingByDefault = false;
      response.writeHead(200, { ...headers, connection: 'close' });
      // The caller sees the stream open at once.
      response.flushHeaders();
      const ending = new AbortController();
      const debtor: Debtor = { response, trace: context.current(), patienceMs: progressMs, waitingBytes: 0, progressAt: performance.now() };
      let awaited: (() => void) | undefined;

      function push(bytes: Buffer): void {
        if (ending.signal.aborted) return;
        owe(debtor, bytes.length);
        response.write(bytes, () => {
          // Nothing is owed any more by a stream that was cut off.
          if (debtor.waitingBytes > 0) pay(debtor, bytes.length);
          if (debtor.waitingBytes === 0) awaited?.();
        });
      }
      const end = () => {
        ending.abort();
        awaited?.();
      };
      const stream: Stream = {
        ended: ending.signal,
        write: push,
        async flows() {
          await nextTurn();
          await precedence.giveWay();
          return debtor.waitingBytes === 0;
        },
        drained: () =>
          ending.signal.aborted || debtor.waitingBytes === 0
            ? Promise.resolve()
            : new Promise((resolve) => {
                awaited = resolve;
              }),
      };
      // Counts until its last byte has left, or never will.
      response.once('close', () => {
        end();
        pay(debtor, debtor.waitingBytes);
        open.delete(debtor);
      });
      const working = work(stream).then(
        () => {
          end();
          response.end();
        },
        (error: unknown) => {
          if (!ending.signal.aborted) log.error({ component: 'streams', error }, 'Stream failed');
          response.destroy();
        },
      );
      open.set(debtor, { work: working, end, beat: () => heartbeat !== undefined && push(heartbeat) });
      return reply;
    },

    count(response, bytes) {
      // Of what is written at once no progress shows.
      const debtor: Debtor = { response, trace: context.current(), patienceMs: 6 * progressMs, waitingBytes: 0, progressAt: 0 };
      // Comes after the last byte has left, too.
      response.once('close', () => pay(debtor, debtor.waitingBytes));
      owe(debtor, bytes);
    },

    get open() {
      return open.size;
    },

    async [Symbol.asyncDispose]() {
      await watching[Symbol.asyncDispose]();
      for (const { end } of open.values()) end();
      await Promise.all([...open.values()].map(({ work }) => work));
    },
  };
}
