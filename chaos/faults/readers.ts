// Readers of streams in numbers, of a service of their own: those who read get everything in time, those who do not are cut off, and
// neither shows in the time of others' changes.
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Aside } from '../cluster.ts';
import type { Fault, Turn } from '../fault.ts';
import { startReaders } from '../readers.ts';

const everything = ['postgres', 'broker', 'instances'] as const;
const readers = 5000;
const idlers = 2000;
/** Changes a second. */
const rate = 20;
/** Enough for a p99: of 200 times it would be the third from the top. */
const idleRate = 100;
const users = 50;
/** More than the sockets of two thousand readers take: up to 4 MiB each on one machine. */
const logEvents = 30_000;
const closedMsMax = 30_000;
const growthBytesMax = 150 << 20;
const delayMsMax = 500;
const lookMs = 500;

type Times = { readonly p50: number; readonly p99: number; readonly answers: string };

export const readerFaults: readonly Fault[] = [
  {
    name: 'readers-5000',
    what: `${readers} streams at the end of the log, and ${rate} changes a second: none is cut, each has each event within ${delayMsMax} ms`,
    claims: everything,
    alone: true,
    seconds: [30, 45],
    whyNot,
    async run(cluster, turn) {
      await using aside = await cluster.startAside();
      const changes = await createChanges(aside);
      await measure(changes, 2, turn);
      const alone = await measure(changes, 8, turn);
      await using crowd = startReaders({
        port: aside.instance.port,
        count: readers,
        path: `/events/?after=${await endOf(aside)}`,
        accept: 'text/event-stream',
        reads: true,
      });
      await crowd.ready;
      const open = await aside.instance.metric('rollcall_streams_open');
      const beside = await measure(changes, turn.quick ? 8 : 20, turn);
      // The last events are on their way.
      await sleep(2000, undefined, { signal: turn.signal });
      const { closed, fewest, most, p50, p99 } = await crowd.tally();
      turn.say(`${open} streams open; PUT p50 ${ms(alone.p50)} without them, ${ms(beside.p50)} with them; answers ${beside.answers}`);
      turn.say(`each reader got ${fewest === most ? fewest : `${fewest} to ${most}`} events, after ${p50} ms at p50 and ${p99} ms at p99`);
      if (closed > 0) turn.broken(`${closed} of ${readers} streams were cut`);
      if (fewest !== most) turn.broken(`one reader got ${fewest} events, another ${most}`);
      if (!/^200: \d+$/.test(beside.answers)) turn.broken(`changes beside the streams were answered ${beside.answers}`);
      if (p99 > delayMsMax) turn.late(`events took ${p99} ms at p99; ${delayMsMax} ms are promised on two cores`);
      if (beside.p50 > 1.5 * alone.p50) turn.late(`PUT p50 went from ${ms(alone.p50)} to ${ms(beside.p50)}, more than 1.5 times`);
    },
  },
  ...(['/events/', '/users/snapshot'] as const).map(
    (path): Fault => ({
      name: path === '/events/' ? 'readers-that-never-read' : 'snapshots-that-nobody-reads',
      what: `${idlers} connections that ask for ${path} from its start and read nothing: cut off within ${closedMsMax / 1000} s, at most 150 MiB more memory`,
      claims: everything,
      alone: true,
      seconds: [50, 60],
      whyNot,
      async run(cluster, turn) {
        await using aside = await cluster.startAside();
        const changes = await createChanges(aside);
        await (path === '/events/' ? fillLog(aside) : fillUsers(aside));
        await measure(changes, 2, turn);
        const before = (await memoryOf(aside)) ?? 0;
        let peak = before;
        let open = 0;
        const look = async () => {
          await sleep(lookMs, undefined, { signal: turn.signal });
          peak = Math.max(peak, (await memoryOf(aside)) ?? peak);
          open = (await aside.instance.metric('rollcall_streams_open')) ?? open;
        };
        // Each look costs the service some milliseconds, so both sides have them.
        const [alone] = await Promise.all([measure(changes, 10, turn, idleRate), repeat(look, 10_000 / lookMs)]);
        await using crowd = startReaders({ port: aside.instance.port, count: idlers, path, accept: 'text/event-stream', reads: false });
        await crowd.ready;
        const startedAt = performance.now();
        const measuring = measure(changes, 10, turn, idleRate);
        do await look();
        while (open > 0 && performance.now() - startedAt < 2 * closedMsMax);
        const closedMs = performance.now() - startedAt;
        const beside = await measuring;
        turn.say(
          `${open === 0 ? `all closed after ${(closedMs / 1000).toFixed(1)} s` : `${open} still open`}; memory grew by ${((peak - before) / (1 << 20)).toFixed(0)} MiB; PUT p99 ${ms(alone.p99)} without them, ${ms(beside.p99)} with them; answers ${beside.answers}`,
        );
        if (open > 0) turn.broken(`${open} readers that took nothing were not cut off`);
        if (!/^200: \d+$/.test(beside.answers)) turn.broken(`changes beside the readers were answered ${beside.answers}`);
        if (peak - before > 2 * growthBytesMax) turn.broken(`memory grew by ${((peak - before) / (1 << 20)).toFixed(0)} MiB`);
        else if (peak - before > growthBytesMax) turn.late(`memory grew by ${((peak - before) / (1 << 20)).toFixed(0)} MiB, more than 150`);
        if (closedMs > closedMsMax) turn.late(`the readers were closed after ${(closedMs / 1000).toFixed(1)} s, not within 30 s`);
        if (beside.p99 > 2 * alone.p99) turn.late(`PUT p99 went from ${ms(alone.p99)} to ${ms(beside.p99)}, more than twice`);
      },
    }),
  ),
];

