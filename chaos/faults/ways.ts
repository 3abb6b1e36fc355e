// Faults of the way to a server: the server itself is well.

import type { Network } from '../../harness/network.ts';
import type { Cluster } from '../cluster.ts';
import type { Fault } from '../fault.ts';
import { during, resetEach } from '../weather.ts';

export type Way = {
  readonly server: 'postgres' | 'broker';
  /** Its name in words. */
  readonly to: string;
  networks(cluster: Cluster): readonly Network[];
};

export const toPostgres: Way = {
  server: 'postgres',
  to: 'PostgreSQL',
  networks: ({ instances }) => instances.map(({ database }) => database),
};
export const toBroker: Way = { server: 'broker', to: 'RabbitMQ', networks: ({ instances }) => instances.map(({ broker }) => broker) };

/** How long a fault is held at least, and in a full run. */
type Hold = { readonly leastSeconds: number; readonly fullSeconds: number };

const secondsOf = ({ leastSeconds, fullSeconds }: Hold) => [leastSeconds + 1, fullSeconds + 1] as const;

export function halfOpen({ server, to, networks }: Way, hold: Hold): Fault {
  return {
    name: `${server}-half-open`,
    what: `half-open for ${hold.fullSeconds} s: connections stay, and nothing passes (one way, or both)`,
    claims: [server],
    seconds: secondsOf(hold),
    async run(cluster, turn) {
      const both = turn.random.next() < 0.5;
      turn.say(`nothing passes ${both ? 'to or from' : 'from'} ${to}`);
      await during(
        networks(cluster),
        (network) => (both ? network.hold('toServer', 'toClient') : network.hold('toClient')),
        () => turn.hold(hold.fullSeconds, hold.leastSeconds),
      );
    },
  };
}

export function refused({ server, to, networks }: Way, hold: Hold): Fault {
  return {
    name: `${server}-refused`,
    what: `connections to the ${server} are refused for ${hold.fullSeconds} s, while it runs`,
    claims: [server],
    seconds: secondsOf(hold),
    async run(cluster, turn) {
      turn.say(`connections to ${to} are refused`);
      await during(
        networks(cluster),
        (network) => network.refuse(),
        () => turn.hold(hold.fullSeconds, hold.leastSeconds),
      );
    },
  };
}

export function slow({ server, to, networks }: Way, ms: number, hold: Hold): Fault {
  return {
    name: `${server}-slow-network`,
    what: `${ms} ms of latency each way, for ${hold.fullSeconds} s`,
    claims: [server],
    seconds: secondsOf(hold),
    async run(cluster, turn) {
      turn.say(`${ms} ms each way to ${to}`);
      await during(
        networks(cluster),
        (network) => network.delay(ms),
        () => turn.hold(hold.fullSeconds, hold.leastSeconds),
      );
    },
  };
}

export function sliced({ server, to, networks }: Way, hold: Hold): Fault {
  return {
    name: `${server}-sliced`,
    what: `what passes is sliced into pieces of 1 to 7 bytes, for ${hold.fullSeconds} s`,
    claims: [server],
    seconds: secondsOf(hold),
    async run(cluster, turn) {
      const bytes = turn.random.between(1, 7);
      turn.say(`slices of ${bytes} byte(s) to and from ${to}`);
      await during(
        networks(cluster),
        (network) => network.slice(bytes),
        () => turn.hold(hold.fullSeconds, hold.leastSeconds),
      );
    },
  };
}

export function reset({ server, to, networks }: Way, hold: Hold): Fault {
  return {
    name: `${server}-reset`,
    what: `every connection to ${to} is reset every 200 ms, for ${hold.fullSeconds} s`,
    claims: [server],
    seconds: secondsOf(hold),
    async run(cluster, turn) {
      const resets = await resetEach(200, networks(cluster), () => turn.hold(hold.fullSeconds, hold.leastSeconds));
      turn.say(`reset ${resets} connection(s) to ${to}`);
    },
  };
}
