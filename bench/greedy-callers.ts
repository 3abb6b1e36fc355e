// Callers who send the same body again and again, on a thread of their own so that they hold up the service alone: each
// connection sends the next when it has an answer, and is made anew where it was closed.
import net from 'node:net';
import { workerData } from 'node:worker_threads';

const { hostname, port, connections, request } = workerData as {
  hostname: string;
  port: string;
  connections: number;
  request: Uint8Array;
};

function open(): void {
  const socket = net.connect(Number(port), hostname);
  const send = () => socket.write(request);
  socket.on('connect', send);
  socket.on('data', send);
  socket.on('error', () => {});
  socket.on('close', open);
}

for (let n = 0; n < connections; n += 1) open();
