// Prepared statements: a text that comes again is planned once a connection, and not for each request. Its name is made of the text,
// so that wherever a session comes from, a name means one text. What goes wrong with that never reaches a caller.
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { codeOf, isFromServer } from './sqlstate.ts';

/** Of all connections of a pool; further texts are planned each time. On the server each takes some kilobytes a connection. */
const namesMax = 200;
const onceMax = 1000;
// PostgreSQL prepares these; what controls a transaction, or is several statements, it does not.
const preparable = /^\s*(select|with|insert|update|delete|\()/i;

// What a prepared statement may fail with where the same text, sent afresh, does not (PostgreSQL manual, appendix A). Nothing of it has
// run then. Its result or its tables have other types since a migration:
const outdated = /^(0A000|42...)$/;
// Something between hands sessions on, and so the name is unknown, taken, or of other parameters:
const lost = /^(26000|42P05|08P01)$/;

/** What sends a statement, on a connection or on any of a pool. */
export type Send = <Row>(on: Pick<pg.ClientBase, 'query'>, text: string, values: readonly unknown[] | undefined) => Promise<Row[]>;

export type Statements = {
  /**
   * Runs `work`, which sends its statements by `send` and stops at the first that fails. Where that may be for a statement that was
   * prepared before, `work` runs again, and sends each as it is.
   */
  run<Result>(work: (send: Send) => Promise<Result>): Promise<Result>;
};

/**
 * @param isPooled whether something between this process and the server hands sessions on
 * @param onUnprepared called when that has lost a statement: nothing is prepared from then on
 */
export function createStatements(isPooled: () => boolean, onUnprepared: () => void): Statements {
  /** Undefined for a text that is not to be prepared again. */
  const names = new Map<string, string | undefined>();
  /** So that texts of which each is made for one use take no place. */
  const once = new Set<string>();
  let isOff = false;

  function nameOf(text: string): string | undefined {
    if (isOff) return undefined;
    if (names.has(text) || names.size === namesMax || !preparable.test(text)) return names.get(text);
    if (once.delete(text)) {
      names.set(text, `rollcall_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`);
      return names.get(text);
    }
    if (once.size === onceMax) once.clear();
    once.add(text);
    return undefined;
  }

  // A connection of our own was closed, and the next one prepares anew. A pooler hands on the same sessions again.
  function giveUp({ text, error }: Suspect): void {
    if (!isPooled() || isOff) return;
    names.set(text, undefined);
    if (!lost.test(codeOf(error) ?? '')) return;
    isOff = true;
    onUnprepared();
  }

  return {
    async run(work) {
      let suspect: Suspect | undefined;
      try {
        return await work(async (on, text, values) => {
          const name = nameOf(text);
          // What came before it was borne: if something fails now, it is not that.
          suspect = undefined;
          if (name === undefined) return sendAsItIs(on, text, values);
          try {
            return (await on.query({ name, text, values: values as unknown[] })).rows;
          } catch (error) {
            if (mayBeOfPreparation(error)) suspect = { text, error };
            throw error;
          }
        });
      } catch (error) {
        if (suspect === undefined) throw error;
      }
      const result = await work(sendAsItIs);
      giveUp(suspect);
      return result;
    },
  };
}

type Suspect = { readonly text: string; readonly error: unknown };

/** Of several statements in one text, the rows of the last. */
const sendAsItIs: Send = async (on, text, values) => {
  const results = (await on.query(text, values as unknown[])) as pg.QueryResult | pg.QueryResult[];
  return (Array.isArray(results) ? results.at(-1) : results)?.rows ?? [];
};

/** Whether a statement that was sent under a name may succeed without one. */
export function mayBeOfPreparation(error: unknown): boolean {
  const code = codeOf(error) ?? '';
  return isFromServer(error) && (outdated.test(code) || lost.test(code));
}
