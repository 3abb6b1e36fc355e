// Faults of RabbitMQ and of its topology.
import { withoutBindings } from '../bindings.ts';
import type { Alarm } from '../broker.ts';
import type { Fault } from '../fault.ts';
import { during } from '../weather.ts';
import { bindingKey, exchange, serviceQueue, wireQueue } from '../wire.ts';
import { halfOpen, refused, reset, sliced, slow, toBroker } from './ways.ts';

function alarm(kind: Alarm): Fault {
  return {
    name: `${kind}-alarm`,
    what: `a ${kind} alarm for 60 s: the broker takes no messages`,
    claims: ['broker'],
    seconds: [12, 61],
    whyNot: ({ broker }) => broker.whyNoShell(),
    async run({ broker }, turn) {
      await broker.raise(kind);
      turn.say(`raised the ${kind} alarm`);
      await turn.hold(60, 11);
      await broker.clear(kind);
    },
  };
}

const bindingWords = (bound: boolean) =>
  bound ? 'the service had bound its queue again by itself' : 'the service had not bound its queue again; it was bound by hand';

export const brokerFaults: readonly Fault[] = [
  {
    name: 'broker-stopped',
    what: 'stopped for 60 s',
    claims: ['broker'],
    seconds: [18, 70],
    async run(cluster, turn) {
      await during(
        toBroker.networks(cluster),
        (network) => network.refuse(),
        async () => {
          await cluster.broker.stop();
          turn.say('stopped RabbitMQ');
          await turn.hold(60, 8);
          await cluster.broker.start();
        },
      );
    },
  },
  {
    name: 'broker-kill',
    what: 'kill -9 under publish, five times',
    claims: ['broker'],
    seconds: [40, 45],
    async run({ broker }, turn) {
      for (let times = 0; times < 5; times += 1) {
        const startedAt = performance.now();
        await broker.kill();
        turn.say('killed RabbitMQ');
        await broker.start();
        turn.say(`RabbitMQ is back after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
        await turn.hold(2, 1);
      }
    },
  },
  alarm('memory'),
  alarm('disk'),
  {
    name: 'broker-paused',
    what: 'SIGSTOP for 30 s: connections stay, and nobody answers',
    claims: ['broker'],
    seconds: [10, 31],
    whyNot: ({ broker }) => broker.whyNoShell(),
    async run({ broker }, turn) {
      await broker.pause();
      turn.say('stopped the process of RabbitMQ');
      await turn.hold(30, 9);
      broker.resume();
    },
  },
  halfOpen(toBroker, { leastSeconds: 9, fullSeconds: 30 }),
  refused(toBroker, { leastSeconds: 5, fullSeconds: 20 }),
  slow(toBroker, 200, { leastSeconds: 5, fullSeconds: 20 }),
  sliced(toBroker, { leastSeconds: 4, fullSeconds: 20 }),
  reset(toBroker, { leastSeconds: 9, fullSeconds: 30 }),
  {
    name: 'queue-deleted',
    what: "the service's queue is deleted twice with what it holds; the consumer declares it anew",
    // A quorum queue that is declared in the moment of its deletion stays without a leader on RabbitMQ 3.10: no instance may just be coming.
    claims: ['broker', 'instances'],
    seconds: [20, 24],
    async run({ vhost, instances }, turn) {
      for (let times = 0; times < 2; times += 1) {
        while ((await vhost.countConsumers(serviceQueue)) < instances.length) await turn.hold(0.2, 0.2);
        await vhost.deleteQueue(serviceQueue);
        turn.say(`deleted ${serviceQueue}`);
        // Longer than the broker's count may be old.
        await turn.hold(7, 7);
      }
    },
  },
  {
    name: 'queue-unbound',
    what: 'no queue is bound for 20 s: events cannot be routed',
    claims: ['broker'],
    seconds: [8, 21],
    async run(cluster, turn) {
      const unbind = () => cluster.vhost.unbind(exchange, serviceQueue, bindingKey);
      const bound = await withoutBindings(cluster, unbind, async () => {
        turn.say('unbound every queue');
        await turn.hold(20, 6);
      });
      turn.say(bindingWords(bound));
    },
  },
  {
    name: 'exchange-deleted',
    what: 'the exchange is deleted, and with it every binding, for 20 s',
    claims: ['broker'],
    seconds: [8, 21],
    async run(cluster, turn) {
      const remove = () => cluster.vhost.deleteExchange(exchange);
      const bound = await withoutBindings(cluster, remove, async () => {
        turn.say('deleted the exchange');
        await turn.hold(20, 6);
      });
      turn.say(bindingWords(bound));
    },
  },
  {
    name: 'exchange-remade',
    what: 'the exchange is deleted; as soon as the relay has made it again, another service binds its queue, long before any hand does',
    claims: ['broker'],
    seconds: [8, 21],
    async run({ vhost }, turn) {
      await vhost.setTracing(true);
      await vhost.deleteExchange(exchange);
      turn.say('deleted the exchange');
      while (!(await vhost.hasExchange(exchange))) await turn.hold(0.02, 0.02);
      await vhost.bind(exchange, wireQueue, bindingKey);
      turn.say('the relay has made it again, and another service has bound its queue');
      await turn.hold(20, 6);
      turn.say(bindingWords(await vhost.isBound(exchange, serviceQueue)));
      await vhost.bind(exchange, serviceQueue, bindingKey);
      await vhost.setTracing(false);
    },
  },
  {
    name: 'deliveries-100',
    what: '100 deliveries of one event at once, three times',
    claims: ['broker'],
    seconds: [4, 4],
    async run({ wire }, turn) {
      for (let times = 0; times < 3; times += 1) {
        const id = await wire.repeatLast(100);
        turn.say(`delivered event ${id} 100 times more`);
        await turn.hold(1, 1);
      }
    },
  },
  {
    name: 'both-away-at-start',
    what: 'all instances start while neither PostgreSQL nor RabbitMQ is there',
    claims: ['postgres', 'broker', 'instances'],
    seconds: [20, 30],
    async run({ instances, postgres, broker }, turn) {
      await Promise.all(instances.map((instance) => instance.terminate()));
      const all = instances.flatMap((instance) => [instance.database, instance.broker]);
      await during(
        all,
        (network) => network.refuse(),
        async () => {
          await Promise.all([postgres.stop(), broker.stop()]);
          await Promise.all(instances.map((instance) => instance.start()));
          turn.say('all instances started with neither PostgreSQL nor RabbitMQ');
          await turn.hold(15, 5);
          await Promise.all([postgres.start(), broker.start()]);
        },
      );
    },
  },
];
