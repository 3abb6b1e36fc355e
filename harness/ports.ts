// Ports for servers that tests, chaos runs and benches start. None is one from which systems choose for outgoing connections
// (Linux: from 32768, others: from 49152), so a server that is stopped for a while finds its port free again.
import { createServer, type Server } from 'node:net';

const blocks = { first: 20_000, count: 120, size: 100 };

let block: Promise<number> | undefined;
let given = 0;

/** A port on 127.0.0.1 that nobody listens on. No other process is given it while this one runs. */
export async function findPort(): Promise<number> {
  block ??= takeBlock();
  const first = await block;
  for (let tried = 0; tried < blocks.size; tried += 1) {
    given = (given % (blocks.size - 1)) + 1;
    const server = await listen(first + given);
    if (server === undefined) continue;
    await new Promise((resolve) => server.close(resolve));
    return first + given;
  }
  throw new Error(`No port is free from ${first} to ${first + blocks.size - 1}`);
}

/** A process that holds the first port of a block has the others of it. */
async function takeBlock(): Promise<number> {
  for (let n = 0; n < blocks.count; n += 1) {
    const first = blocks.first + ((process.pid + n) % blocks.count) * blocks.size;
    const server = await listen(first);
    if (server === undefined) continue;
    server.unref();
    return first;
  }
  throw new Error(`No block of ports is free from ${blocks.first} to ${blocks.first + blocks.count * blocks.size - 1}`);
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
