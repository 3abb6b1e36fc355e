// Hints between instances, by LISTEN and NOTIFY: that there is something to look at. One may be lost, and through a pooler that hands
// sessions on none comes; whoever waits for one polls as well.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { backoffMs } from '../runtime/backoff.ts';
import { startLoop } from '../runtime/loop.ts';
import { type ConnectionSettings, connectSession, type Db } from './client.ts';

/** `rollcall_outbox`: a change was committed. `rollcall_log`: the event log has grown. */
const channels = ['rollcall_outbox', 'rollcall_log'] as const;
type Channel = (typeof channels)[number];

/** Under load one hint stands for all that is committed in this time. */
const restMs = 20;
const openMs = 60_000;

/**
 * @param sender tells the hints of this process from those of others
 * @returns sends a hint after the commit, in a transaction of its own; the first at once
 */
export function createNotifier(db: Db, channel: Channel, sender: string): () => void {
  let isResting = false;
  let isWanted = false;

  async function send(): Promise<void> {
    isResting = true;
    while (isWanted) {
      isWanted = false;
      // A hint need not survive a crash of the server, so its commit waits for no disk.
      await db.query(`select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`, [channel, sender]).catch(() => {});
      await sleep(restMs);
    }
    isResting = false;
  }

  return () => {
    isWanted = true;
    if (!isResting) void send();
  };
}

/** Calls a function for each hint of another process, and whenever some may have been missed. */
export function startListening(
  settings: ConnectionSettings,
  sender: string,
  onHint: Readonly<Record<Channel, () => void>>,
): AsyncDisposable {
  let client: pg.Client | undefined;
  let failures = 0;

  async function open(): Promise<void> {
    const session = await connectSession(settings);
    try {
      // It would hand the hints to whoever has the server's session at that moment.
      if (session.isPooled) return await session.client.end();
      await session.client.query(channels.map((channel) => `listen ${channel}`).join('; '));
    } catch (error) {
      void session.client.end().catch(() => {});
      throw error;
    }
    client = session.client;
    client.on('notification', ({ channel, payload }) => {
      if (payload !== sender) onHint[channel as Channel]();
    });
    client.on('end', () => {
      client = undefined;
      loop.wake();
    });
    for (const channel of channels) onHint[channel]();
  }

  const loop = startLoop(async () => {
    if (client !== undefined) return openMs;
    try {
      await open();
      failures = 0;
      return openMs;
    } catch {
      // That the server is away is told by those who need it.
      failures += 1;
      return backoffMs(failures, { firstMs: 250, maxMs: 5000 });
    }
  });
  return {
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]();
      // Not waited for: a server that is frozen never answers.
      void client?.end().catch(() => {});
    },
  };
}
