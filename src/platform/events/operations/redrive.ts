// Gives what was given up to its subscription again.
import type { Pool } from '../../db/client.ts';
import type { Intake } from '../intake.ts';
import { take } from '../store/dead-letters.ts';
import * as inbox from '../store/inbox.ts';
import * as retries from '../store/retries.ts';

/** What keeps a dead letter where it is; undefined where it is on its way again. */
export type Redriven = 'not there' | { readonly refused: string } | undefined;

/**
 * Gives a letter to its subscription again, with all attempts before it: it waits in the database for its turn, whatever delivered it
 * the first time.
 * @param intakes by subscription
 * @param subscription left out: whichever it is of
 */
export async function redrive(pool: Pool, intakes: ReadonlyMap<string, Intake>, id: string, subscription?: string): Promise<Redriven> {
  return pool
    .inTransaction(async (tx): Promise<Redriven> => {
      const letter = await take(tx, id, subscription);
      if (letter === undefined) return 'not there';
      const { body, properties, headers } = letter;
      const delivery = { body, properties, headers, isHeld: () => true };
      const taken = intakes.get(letter.subscription)?.read(delivery);
      if (taken === undefined) throw new Refused(`there is no subscription "${letter.subscription}"`);
      if ('violation' in taken) throw new Refused(`it is no event of ours: ${taken.violation}`);
      if ('ignored' in taken) throw new Refused(`the subscription leaves events of type ${taken.ignored.event_type} alone`);
      const one = 'given' in taken ? taken.given : taken.unknown;
      await inbox.lockSubject(tx, one);
      if ('given' in taken) await retries.queue(tx, one, delivery);
      else await retries.park(tx, one, delivery);
      await retries.promote(tx, one);
      return undefined;
    })
    .catch((error: unknown) => {
      if (error instanceof Refused) return { refused: error.message };
      throw error;
    });
}

/** Undoes the transaction. */
class Refused extends Error {}