async function repeat(work: () => Promise<void>, times: number): Promise<void> {
  for (let n = 0; n < times; n += 1) await work();
}

const ms = (time: number) => `${time.toFixed(1)} ms`;

async function whyNot(): Promise<string | undefined> {
  // Elsewhere than on Linux it shows in the run.
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, files] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  if (files !== undefined && Number(files) < readers + 1000) return `this process may open ${files} files only (ulimit -n)`;
  return undefined;
}

function memoryOf({ instance }: Aside): Promise<number | undefined> {
  return instance.metric('process_resident_memory_bytes');
}

async function endOf({ instance }: Aside): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${instance.port}/users/snapshot`);
  const [line = ''] = (await response.text()).split('\n');
  return JSON.parse(line).cursor;
}

/** @returns a function that makes one change and gives the status and the time of its answer */
async function createChanges({ instance, database }: Aside): Promise<() => Promise<[status: number, ms: number]>> {
  await database.query(`insert into "user" (name, surname, password) select 'Name', 'Surname', 'x' from generate_series(1, ${users})`);
  const rows = await database.query<{ id: string }>('select id from "user" order by id');
  const agent = new Agent({ keepAlive: true });
  let count = 0;
  return () => {
    count += 1;
    const body = JSON.stringify({ name: `Name ${count}` });
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    const path = `/users/${rows[count % rows.length]?.id}`;
    const startedAt = performance.now();
    return new Promise((resolve) => {
      const call = request({ agent, host: '127.0.0.1', port: instance.port, method: 'PUT', path, headers }, (response) => {
        response.resume().once('end', () => resolve([response.statusCode ?? 0, performance.now() - startedAt]));
      });
      call.once('error', () => resolve([0, performance.now() - startedAt])).end(body);
    });
  };
}

async function measure(
  change: () => Promise<[status: number, ms: number]>,
  seconds: number,
  { signal }: Turn,
  perSecond = rate,
): Promise<Times> {
  const until = performance.now() + seconds * 1000;
  const under: Promise<[status: number, ms: number]>[] = [];
  while (performance.now() < until) {
    under.push(change());
    await sleep(1000 / perSecond, undefined, { signal });
  }
  const made = await Promise.all(under);
  const times = made.map(([, time]) => time).sort((one, other) => one - other);
  const at = (share: number) => times[Math.floor(times.length * share)] ?? 0;
  const statuses = Map.groupBy(made, ([status]) => status);
  return { p50: at(0.5), p99: at(0.99), answers: [...statuses].map(([status, own]) => `${status}: ${own.length}`).join(', ') };
}

// As the relay leaves them, published long ago.
async function fillLog({ database }: Aside): Promise<void> {
  await database.query(`
    with filled as (
      insert into event (position, logged_at, event_id, event_type, subject, occurred_at, trace_id, traceparent, data)
      select n, now(), gen_random_uuid(), 'user.updated', 'user:' || n % ${users}, now(), 'filled', 'x',
        json_build_object('user_id', n % ${users}, 'version', n, 'changed', json_build_array(repeat('x', 300)))
      from generate_series(1, ${logEvents}) as n
    )
    update event_state set logged_position = ${logEvents}, logged_at = now(), published_position = ${logEvents}, published_at = now()`);
  // And handled.
  await database.query(`update subscription set position = ${logEvents}, logged_at = now()`);
}

async function fillUsers({ database }: Aside): Promise<void> {
  await database.query(
    `insert into "user" (name, surname, password) select repeat('N', 100), repeat('S', 100), 'x' from generate_series(1, ${logEvents})`,
  );
}
