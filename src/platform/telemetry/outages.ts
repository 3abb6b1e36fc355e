// Tells when something that a component needs is lost, and when it is back, with the time between: at most a line a second,
// however fast it comes and goes.
import type { Logger } from './logger.ts';

export type Outages = {
  /** Call it as often as it shows. */
  lost(reason: string): void;
  back(): void;
};

const lineMs = 1000;

/**
 * @param words of the two lines
 * @param initially 'back' for what is there from the start; left out, its first coming is logged too
 */
export function createOutages(
  log: Logger,
  component: string,
  words: { readonly lost: string; readonly back: string },
  initially?: 'back',
): Outages {
  let state: 'lost' | 'back' | undefined = initially;
  let told: 'lost' | 'back' | undefined = initially;
  let reason = '';
  let lostAt = 0;
  /** Since the last line that told of a return. */
  let awayMs = 0;
  let losses = 0;
  let nextLineAt = 0;
  let waiting: NodeJS.Timeout | undefined;

  function tell(): void {
    waiting = undefined;
    const unchanged = state === 'lost' ? told === 'lost' : told === 'back' && losses === 0;
    if (unchanged) return;
    if (state === 'lost') log.warn({ component, reason }, words.lost);
    else {
      const away_seconds = Number((awayMs / 1000).toFixed(3));
      log.info({ component, away_seconds, ...(losses > 1 && { losses }) }, words.back);
      awayMs = 0;
      losses = 0;
    }
    told = state;
    nextLineAt = performance.now() + lineMs;
  }

  function tellInTime(): void {
    const waitMs = nextLineAt - performance.now();
    if (waitMs <= 0) tell();
    else if (waiting === undefined) waiting = setTimeout(tell, Math.ceil(waitMs)).unref();
  }

  return {
    lost(why) {
      if (state === 'lost') return;
      state = 'lost';
      reason = why;
      lostAt = performance.now();
      losses += 1;
      tellInTime();
    },
    back() {
      if (state === 'back') return;
      if (state === 'lost') awayMs += performance.now() - lostAt;
      state = 'back';
      tellInTime();
    },
  };
}
