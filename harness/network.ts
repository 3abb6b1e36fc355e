// A TCP proxy that is a bad network: it refuses, resets, holds one way or both, delays and slices what passes.
import { once } from 'node:events';
import { connect, createServer, type NetConnectOpts, type Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { findPort } from './ports.ts';

export type Direction = 'toServer' | 'toClient';

export type Network = AsyncDisposable & {
  readonly port: number;
  /** New connections are refused, open ones reset. */
  refuse(): Promise<void>;
  /**
   * A black hole: connections stay open, new ones are taken, and nothing passes this way, not even a connection's end. What came
   * meanwhile passes at `heal`, as TCP would send it again, unless its sender is gone by then.
   */
  hold(...directions: Direction[]): void;
  /** Each way. */
  delay(ms: number): void;
  /** Each write arrives in pieces of at most so many bytes. */
  slice(bytesMax: number): void;
  /** Resets what is open. @returns how many connections that were */
  reset(): number;
  /** A good network again; open connections go on. */
  heal(): Promise<void>;
};

type Weather = { readonly held: Set<Direction>; delayMs: number; sliceBytesMax: number };

const heldBytesMax = 16 << 20;

/** @param target where to forward to; a `path` is a unix socket */
export async function startNetwork(target: NetConnectOpts): Promise<Network> {
  const weather: Weather = { held: new Set(), delayMs: 0, sliceBytesMax: 0 };
  const pairs = new Set<Pair>();
  const server = createServer((near) => {
    const pair = new Pair(near, connect(target), weather);
    pairs.add(pair);
    pair.ended.then(() => pairs.delete(pair));
  });
  const port = await findPort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');

  function reset(): number {
    const open = pairs.size;
    for (const pair of pairs) pair.reset();
    return open;
  }

  async function refuse(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    reset();
    await closed;
  }

  return {
    port,
    refuse,
    reset,
    hold(...directions) {
      for (const direction of directions) weather.held.add(direction);
    },
    delay(ms) {
      weather.delayMs = ms;
    },
    slice(bytesMax) {
      weather.sliceBytesMax = bytesMax;
    },
    async heal() {
      weather.held.clear();
      weather.delayMs = 0;
      weather.sliceBytesMax = 0;
      for (const pair of pairs) pair.resume();
      if (server.listening) return;
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    [Symbol.asyncDispose]: refuse,
  };
}

/** One connection: the client's socket and ours to the server. */
class Pair {
  readonly ended: Promise<unknown>;
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #flows: readonly Flow[];

  constructor(near: Socket, far: Socket, weather: Weather) {
    this.#near = near;
    this.#far = far;
    // A server that is not there resets its client, as far as that can be done for a connection that was taken.
    far.on('error', () => resetSocket(near));
    near.on('error', () => {});
    for (const socket of [near, far]) socket.setNoDelay(true);
    this.#flows = [new Flow('toServer', near, far, weather), new Flow('toClient', far, near, weather)];
    this.ended = Promise.all([near, far].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  }

  reset(): void {
    resetSocket(this.#near);
    // It may be a unix socket, which knows no reset.
    this.#far.destroy();
  }

  resume(): void {
    for (const flow of this.#flows) flow.resume();
  }
}

// libuv refuses to reset a socket that is being shut down (uv_tcp_close_reset, EINVAL), and Node 24 then never closes its handle.
function resetSocket(socket: Socket): void {
  if (socket.writableEnded || socket.destroyed) socket.destroy();
  else socket.resetAndDestroy();
}

type Chunk = { readonly bytes: Buffer; readonly dueAt: number };

/** One way of one connection. */
class Flow {
  readonly #direction: Direction;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #weather: Weather;
  #waiting: Chunk[] = [];
  #waitingBytes = 0;
  #pumping = false;
  #over = false;

  constructor(direction: Direction, from: Socket, to: Socket, weather: Weather) {
    this.#direction = direction;
    this.#from = from;
    this.#to = to;
    this.#weather = weather;
    from.on('data', (bytes) => this.#take(bytes));
    from.once('close', () => {
      this.#over = true;
      // Nobody is left who could send again what the black hole has.
      if (this.#held) this.#waiting = [];
      void this.#pump();
    });
  }

  get #held(): boolean {
    return this.#weather.held.has(this.#direction);
  }

  resume(): void {
    this.#from.resume();
    void this.#pump();
  }

  #take(bytes: Buffer): void {
    this.#waiting.push({ bytes, dueAt: performance.now() + this.#weather.delayMs });
    this.#waitingBytes += bytes.length;
    // It goes on reading while it holds, or it would not see a connection's end.
    if (this.#waitingBytes > heldBytesMax) this.#from.pause();
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let chunk = this.#waiting[0]; chunk !== undefined && !this.#held && !this.#to.destroyed; chunk = this.#waiting[0]) {
      const waitMs = chunk.dueAt - performance.now();
      if (waitMs > 0) {
        await sleep(waitMs);
        continue;
      }
      this.#waiting.shift();
      this.#waitingBytes -= chunk.bytes.length;
      await this.#write(chunk.bytes);
    }
    this.#pumping = false;
    if (this.#over && !this.#held && this.#waiting.length === 0) this.#to.destroy();
  }

  async #write(bytes: Buffer): Promise<void> {
    const piece = this.#weather.sliceBytesMax || bytes.length;
    for (let at = 0; at < bytes.length; at += piece) {
      if (this.#to.destroyed) return;
      if (!this.#to.write(bytes.subarray(at, at + piece)))
        await Promise.race([once(this.#to, 'drain'), once(this.#to, 'close')]).catch(() => {});
      if (piece < bytes.length) await nextTurn();
    }
  }
}
