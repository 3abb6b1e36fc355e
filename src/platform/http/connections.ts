// How many connections there may be, in all and of one client, so that no client shuts out the others: what is more is closed as
// it comes, and the log says so.
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Logger } from '../telemetry/logger.ts';
import { clientNetwork } from './client-address.ts';
import type { HttpMetrics } from './metrics.ts';

const linesMs = 60_000;
/** In that time, one for each client. */
const linesMax = 20;

type Limits = {
  readonly max: number;
  readonly perAddressMax: number;
  /** Whether others stand behind the address, who are not to be counted as one. */
  readonly isProxy: (address: string) => boolean;
};

export function addConnections(app: FastifyInstance, { max, perAddressMax, isProxy }: Limits, log: Logger, metrics: HttpMetrics): void {
  const openOf = new Map<string, number>();
  let open = 0;
  const told = new Set<string>();
  let toldSince = 0;

  function tell(client: string, event: string, fields: object): void {
    const now = performance.now();
    if (now - toldSince > linesMs) {
      told.clear();
      toldSince = now;
    }
    if (told.has(client) || told.size === linesMax) return;
    told.add(client);
    log.warn(fields, event);
  }

  function change(by: 1 | -1, client: string | undefined): void {
    open += by;
    metrics.connections.open = open;
    if (client === undefined) return;
    const ofClient = (openOf.get(client) ?? 0) + by;
    if (ofClient === 0) openOf.delete(client);
    else openOf.set(client, ofClient);
  }

  app.server.on('connection', (socket: Socket) => {
    const { remoteAddress } = socket;
    // Its caller is gone already.
    if (remoteAddress === undefined) return socket.destroy();
    const client = isProxy(remoteAddress) ? undefined : clientNetwork(remoteAddress);
    if (open >= max) {
      tell('', 'Too many connections; more are closed as they come', { limit: max });
      return socket.destroy();
    }
    if (client !== undefined && (openOf.get(client) ?? 0) >= perAddressMax) {
      tell(client, 'Too many connections of one address; more are closed as they come', { address: client, limit: perAddressMax });
      return socket.destroy();
    }
    change(1, client);
    socket.once('close', () => change(-1, client));
  });
}
