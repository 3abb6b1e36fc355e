// How fast the service is: one table, each figure beside a floor that was measured in the same run on the same machine.
// `npm run bench -- --help` tells the options. A figure that misses what is wanted fails nothing.
import { writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { logSettings } from '../harness/noted-plans.ts';
import { backlog } from './backlog.ts';
import { cost } from './cost.ts';
import { counting } from './counting.ts';
import { users } from './database.ts';
import { events } from './events.ts';
import { greedy } from './greedy.ts';
import { hashing } from './hashing.ts';
import { idle } from './idle.ts';
import { connections } from './load.ts';
import { eventLog } from './log.ts';
import { memory } from './memory.ts';
import { draw } from './picture.ts';
import { formatProfiles } from './profile.ts';
import { deepList, getById, list } from './reads.ts';
import { relay } from './relay.ts';
import type { Measurement } from './row.ts';
import { bySize, tables } from './sizes.ts';
import { type Stage, startStage } from './stage.ts';
import { start } from './start.ts';
import { stuckEvents } from './stuck.ts';
import { formatJson, formatTable, type Result } from './table.ts';
import { post, put, remove } from './writes.ts';

const measurements = {
  get: getById,
  list,
  deep: deepList,
  post,
  put,
  delete: remove,
  counting,
  cost,
  hashing,
  greedy,
  log: eventLog,
  events,
  relay,
  backlog,
  stuck: stuckEvents,
  idle,
  memory,
  start,
} as const satisfies Record<string, Measurement>;
const keys = Object.keys(measurements);

const usage = `npm run bench -- [--only get,post] [--users 10000,1000000 [--rows finding]] [--seconds 4] [--json] [--picture file.svg] [--plans file.txt] [--profile folder]

  --only      some of: ${keys.join(', ')}
  --users     instead: the same reads at these numbers of users, side by side; 10,000,000 take 10 GB of disk
  --rows      with --users: paging (pages, events, snapshots) or finding (sorts, filters, searches)
  --seconds   measured time for each side of a row, from 1 to 60
  --json      every round's figures, for a program
  --picture   with --users: where to draw them
  --plans     with --users: where to write the plan of each statement
  --profile   new folder for CPU profiles of the service, which are summed up at the end; the figures then include the profiler
`;

class UsageError extends Error {}

/** @throws UsageError */
function readOptions() {
  const { values } = parse();
  const only = values.only.split(',');
  const seconds = Number(values.seconds);
  const sizes = values.users
    ?.split(',')
    .map(Number)
    .toSorted((a, b) => a - b);
  if (sizes?.some((size) => !(Number.isInteger(size) && size >= 1000 && size <= 100_000_000 && size % 1000 === 0)))
    throw new UsageError('--users is numbers by comma, whole thousands from 1000 to 100000000');
  const unknown = only.filter((key) => !keys.includes(key));
  if (unknown.length > 0) throw new UsageError(`--only does not know ${unknown.join(', ')}`);
  if (!(seconds >= 1 && seconds <= 60)) throw new UsageError('--seconds is a number from 1 to 60');
  if (!isTable(values.rows)) throw new UsageError(`--rows is one of ${Object.keys(tables).join(', ')}`);
  for (const name of ['picture', 'plans'] as const)
    if (values[name] !== undefined && sizes === undefined) throw new UsageError(`--${name} needs --users`);
  return {
    ...values,
    rows: values.rows,
    only,
    sizes,
    seconds,
    profileFolder: values.profile === undefined ? undefined : resolve(values.profile),
  };
}

const isTable = (name: string): name is keyof typeof tables => name in tables;

function parse() {
  const options = {
    only: { type: 'string', default: keys.join(',') },
    users: { type: 'string' },
    rows: { type: 'string', default: 'paging' },
    seconds: { type: 'string', default: '4' },
    json: { type: 'boolean', default: false },
    picture: { type: 'string' },
    plans: { type: 'string' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  } as const;
  try {
    return parseArgs({ options });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function measure(key: string, measurement: Measurement, stage: Stage): Promise<Result> {
  const startedAt = performance.now();
  process.stderr.write(`${key} ... `);
  try {
    return { key, measurement, rows: await measurement.measure(stage) };
  } catch (error) {
    stage.signal.throwIfAborted();
    process.exitCode = 1;
    return { key, measurement, rows: [], failure: (error as Error).message };
  } finally {
    process.stderr.write(`${((performance.now() - startedAt) / 1000).toFixed(0)} s\n`);
  }
}

async function main(signal: AbortSignal): Promise<void> {
  const { help, only, sizes, rows, json, picture, plans, ...options } = readOptions();
  if (help) return void process.stdout.write(usage);
  await using stage = await startStage({ ...options, signal, ...(plans !== undefined && { settings: logSettings }) });
  const [busy = 0] = loadavg();
  const results: Result[] = [];
  const onPlans = plans === undefined ? undefined : (text: string) => writeFileSync(plans, text);
  if (sizes !== undefined) results.push(await measure('sizes', bySize(sizes, rows, onPlans), stage));
  else
    for (const [key, measurement] of Object.entries(measurements))
      if (only.includes(key)) results.push(await measure(key, measurement, stage));

  const environment = {
    node: process.version,
    cores: availableParallelism(),
    loadBefore: busy,
    postgres: stage.postgresVersion,
    users: sizes ?? users,
    connections,
  };
  if (picture !== undefined) writeFileSync(picture, draw(results.flatMap(({ rows }) => rows)));
  if (json) console.log(formatJson(environment, results));
  else {
    const facts = `Node ${environment.node}, PostgreSQL ${environment.postgres}, ${environment.cores} cores (load average before: ${busy.toFixed(1)}), ${(sizes ?? [users]).join(', ')} users, ${connections} connections`;
    console.log(`${facts}\n\n${formatTable(results)}`);
    if (options.profileFolder !== undefined) console.log(`\nCPU of the service, by place:\n${formatProfiles(options.profileFolder)}`);
  }
}

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));

try {
  await main(stopping.signal);
} catch (error) {
  if (stopping.signal.aborted) process.stderr.write('stopped\n');
  else console.error(error instanceof UsageError ? `${error.message}\n\n${usage}` : error);
  process.exitCode = stopping.signal.aborted ? 130 : 1;
}
