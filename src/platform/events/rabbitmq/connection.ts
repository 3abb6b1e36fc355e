// How every connection to RabbitMQ is opened: by what RABBITMQ_URL says, and so that no answer at its port can end the process.
import { Connection, type ConnectionOptions } from 'rabbitmq-client';
import type { RabbitAddress } from './url.ts';

/**
 * Text of another protocol reads as a frame of gigabytes, for which the client asks Node's stream. That throws where more than
 * 1 GiB above the mark is asked for, and the client lets it reach the process.
 */
const frameBytesMax = 2 ** 32;

export function openConnection({ tls, ...address }: RabbitAddress, options: ConnectionOptions = {}): Connection {
  // Both options are Node's, and missing in its types.
  const stream: object =
    tls === undefined ? { socket: { readableHighWaterMark: frameBytesMax } } : { tls: { ...tls, highWaterMark: frameBytesMax } };
  return new Connection({ ...address, ...stream, ...options });
}

/** The client tells only the first of a series of failures, and RabbitMQ that comes back may refuse what it took before. */
const probeMs = 5000;

export type Probe = Disposable & { start(): void; stop(): void };

/** Between start and stop a connection apart is tried every 5 s, and `onError` gets how it fails. */
export function createProbe(address: RabbitAddress, options: ConnectionOptions, onError: (error: unknown) => void): Probe {
  let timer: NodeJS.Timeout | undefined;
  let connection: Connection | undefined;
  let ended = false;

  function end(): void {
    if (connection?.ready) void connection.close();
    else connection?.unsafeDestroy();
    connection = undefined;
  }
  function attempt(): void {
    end();
    connection = openConnection(address, options);
    connection.on('error', (error) => {
      end();
      onError(error);
    });
    connection.on('connection', end);
  }
  function stop(): void {
    clearInterval(timer);
    timer = undefined;
    end();
  }

  return {
    start() {
      if (!ended) timer ??= setInterval(attempt, probeMs).unref();
    },
    stop,
    [Symbol.dispose]() {
      ended = true;
      stop();
    },
  };
}
