// A TCP proxy in front of a server, to take it away and bring it back: what a network does to a service.

import { once } from 'node:events';
import { connect, createServer, type NetConnectOpts, type Socket } from 'node:net';
import { findPort } from '../../harness/ports.ts';

export type Proxy = AsyncDisposable & {
  readonly port: number;
  /** Connections are refused, and those that are open are cut. */
  cut(): Promise<void>;
  restore(): Promise<void>;
  /** Connections stay open, and nothing passes any more, in either direction, those made from now on included. */
  freeze(): void;
  thaw(): void;
};

/** @param target where to forward to; a `path` is a unix socket */
export async function startProxy(target: NetConnectOpts): Promise<Proxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let frozen = false;

  const server = createServer((near) => {
    const far = connect(target);
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on('data', (chunk) => to.write(chunk));
      from.on('error', () => {});
      from.on('close', () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
    if (frozen) for (const socket of pair) socket.pause();
  });
  const port = await findPort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');

  async function cut(): Promise<void> {
    if (server.listening) {
      const closed = once(server, 'close');
      server.close();
      for (const socket of [...pairs].flat()) socket.destroy();
      await closed;
    }
  }

  return {
    port,
    cut,
    async restore() {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    freeze() {
      frozen = true;
      for (const socket of [...pairs].flat()) socket.pause();
    },
    thaw() {
      frozen = false;
      for (const socket of [...pairs].flat()) socket.resume();
    },
    [Symbol.asyncDispose]: cut,
  };
}

/** In front of the PostgreSQL server of the tests; `url` leads through it to the database that `databaseUrl` names. */
export async function startDatabaseProxy(databaseUrl: string): Promise<Proxy & { readonly url: string }> {
  const { searchParams, port, username, pathname } = new URL(databaseUrl);
  const proxy = await startProxy({ path: `${searchParams.get('host')}/.s.PGSQL.${port}` });
  return { ...proxy, url: `postgresql://${username}@127.0.0.1:${proxy.port}${pathname}?sslmode=disable` };
}
