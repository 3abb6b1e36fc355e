// The log of a service under test: kept in memory, and waited for instead of for time to pass.
import { createLogger, type Level, type Logger } from '../../src/platform/telemetry/logger.ts';
import { patienceMs } from './database.ts';

export type Line = Record<string, unknown> & { event: string; level: string; timestamp: string; trace_id?: string };

export type CapturedLog = {
  readonly log: Logger;
  readonly lines: readonly Line[];
  /** The text as it would stand on stdout. */
  text(): string;
  /** The first line that matches, of those written and those to come. */
  line(matches: (line: Line) => boolean, what?: string): Promise<Line>;
};

export function captureLog(level: Level = 'debug'): CapturedLog {
  const texts: string[] = [];
  const lines: Line[] = [];
  const waiting = new Set<(line: Line) => void>();
  const log = createLogger(
    { level, appName: 'rollcall' },
    {
      write(text: string) {
        const line = JSON.parse(text) as Line;
        texts.push(text);
        lines.push(line);
        for (const look of [...waiting]) look(line);
      },
    },
  );
  return {
    log,
    lines,
    text: () => texts.join(''),
    line(matches, what = 'a log line') {
      const found = lines.find(matches);
      if (found !== undefined) return Promise.resolve(found);
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(look);
          reject(new Error(`${what} did not come; the last lines were:\n${texts.slice(-15).join('')}`));
        }, patienceMs);
        const look = (line: Line) => {
          if (!matches(line)) return;
          clearTimeout(timer);
          waiting.delete(look);
          resolve(line);
        };
        waiting.add(look);
      });
    },
  };
}
