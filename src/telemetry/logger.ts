// The log: one JSON object a line on stdout, `event` first in meaning, the trace id of the unit of work on each.

import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import * as context from '../context.ts';

export type Logger = PinoLogger;

export const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type Level = (typeof levels)[number];

// Any key that holds one of these words, at any depth. Settings that end in _URL hold passwords too.
const secretKey = /password|passwd|secret|token|authorization|cookie|hash|_url$/i;
const depthMax = 8;

/** @param destination where the lines go; stdout, pretty on a terminal, where left out */
export function createLogger(options: { level: Level; appName: string }, destination?: DestinationStream): Logger {
  const settings = {
    level: options.level,
    base: { app: options.appName },
    messageKey: 'event',
    errorKey: 'error',
    timestamp: () => `,"timestamp":"${new Date().toISOString()}"`,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: object) => conceal(fields, 0) as Record<string, unknown>,
    },
    // `formatters.log` has done it; the default would take its result for an error of another type.
    serializers: { error: (described: unknown) => described },
    // A copy each time: pino merges a line's own fields into what it is given, and they would stay for later lines.
    mixin: () => {
      const traceId = context.current()?.traceId;
      return traceId === undefined ? {} : { trace_id: traceId };
    },
  };
  return pino(settings, destination ?? stdout());
}

function conceal(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return describe(value);
  if (depth === depthMax) return '[too deep]';
  if ('toJSON' in value) return value;
  if (Array.isArray(value)) return value.map((item) => conceal(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, secretKey.test(key) ? '[redacted]' : conceal(item, depth + 1)]),
  );
}

// Not the other fields of an error: those of PostgreSQL quote the row that was refused, its password included.
function describe(error: Error): object {
  const { type, message, stack } = pino.stdSerializers.err(error);
  const { code } = error as { code?: unknown };
  return { type, message, ...(code !== undefined && { code }), stack };
}

function stdout(): DestinationStream {
  if (process.stdout.isTTY) {
    return pino.transport({
      target: 'pino-pretty',
      options: { messageKey: 'event', timestampKey: 'timestamp', errorLikeObjectKeys: ['error'], ignore: 'app', singleLine: true },
    });
  }
  // Asynchronous, so that a reader of stdout that is slow or stopped never holds up a request.
  return pino.destination({ fd: 1, sync: false });
}
