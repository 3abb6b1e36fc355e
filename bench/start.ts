// How long a start takes.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '../src/private-postgres/server.ts';
import { timeOf } from './load.ts';
import { type Measurement, takeTurns } from './row.ts';

const rounds = 3;

export const start: Measurement = {
  definition:
    'From the spawn of `node start.js`, as `npm start` runs it, to the first 200 of GET /users/: on an empty data folder (the database cluster is made) and on the folder that this left. Floors: making and starting the cluster alone; a Fastify server without database to its first 200.',
  async measure(stage) {
    const { cold, cluster, warm, bare } = await takeTurns(rounds, await sides());
    return [
      {
        what: 'start, cold',
        unit: 's',
        measured: cold,
        floor: { what: 'initdb and server start', measured: cluster },
        want: { of: 'measured', atMost: 10 },
      },
      {
        what: 'start, warm',
        unit: 's',
        measured: warm,
        floor: { what: 'Fastify, no database', measured: bare },
        want: { of: 'measured', atMost: 2 },
      },
    ];

    async function sides() {
      let dataDir = '';
      const timeStart = async (begin: () => Promise<AsyncDisposable>) => {
        await using stack = new AsyncDisposableStack();
        return (await timeOf(async () => stack.use(await begin()))) / 1000;
      };
      return {
        async cold() {
          dataDir = await stage.makeFolder();
          return timeStart(() => stage.startService({ DATA_DIR: dataDir }, '/users/'));
        },
        warm: () => timeStart(() => stage.startService({ DATA_DIR: dataDir }, '/users/')),
        async cluster() {
          const folder = await mkdtemp(join(tmpdir(), 'rollcall-bench-pg-'));
          try {
            return await timeStart(() => startEmbedded({ dataDir: folder, holder: 'npm run bench', log: () => {} }));
          } finally {
            await rm(folder, { recursive: true, force: true });
          }
        },
        bare: () => timeStart(() => stage.startFloorServer()),
      };
    }
  },
};
