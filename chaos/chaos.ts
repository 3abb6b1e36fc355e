// The proof that nothing is lost, invented, done twice or out of order: `npm run chaos`. Starts its own PostgreSQL, RabbitMQ and service
// processes, loads them, injects faults by a seeded plan, and judges. Exit code 0 if everything held, 1 if not, 130 if broken off.
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { check } from './check.ts';
import { startCluster } from './cluster.ts';
import type { Fault } from './fault.ts';
import { chooseFaults, faults } from './faults.ts';
import { createRandom } from './random.ts';
import { run } from './run.ts';
import { plan, secondsOf } from './schedule.ts';
import { type Servers, startServers } from './servers.ts';
import { formatEach, formatRun, passes, type Result } from './table.ts';

const usage = `npm run chaos -- [--seed 1] [--seconds 90] [--faults all] [--each] [--quick] [--long] [--list]

  --seed       what is left to chance; the same seed gives the same faults in the same order
  --seconds    how long the load and the mixed faults go on
  --faults     some of them, by comma, or all
  --each       each fault alone, on a service of its own, instead of all mixed; those that measure come only so, or by name
  --quick      faults that last a minute last about ten seconds; so it is too in mixed runs of up to 90 seconds
  --long       an hour
  --list       the faults, and nothing else
  --instances  processes of the service (3)
  --clients    clients (8)
  --rate       requests a second, of all clients together (60)
  --logs       a folder to keep the logs of the instances in
`;

/** Load before the fault and after it: long enough in a full run to compare the time of answers with. */
const calmSeconds = { quick: 3, full: 12 };
/** Of this length on, a mixed run holds every fault for its full time. */
const fullSeconds = 540;

function readOptions() {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      seconds: { type: 'string', default: '90' },
      faults: { type: 'string', default: 'all' },
      each: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      long: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      instances: { type: 'string', default: '3' },
      clients: { type: 'string', default: '8' },
      rate: { type: 'string', default: '60' },
      logs: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const whole = (name: 'seconds' | 'instances' | 'clients' | 'rate', least: number, most: number) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < least || value > most)
      throw new TypeError(`--${name} is a whole number from ${least} to ${most}`);
    return value;
  };
  return {
    ...values,
    names: values.faults,
    faults: chooseFaults(values.faults),
    seconds: values.long ? 3600 : whole('seconds', 10, 1_000_000),
    instances: whole('instances', 2, 9),
    clients: whole('clients', 1, 200),
    rate: whole('rate', 1, 2000),
    logs: values.logs === undefined ? undefined : resolve(values.logs),
  };
}

type Options = ReturnType<typeof readOptions>;

const needsSmallDisk = ({ name }: Fault) => name === 'disk-full';
const say = (words: string) => process.stderr.write(`${words}\n`);

async function runOnce(servers: Servers, options: Options, chosen: readonly Fault[], name: string, signal: AbortSignal): Promise<Result> {
  const { seed, instances, clients, rate, logs, each, quick } = options;
  const random = createRandom(each ? `${seed}/${name}` : seed);
  const scale = quick ? 0 : each ? 1 : Math.min(1, options.seconds / fullSeconds);
  const calm = quick ? calmSeconds.quick : calmSeconds.full;
  const seconds = each ? 2 * calm + Math.max(...chosen.map((fault) => secondsOf(fault, scale))) : options.seconds;
  const movableClock = chosen.some((fault) => fault.name === 'clock-day');
  await using cluster = await startCluster(servers, { instances, clients, rate, random, movableClock, logs, say });
  const planned = each ? chosen.map((fault) => ({ fault, at: calm, turn: 1 })) : plan(chosen, seconds, scale, random.fork('plan'));
  const outcome = await run(cluster, planned, { seconds, scale, signal, say });
  return { name, outcome, verdict: check(outcome.history) };
}

async function main(signal: AbortSignal): Promise<number> {
  const options = readOptions();
  if (options.help) process.stdout.write(usage);
  if (options.list) process.stdout.write(`${faults.map(({ name, what }) => `${name.padEnd(26)} ${what}`).join('\n')}\n`);
  if (options.help || options.list) return 0;
  if (options.logs !== undefined) mkdirSync(options.logs, { recursive: true });

  const { seed, each, quick, long, names, seconds, rate, clients, instances } = options;
  const length = long ? '--long' : `--seconds ${seconds}`;
  const command = `npm run chaos -- --seed ${seed} ${each ? '--each' : length}${quick ? ' --quick' : ''} --faults ${names} --instances ${instances} --clients ${clients} --rate ${rate}`;
  say(`seed ${seed}; repeat with: ${command}`);

  const results: Result[] = [];
  // Only what fills a disk stands on a small one: that is in memory, and forgives much.
  for (const smallDisk of [false, true]) {
    const wanted = options.faults.filter((fault) => needsSmallDisk(fault) === smallDisk);
    const mixed = options.faults.filter(({ alone }) => alone !== true || options.names !== 'all');
    const runs = each ? wanted.map((fault) => [fault]) : smallDisk === options.faults.some(needsSmallDisk) ? [mixed] : [];
    if (runs.length === 0) continue;
    await using servers = await startServers({ smallDisk });
    for (const chosen of runs) {
      const name = each ? (chosen[0]?.name ?? '') : 'mixed';
      const result = await runOnce(servers, options, chosen, name, signal);
      results.push(result);
      if (each) say(`          ${name}: ${passes(result) ? 'ok' : 'FAILED'}`);
    }
  }
  const held = results.every(passes);
  const table = each ? formatEach(results) : results.map(formatRun).join('\n');
  process.stdout.write(`\n${table}\n\n${held ? 'Everything held.' : 'NOT everything held.'} Seed ${seed}; repeat with: ${command}\n`);
  return held ? 0 : 1;
}

/** npm hands on the Ctrl-C that the terminal has sent to every process already: two signals this close are one. */
const sameSignalMs = 400;
const interrupt = new AbortController();
let interruptedAt: number | undefined;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // The watchdog takes away what is left.
    if (interruptedAt !== undefined && performance.now() - interruptedAt > sameSignalMs) process.exit(130);
    if (interruptedAt === undefined) say('Broken off; taking everything down ...');
    interruptedAt ??= performance.now();
    interrupt.abort(new Error('broken off'));
  });
}

try {
  process.exitCode = await main(interrupt.signal);
} catch (error) {
  if (interrupt.signal.aborted) process.exitCode = 130;
  else {
    say(error instanceof TypeError && /^(--|Unknown option|Option)/.test(error.message) ? error.message : `${(error as Error).stack}`);
    process.exitCode = 1;
  }
}
