// Faults of the service's own processes: killed at the worst moments, stopped, woken, told to go, left without a log or with a wrong clock.
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { withoutBindings } from '../bindings.ts';
import type { Cluster } from '../cluster.ts';
import type { Fault, Turn } from '../fault.ts';
import type { Instance } from '../instance.ts';
import { during } from '../weather.ts';
import { bindingKey, exchange, serviceQueue } from '../wire.ts';

const everything = ['postgres', 'broker', 'instances'] as const;
const takeoverMsMax = 20_000;
const stopMsMax = 10_000;
const dayMs = 86_400_000;
/** For what is kept of a log that nobody reads, with what the requests themselves leave to the collector. */
const memoryMibMax = 150;

/** Resolves while the instance has changes that it has not answered. @returns how many */
async function untilBusy(instance: Instance, { load }: Cluster, { signal }: Turn): Promise<number> {
  while (load.underWay(instance) === 0) {
    signal.throwIfAborted();
    await nextTurn();
  }
  return load.underWay(instance);
}

/** SIGTERM and a new start, as a deployment does. */
async function restart(instance: Instance, turn: Turn): Promise<void> {
  const startedAt = performance.now();
  const how = await instance.terminate();
  const seconds = (performance.now() - startedAt) / 1000;
  if (how !== 0) turn.broken(`${instance.name} ended with ${how} on SIGTERM, not with 0`);
  if (seconds * 1000 > stopMsMax) turn.late(`${instance.name} took ${seconds.toFixed(1)} s to end, more than ${stopMsMax / 1000} s`);
  await instance.start();
}

/** @returns a function that tells how many events were published again since */
function countAgain({ wire }: Cluster): () => number {
  const from = wire.deliveries.length;
  const seen = new Set(wire.deliveries.map(({ eventId }) => eventId));
  return () => wire.deliveries.slice(from).filter(({ eventId }) => seen.has(eventId) || !seen.add(eventId)).length;
}

/** Holds back the broker's confirms until a relay waits for them with the outbox locked, then does the worst to it. */
async function catchRelay(cluster: Cluster, turn: Turn, strike: (relay: Instance) => Promise<void>): Promise<Instance> {
  const networks = cluster.instances.map(({ broker }) => broker);
  let relay: Instance | undefined;
  await during(
    networks,
    (network) => network.hold('toClient'),
    async () => {
      await turn.hold(0.5, 0.5);
      relay = await cluster.findRelay(turn.signal);
      await strike(relay);
    },
  );
  return relay as unknown as Instance;
}

