// What a run stands on and what several runs may share: a folder, PostgreSQL and RabbitMQ. All of it is gone at the end.
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Watchdog, watchFolder } from '../harness/watchdog.ts';
import { type Broker, startBroker } from './broker.ts';
import { type Postgres, startPostgres } from './postgres.ts';

export type Servers = AsyncDisposable & { readonly postgres: Postgres; readonly broker: Broker; readonly watchdog: Watchdog };

/** @param smallDisk whether PostgreSQL's disk shall be one that can be filled */
export async function startServers(options: { smallDisk: boolean }): Promise<Servers> {
  await using starting = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-chaos-'));
  const watchdog = starting.use(watchFolder(folder));
  // PostgreSQL refuses root, so a server that root starts runs as somebody else, who has to get in.
  await chmod(folder, 0o711);
  const [postgres, broker] = await Promise.allSettled([startPostgres(folder, watchdog, options.smallDisk), startBroker(folder)]);
  for (const started of [postgres, broker]) if (started.status === 'fulfilled') starting.use(started.value);
  if (postgres.status === 'rejected') throw postgres.reason;
  if (broker.status === 'rejected') throw broker.reason;
  const running = starting.move();
  return {
    postgres: postgres.value,
    broker: broker.value,
    watchdog,
    async [Symbol.asyncDispose]() {
      // A server that is paused cannot stop.
      broker.value.resume();
      await running.disposeAsync();
    },
  };
}
