// Updates whose events one more connection takes out of the outbox: to the end of the log, as the active relay does, or
// nowhere, as a relay without a log would.
import { setTimeout as sleep } from 'node:timers/promises';
import { startPool, type Tx } from '../../src/platform/db/client.ts';
import * as log from '../../src/platform/events/store/log.ts';
import { maintain } from '../../src/platform/events/store/retention.ts';
import { connectionSettings } from '../database.ts';
import { createCallers } from './callers.ts';
import { answerQuestions, readInput } from './questions.ts';

export type OutboxInput = { readonly url: string; readonly into: 'log' | 'nowhere' };

/** Both as the relay's. */
const batchSize = 2000;
const restMs = 25;

const { url, into } = readInput<OutboxInput>();
const callers = createCallers(url, 'update');
const pool = startPool({ ...connectionSettings(url), statementTimeoutMs: 0 }, 1);
const take = { log: async (tx: Tx, limit: number) => (await log.sequence(tx, limit)).moved, nowhere: discard }[into];

async function discard(tx: Tx, limit: number): Promise<number> {
  const [row] = await tx.query<{ taken: number }>(
    `with taken as (
       delete from outbox where position = any(array(select position from outbox order by position limit $1)) returning *
     )
     select count(*)::int as taken from taken`,
    [limit],
  );
  return row?.taken ?? 0;
}

/** Updates a second, up to the moment when the outbox is empty. */
async function run(seconds: number): Promise<number> {
  const startedAt = performance.now();
  let calling = true;
  const calls = callers.call(seconds).finally(() => {
    calling = false;
  });
  for (;;) {
    // An update that commits while a batch is taken may not be in it.
    const isLast = !calling;
    const taken = (await pool.underLock(log.relayLock, (tx) => take(tx, batchSize))) ?? 0;
    if (taken === 0 && isLast) break;
    await sleep(restMs);
  }
  return ((await calls) * 1000) / (performance.now() - startedAt);
}

// Today's partition; without it all would go into the one for days that nobody prepared.
await maintain(pool, 30);
answerQuestions(({ seconds }: { seconds: number }) => run(seconds));
