// The log: one JSON object a line on stdout, `event` first in meaning, the trace id of the unit of work on each, and no line
// longer than a bound.
import { createRequire } from 'node:module';
import { isatty } from 'node:tty';
import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import * as context from '../context.ts';
import { type Output, outputTo } from './output.ts';

export type Logger = PinoLogger;

export const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type Level = (typeof levels)[number];

// Any key that holds one of these words, at any depth. Settings that end in _URL hold passwords too,
// but for the public one.
const secretKey = /password|passwd|secret|token|authorization|cookie|hash|(?<!public)_url$/i;
const depthMax = 8;
/** Of a text, such as a path, which a caller may make as long as the headers of a request. */
const textCharsMax = 512;
const messageCharsMax = 2048;
const stackCharsMax = 6144;
/** Of a whole line. What makes one longer is taken out by field. */
const lineBytesMax = 16_384;

/** @param destination where the lines go; stdout, formatted for reading on a terminal, where left out */
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
    hooks: { streamWrite: boundLine },
    // A copy each time: pino merges a line's own fields into what it is given, and they would stay for later lines.
    mixin: () => {
      const traceId = context.current()?.traceId;
      return traceId === undefined ? {} : { trace_id: traceId };
    },
  };
  if (destination !== undefined) return pino(settings, destination);
  const stdout = outputTo('stdout');
  const log = pino(settings, isatty(1) ? createFormatter(stdout) : stdout);
  stdout.onRoom = (lines) => log.warn({ lines }, 'Log lines were dropped: nobody took them');
  return log;
}

function conceal(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return cut(value, textCharsMax);
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
  return {
    type,
    message: cut(message, messageCharsMax),
    ...(code !== undefined && { code: typeof code === 'string' ? cut(code, textCharsMax) : code }),
    stack: cut(stack, stackCharsMax),
  };
}

function cut(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax).toWellFormed()}... (${text.length} characters)`;
}

// Long texts are cut before; this holds for whatever else makes a line long, such as a message or hundreds of fields.
function boundLine(line: string): string {
  // A UTF-16 unit is at most three bytes of UTF-8.
  if (line.length * 3 <= lineBytesMax || Buffer.byteLength(line) <= lineBytesMax) return line;
  let bytesLeft = lineBytesMax - 1024;
  const kept = Object.entries(JSON.parse(line) as Record<string, unknown>).map(([key, value]) => {
    const short = key === 'event' ? cut(String(value), textCharsMax) : value;
    const bytes = Buffer.byteLength(JSON.stringify([key, short]));
    if (bytes > bytesLeft) return [];
    bytesLeft -= bytes;
    return [[key, short]];
  });
  return `${JSON.stringify({ ...Object.fromEntries(kept.flat()), cut_from_bytes: Buffer.byteLength(line) })}\n`;
}

// Loaded only where a person reads.
function createFormatter(output: Output): DestinationStream {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
  const format = prettyFactory({
    messageKey: 'event',
    timestampKey: 'timestamp',
    errorLikeObjectKeys: ['error'],
    ignore: 'app',
    singleLine: true,
  });
  return { write: (line) => output.write(format(line)) };
}
