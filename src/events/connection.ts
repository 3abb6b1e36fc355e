// How every connection to RabbitMQ is opened: by what RABBITMQ_URL says, and so that no answer at its port can end the process.
import { Connection, type ConnectionOptions } from 'rabbitmq-client';
import { readRabbitUrl } from '../config/rabbitmq-url.ts';

/**
 * Text of another protocol reads as a frame of gigabytes, for which the client asks Node's stream. That throws where more than
 * 1 GiB above the mark is asked for, and the client lets it reach the process.
 */
const frameBytesMax = 2 ** 32;

export function openConnection(url: string, options: ConnectionOptions = {}): Connection {
  const { tls, ...address } = readRabbitUrl(url);
  // Both options are Node's, and missing in its types.
  const stream: object =
    tls === undefined ? { socket: { readableHighWaterMark: frameBytesMax } } : { tls: { ...tls, highWaterMark: frameBytesMax } };
  return new Connection({ ...address, ...stream, ...options });
}
