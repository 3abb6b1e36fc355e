// What the event log costs the writes.
import type { OutboxInput } from './floors/outbox.ts';
import { inTurns } from './reads.ts';
import type { Measurement } from './row.ts';
import type { Stage } from './stage.ts';

export const eventLog: Measurement = {
  definition:
    "The SQL of a PUT from 32 callers over a pool of the service's size, while one more connection moves the events from the outbox to the end of the log as the active relay does, up to 2,000 at a time, with 25 ms between. The clock runs until the outbox is empty. Floor: the same, but that connection only deletes the events.",
  async measure(stage) {
    await using database = await stage.cloneDatabase('users');
    await using untouched = await stage.cloneDatabase('users');
    await using logged = startOutbox(stage, { url: database.url, into: 'log' });
    await using deleted = startOutbox(stage, { url: untouched.url, into: 'nowhere' });
    const { measured, floor } = await inTurns(stage, {
      measured: (seconds) => logged.ask<number>({ seconds }),
      floor: (seconds) => deleted.ask<number>({ seconds }),
    });
    return [
      {
        what: 'updates with the event log',
        unit: '/s',
        measured,
        floor: { what: 'updates without it', measured: floor },
        want: { of: 'ratio', atLeast: 0.8 },
      },
    ];
  },
};

function startOutbox(stage: Stage, input: OutboxInput) {
  return stage.startFloor('outbox', input);
}
