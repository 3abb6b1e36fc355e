// Ports for servers that tests, chaos runs and benches start. None is one from which systems choose for outgoing connections
// (Linux: from 32768, others: from 49152), so a server that is stopped for a while finds its port free again.
import { createServer, type Server } from 'node:net';

const blocks = { first: 10_000, count: 100, size: 100 };
/** RabbitMQ's management listens so far above its AMQP port (5672, 15672). */
export const managementOffset = 10_000;

let block: Promise<number> | undefined;
let given = 0;

/**
 * A port on 127.0.0.1 that nobody listens on, nor on the one `managementOffset` above it. Both are this process's own while it runs;
 * they are given again after some hundred others.
 */
export async function findPort(): Promise<number> {
  block ??= takeBlock();
  const first = await block;
  for (let tried = 1; tried < blocks.size; tried += 1) {
    given = (given % (blocks.size - 1)) + 1;
    const port = first + given;
    if ((await isFree(port)) && (await isFree(port + managementOffset))) return port;
  }
  throw new Error(`No port is free from ${first + 1} to ${first + blocks.size - 1}`);
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

async function isFree(port: number): Promise<boolean> {
  const server = await listen(port);
  if (server === undefined) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