export const processFaults: readonly Fault[] = [
  {
    name: 'api-kill',
    what: 'kill -9 of an instance while it has changes that it has not answered, three times',
    claims: ['instances'],
    seconds: [6, 6],
    async run(cluster, turn) {
      for (let times = 0; times < 3; times += 1) {
        const instance = turn.random.pick(cluster.instances);
        const busy = await untilBusy(instance, cluster, turn);
        // Anywhere between the arrival of the request and its answer.
        await sleep(turn.random.between(0, 4), undefined, { signal: turn.signal });
        await instance.kill();
        turn.say(`killed ${instance.name} with ${busy} change(s) under way`);
        await turn.hold(1, 1);
        await instance.start();
      }
    },
  },
  {
    name: 'relay-kill-unconfirmed',
    what: 'kill -9 of the active relay before the confirms of what it published arrive',
    claims: everything,
    seconds: [4, 4],
    async run(cluster, turn) {
      const again = countAgain(cluster);
      const victim = await catchRelay(cluster, turn, async (relay) => {
        await relay.kill();
        turn.say(`killed ${relay.name}, which waited for confirms`);
      });
      await turn.hold(2, 2);
      await victim.start();
      turn.say(`${again()} event(s) were published again`);
    },
  },
  {
    name: 'relay-kill-confirmed',
    what: 'kill -9 of the active relay after the confirms, before it could remove the events from the outbox',
    claims: everything,
    seconds: [4, 4],
    async run(cluster, turn) {
      const networks = cluster.instances.map(({ broker }) => broker);
      // From outside it shows only afterwards whether a relay was caught between the two.
      for (let again = 0, times = 1; again === 0 && times <= 5; times += 1) {
        const count = countAgain(cluster);
        let victim: Instance | undefined;
        // Slow confirms, so that a relay is nearly always in the middle of a batch.
        await during(
          networks,
          (network) => network.delay(100),
          async () => {
            await turn.hold(0.5, 0.5);
            victim = await cluster.findRelay(turn.signal);
            victim.database.hold('toServer');
            await turn.hold(0.7, 0.7);
            await victim.kill();
            await victim.database.heal();
          },
        );
        await turn.hold(1, 1);
        await victim?.start();
        again = count();
        turn.say(`killed ${victim?.name}, whose removal never reached PostgreSQL; ${again} event(s) were published again`);
      }
    },
  },
  {
    name: 'relay-stopped',
    what: 'SIGSTOP of the active relay in the middle of a batch while others stand by; woken after another took over',
    claims: everything,
    seconds: [22, 25],
    async run(cluster, turn) {
      const { wire, now } = cluster;
      let stoppedAt = 0;
      const stopped = await catchRelay(cluster, turn, async (relay) => {
        relay.pause();
        stoppedAt = now();
        turn.say(`stopped ${relay.name}, which holds the lock of the outbox`);
      });
      const late = AbortSignal.any([turn.signal, AbortSignal.timeout(2 * takeoverMsMax)]);
      const first = await wire.next(({ appId }) => appId !== stopped.name, late).catch(() => undefined);
      turn.signal.throwIfAborted();
      const ms = now() - stoppedAt;
      const words = `${first?.appId ?? 'nobody'} took over after ${(ms / 1000).toFixed(1)} s`;
      turn.say(words);
      if (first === undefined) turn.broken(words);
      else if (ms > takeoverMsMax) turn.late(`${words}; ${takeoverMsMax / 1000} s are promised`);
      await turn.hold(2, 2);
      stopped.resume();
      turn.say(`woke ${stopped.name}`);
      await turn.hold(2, 2);
    },
  },
  {
    name: 'consumer-kill-uncommitted',
    what: 'kill -9 of the active consumer before the commits of what it handles',
    claims: everything,
    seconds: [4, 4],
    async run(cluster, turn) {
      const victim = await cluster.findConsumer(turn.signal);
      await during(
        [victim.database],
        (network) => network.hold('toServer'),
        async () => {
          await turn.hold(0.5, 0.5);
          await victim.kill();
          turn.say(`killed ${victim.name}, whose commits never reached PostgreSQL`);
        },
      );
      await turn.hold(2, 2);
      await victim.start();
    },
  },
  {
    name: 'consumer-kill-committed',
    what: 'kill -9 of the active consumer after its commits, before its acknowledgements reach the broker',
    claims: everything,
    seconds: [4, 4],
    async run(cluster, turn) {
      const victim = await cluster.findConsumer(turn.signal);
      const handled = async () => (await victim.metric('rollcall_events_handled_total')) ?? 0;
      const before = await handled();
      await during(
        [victim.broker],
        (network) => network.hold('toServer'),
        async () => {
          await turn.hold(0.5, 0.5);
          const commits = (await handled()) - before;
          await victim.kill();
          turn.say(`killed ${victim.name} with ${commits} commit(s) that the broker does not know of`);
        },
      );
      await turn.hold(2, 2);
      await victim.start();
    },
  },
  {
    name: 'consumer-stopped',
    what: 'SIGSTOP of the active consumer until the broker has given its events to another; then it is woken',
    claims: everything,
    seconds: [33, 33],
    async run(cluster, turn) {
      const stopped = await cluster.findConsumer(turn.signal);
      stopped.pause();
      const startedAt = performance.now();
      turn.say(`stopped ${stopped.name}, which handles the events`);
      const successor = await cluster.findConsumer(turn.signal);
      turn.say(`${successor.name} took over after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
      await turn.hold(1, 1);
      stopped.resume();
      turn.say(`woke ${stopped.name}`);
      await turn.hold(2, 2);
    },
  },
  {
    name: 'rolling-restart',
    what: 'the instances are restarted one by one under load',
    claims: ['instances'],
    seconds: [8, 9],
    async run({ instances }, turn) {
      for (const instance of turn.random.shuffle(instances)) {
        await restart(instance, turn);
        turn.say(`restarted ${instance.name}`);
        await turn.hold(1, 0.5);
      }
    },
  },
  {
    name: 'sigterm-under-load',
    what: 'SIGTERM under 200 requests a second: no accepted request fails, exit code 0',
    claims: ['instances'],
    seconds: [5, 5],
    async run({ load, instances }, turn) {
      const usual = load.rate;
      load.rate = Math.max(usual, 200);
      await turn.hold(1, 1);
      const instance = turn.random.pick(instances);
      const from = load.attempts.length;
      await restart(instance, turn);
      load.rate = usual;
      const own = load.attempts.slice(from).filter((attempt) => attempt.instance === instance.name);
      const unanswered = own.filter(({ answer }) => !/^\d{3}/.test(answer));
      // One that met the end of a kept connection half-way was never read, and its client may send it again (RFC 9112, section 9.3.1).
      const dropped = unanswered.filter(({ id }) => instance.said(`"trace_id":"${id}"`));
      turn.say(
        `${instance.name} ended and is back; of ${own.length} requests of that time ${unanswered.length} got no answer, ${dropped.length} of them after they were taken`,
      );
      for (const { answer, id } of dropped.slice(0, 3)) turn.broken(`${instance.name} took ${id} and ended it with ${answer}`);
      await turn.hold(1, 1);
    },
  },
  {
    name: 'stdout-closed',
    what: 'whoever reads the log of an instance goes away',
    claims: ['instances'],
    seconds: [6, 6],
    async run({ instances }, turn) {
      const instance = turn.random.pick(instances);
      instance.closeStdout();
      turn.say(`closed the stdout of ${instance.name}`);
      await turn.hold(4, 4);
      await restart(instance, turn);
    },
  },
  {
    name: 'stdout-unread',
    what: 'whoever reads the log of an instance stops and keeps the pipe open, until lines are dropped; then SIGTERM',
    claims: ['instances'],
    seconds: [12, 12],
    async run({ instances }, turn) {
      const instance = turn.random.pick(instances);
      const memory = async () => ((await instance.metric('process_resident_memory_bytes')) ?? 0) / 2 ** 20;
      const dropped = async () => (await instance.metric('rollcall_log_lines_dropped_total')) ?? 0;
      const before = await memory();
      instance.pauseStdout();
      turn.say(`stopped reading the stdout of ${instance.name}`);
      for (let batches = 0; batches < 200 && (await dropped()) === 0; batches += 1) {
        turn.signal.throwIfAborted();
        await instance.fillLog(50);
      }
      const lines = await dropped();
      for (let batches = 0; batches < 20; batches += 1) await instance.fillLog(50);
      const grown = (await memory()) - before;
      turn.say(`${instance.name} dropped ${lines} line(s) and more, and grew by ${grown.toFixed(0)} MiB`);
      if (lines === 0) turn.broken(`${instance.name} kept every line for nobody`);
      if (grown > memoryMibMax) turn.broken(`${instance.name} grew by ${grown.toFixed(0)} MiB, more than ${memoryMibMax}`);
      await restart(instance, turn);
    },
  },
  {
    name: 'clock-day',
    what: "one instance a day ahead, one a day behind; then PostgreSQL's now() a day ahead while nothing is routed, a day behind, and right again",
    claims: everything,
    seconds: [14, 18],
    whyNot: async ({ movableClock }) => (movableClock ? undefined : 'the clock of SQL was not made movable at the start'),
    async run(cluster, turn) {
      const { instances, database, vhost } = cluster;
      const [ahead, behind] = turn.random.shuffle(instances) as [Instance, Instance];
      await restartWithClock(ahead, dayMs);
      await restartWithClock(behind, -dayMs);
      turn.say(`${ahead.name} is a day ahead, ${behind.name} a day behind`);
      await turn.hold(3, 2);
      const move = async (shift: string, words: string) => {
        await database.query('update chaos.clock set shift = $1', [shift]);
        turn.say(`now() of PostgreSQL is ${words}`);
        await turn.hold(3, 2);
      };
      await move('1 day', 'a day ahead');
      // What is put off now must not wait for a day when the clock is right again.
      await withoutBindings(
        cluster,
        () => vhost.unbind(exchange, serviceQueue, bindingKey),
        () => turn.hold(1, 1),
      );
      await move('-1 day', 'a day behind');
      await move('0', 'right again');
      for (const instance of [ahead, behind]) await restart(instance, turn);
    },
  },
];

// Moves Date in the process and in its threads. Timers run on the monotonic clock, which no change of date moves.
async function restartWithClock(instance: Instance, shiftMs: number): Promise<void> {
  const module = `const D = Date, now = D.now; globalThis.Date = new Proxy(D, {
    construct: (d, a, n) => Reflect.construct(d, a.length ? a : [now() + ${shiftMs}], n),
    apply: () => new D(now() + ${shiftMs}).toString(),
    get: (d, k, r) => k === 'now' ? () => now() + ${shiftMs} : Reflect.get(d, k, r) });`;
  await instance.terminate();
  await instance.start({ NODE_OPTIONS: `--import=data:text/javascript;base64,${Buffer.from(module).toString('base64')}` });
}
