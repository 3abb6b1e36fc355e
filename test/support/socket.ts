// A connection of which a test decides every byte, and sees when it ends.
import { once } from 'node:events';
import net from 'node:net';
import { patienceMs } from './database.ts';

// biome-ignore lint/suspicious/noExplicitAny: a test says by its assertions what the JSON is
export type RawAnswer = { readonly status: number; readonly headers: Headers; readonly text: string; readonly json: any };

export type Connection = Disposable & {
  write(bytes: string | Uint8Array): void;
  /** Says that nothing more will be sent; what comes is still read. */
  end(): void;
  /** Breaks the connection off. */
  reset(): void;
  /** The next answer. @param to the method that it answers */
  answer(to?: string): Promise<RawAnswer>;
  /** Settles when the other side has said that it sends nothing more. */
  readonly ended: Promise<unknown>;
  /** Settles when the connection is gone. */
  readonly closed: Promise<unknown>;
};

/** @param from another address of this machine, such as 127.0.0.2 */
export async function connect(url: string, from?: string): Promise<Connection> {
  const { hostname, port } = new URL(url);
  // Half open, so that the other side's end does not end this one by itself.
  const socket = net.connect({
    host: hostname.replace(/[[\]]/g, ''),
    port: Number(port),
    allowHalfOpen: true,
    ...(from && { localAddress: from }),
  });
  await once(socket, 'connect');
  const signal = AbortSignal.timeout(patienceMs);
  const ended = once(socket, 'end', { signal });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  // A reset is one of the ways in which a connection may go.
  socket.on('error', () => {});
  ended.catch(() => {});
  let received = Buffer.alloc(0);
  let over = false;
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
  });
  const more = () =>
    new Promise<void>((resolve) => {
      const events = ['data', 'end', 'close'];
      const settle = () => {
        for (const event of events) socket.off(event, settle);
        resolve();
      };
      for (const event of events) socket.on(event, settle);
    });
  for (const event of ['end', 'close']) socket.once(event, () => (over = true));

  async function receive(length: () => number | undefined): Promise<Buffer> {
    for (let wanted = length(); wanted === undefined || received.length < wanted; wanted = length()) {
      if (over) throw new Error(`the connection ended early, after ${JSON.stringify(received.toString())}`);
      await more();
    }
    const taken = received.subarray(0, length());
    received = received.subarray(taken.length);
    return taken;
  }

  return {
    write: (bytes) => void (socket.writable && socket.write(bytes)),
    end: () => void socket.end(),
    reset: () => void socket.resetAndDestroy(),
    async answer(to = 'GET') {
      const head = await receive(() => {
        const end = received.indexOf('\r\n\r\n');
        return end === -1 ? undefined : end + 4;
      });
      const [statusLine = '', ...lines] = head.toString('latin1').trimEnd().split('\r\n');
      const headers = new Headers(lines.map((line) => line.split(/: ?(.*)/s, 2) as [string, string]));
      const length = to === 'HEAD' ? 0 : Number(headers.get('content-length') ?? 0);
      const text = (await receive(() => length)).toString();
      const isJson = /json/.test(headers.get('content-type') ?? '');
      return { status: Number(statusLine.split(' ')[1]), headers, text, json: isJson && text !== '' ? JSON.parse(text) : undefined };
    },
    ended,
    closed,
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

/** Sends `request` on a connection of its own. @returns the first answer */
export async function send(url: string, request: string | Uint8Array, to?: string): Promise<RawAnswer> {
  using connection = await connect(url);
  connection.write(request);
  return await connection.answer(to);
}
