// A reader of a stream that a test makes read, or not: it takes from its socket only what is asked for.
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

export type Frame = { readonly id: string; readonly event: string; readonly data: string; readonly comment: string };

export type Reader = Disposable & {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The next frame, comments included; undefined at the end of the stream, however it came. */
  next(): Promise<Frame | undefined>;
  /** The next frame that is no comment. */
  nextEvent(): Promise<Frame | undefined>;
  /** How the stream ended, for one that is not read. */
  readonly closed: Promise<'ended' | 'cut off'>;
};

/** Resolves with the head of the answer; nothing after it is read before it is asked for. */
export async function openStream(url: string, path = '/events/', headers: Record<string, string> = {}): Promise<Reader> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const call = request(`${url}${path}`, { agent: false, headers: { accept: 'text/event-stream', ...headers } }, resolve);
  call.once('error', reject).end();
  const response = await promise;
  response.setEncoding('utf8');
  const closed = new Promise<'ended' | 'cut off'>((done) => response.once('close', () => done(response.complete ? 'ended' : 'cut off')));
  response.on('error', () => {});
  const chunks = response[Symbol.asyncIterator]();
  let rest = '';

  async function next(): Promise<Frame | undefined> {
    for (;;) {
      const end = rest.indexOf('\n\n');
      if (end !== -1) {
        const lines = rest.slice(0, end).split('\n');
        rest = rest.slice(end + 2);
        const field = (name: string) =>
          lines
            .find((line) => line.startsWith(`${name}:`))
            ?.slice(name.length + 1)
            .trimStart() ?? '';
        return { id: field('id'), event: field('event'), data: field('data'), comment: field('') };
      }
      const chunk = await chunks.next().catch(() => ({ done: true as const, value: undefined }));
      if (chunk.done) return undefined;
      rest += chunk.value;
    }
  }

  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    next,
    async nextEvent() {
      for (;;) {
        const frame = await next();
        if (frame === undefined || frame.event !== '') return frame;
      }
    },
    closed,
    [Symbol.dispose]: () => void call.destroy(),
  };
}
