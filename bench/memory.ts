// What a process takes.
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { load, type Request } from './load.ts';
import { create, operations, someReads } from './operations.ts';
import { floorDatabase } from './reads.ts';
import type { Measurement } from './row.ts';

const idleSeconds = 1;

export const memory: Measurement = {
  definition:
    'Resident memory of the process, without PostgreSQL: a second after its first answer, and right after GETs, PUTs and POSTs on 32 connections. Floor: the Fastify server of the GET row, after the same GETs.',
  async measure(stage) {
    await using database = await stage.cloneDatabase('users');
    await using service = await stage.startService({ DATABASE_URL: database.url });
    await using floor = await stage.startFloorServer(await floorDatabase(database));
    let n = 0;
    const loads: (readonly Request[] | (() => Request))[] = [someReads, () => operations.update.request(++n), [create]];

    await sleep(idleSeconds * 1000, undefined, { signal: stage.signal });
    const idle = { measured: [await residentMib(service.pid)], floor: [await residentMib(floor.pid)] };
    await load(stage, floor.url, someReads);
    const floorAfter = await residentMib(floor.pid);
    for (const requests of loads) await load({ ...stage, seconds: stage.seconds / 2 }, service.url, requests);
    const after = { measured: [await residentMib(service.pid)], floor: [floorAfter] };
    return [
      { what: 'RSS, idle', unit: 'MiB', measured: idle.measured, floor: { what: 'Fastify, idle', measured: idle.floor } },
      { what: 'RSS, after load', unit: 'MiB', measured: after.measured, floor: { what: 'Fastify, after load', measured: after.floor } },
    ];
  },
};

// In the same unit on Linux and macOS: KiB.
export async function residentMib(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)]);
  return Number(stdout) / 1024;
}
