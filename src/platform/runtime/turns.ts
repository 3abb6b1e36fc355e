// A queue in which callers take turns: however much one of them asks for, another waits only for what is under way and for one
// task of each caller ahead. Nobody waits longer than a limit.

export type Caller = {
  /** Callers of one name share a turn. */
  readonly name: string;
  /** When the caller began to wait, by `performance.now()`. Several waits of one request have one limit. */
  readonly since: number;
  /** Whether nobody waits for the outcome any more. */
  gone(): boolean;
};

export type Refusal = 'full' | 'late' | 'gone' | 'closed';

export class TurnRefused extends Error {
  readonly why: Refusal;

  constructor(why: Refusal) {
    super(`no turn: ${why}`);
    this.name = 'TurnRefused';
    this.why = why;
  }
}

type Place = { readonly gone: () => boolean; begin(): void; refuse(why: Refusal): void };

export type Turns = {
  /**
   * Resolves when the caller's turn has come, with the function that ends it.
   * @param caller left out for work that has no limit of time
   * @throws TurnRefused
   */
  take(caller?: Caller): Promise<() => void>;
  readonly waiting: number;
  /** Refuses all who wait, and all who come. */
  close(): void;
};

export type TurnLimits = {
  readonly atOnce: number;
  readonly waitingMax: number;
  /** For a caller of whom more than `few` wait. */
  readonly waitMsMax: number;
  readonly few: number;
  /** For one of whom few wait: it is the machine that is slow then, and not the caller who asks for too much. */
  readonly waitMsMaxOfFew: number;
};

export function createTurns(limits: TurnLimits): Turns {
  /** In the order of their next turn. */
  const lines = new Map<string, Place[]>();
  let waiting = 0;
  let running = 0;
  let closed = false;

  function end(): void {
    running -= 1;
    for (const [name, line] of lines) {
      if (running === limits.atOnce) return;
      lines.delete(name);
      dropGone(line);
      const place = line.shift();
      if (place === undefined) continue;
      waiting -= 1;
      // Behind all who wait now.
      if (line.length > 0) lines.set(name, line);
      running += 1;
      place.begin();
    }
  }

  function dropGone(line: Place[]): void {
    for (const place of line.filter(({ gone }) => gone())) leave(line, place, 'gone');
  }

  function leave(line: Place[], place: Place, why: Refusal): void {
    const index = line.indexOf(place);
    if (index === -1) return;
    line.splice(index, 1);
    waiting -= 1;
    place.refuse(why);
  }

  /** @returns whether there is room for one more in `own` */
  function makeRoom(own: Place[]): boolean {
    if (waiting < limits.waitingMax) return true;
    for (const line of lines.values()) dropGone(line);
    if (waiting < limits.waitingMax) return true;
    const longest = [...lines.values()].reduce((long, line) => (line.length > long.length ? line : long), own);
    const last = longest.at(-1);
    if (last === undefined || longest.length <= own.length + 1) return false;
    leave(longest, last, 'full');
    return true;
  }

  /** @returns what ends the limit */
  function limitWait(line: Place[], place: Place, { since }: Caller): () => void {
    const after = (ms: number, act: () => void) => setTimeout(act, Math.max(0, since + ms - performance.now()));
    let timer = after(limits.waitMsMax, () => {
      if (line.length > limits.few) leave(line, place, 'late');
      else timer = after(limits.waitMsMaxOfFew, () => leave(line, place, 'late'));
    });
    return () => clearTimeout(timer);
  }

  async function take(caller?: Caller): Promise<() => void> {
    if (closed) throw new TurnRefused('closed');
    if (running < limits.atOnce) {
      running += 1;
      return end;
    }
    const name = caller?.name ?? '';
    const line = lines.get(name) ?? [];
    if (!makeRoom(line)) throw new TurnRefused('full');
    lines.set(name, line);
    waiting += 1;
    const turn = Promise.withResolvers<() => void>();
    const place = {
      gone: () => caller?.gone() ?? false,
      begin: () => turn.resolve(end),
      refuse: (why: Refusal) => turn.reject(new TurnRefused(why)),
    };
    line.push(place);
    return turn.promise.finally(caller && limitWait(line, place, caller));
  }

  return {
    take,
    get waiting() {
      return waiting;
    },
    close() {
      closed = true;
      for (const line of lines.values()) for (const place of [...line]) leave(line, place, 'closed');
      lines.clear();
    },
  };
}
