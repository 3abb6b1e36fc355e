// The log: one JSON object a line on stdout, `event` first in meaning, the trace id of the unit of work on each.

import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import * as context from '../context.ts';

export type Logger = PinoLogger;

export const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type Level = (typeof levels)[number];

const secretKeys = ['password', 'hash', 'authorization', 'cookie', 'token', 'secret', 'database_url', 'rabbitmq_url'];

/** @param destination where the lines go; stdout, pretty on a terminal, where left out */
export function createLogger(options: { level: Level; appName: string }, destination?: DestinationStream): Logger {
  const settings = {
    level: options.level,
    base: { app: options.appName },
    messageKey: 'event',
    errorKey: 'error',
    timestamp: () => `,"timestamp":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    // A copy each time: pino merges a line's own fields into what it is given, and they would stay for later lines.
    mixin: () => {
      const traceId = context.current()?.traceId;
      return traceId === undefined ? {} : { trace_id: traceId };
    },
    redact: {
      paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
      censor: '[redacted]',
    },
  };
  return pino(settings, destination ?? stdout());
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
