// `npm run seed -- --users 10000`: fills the database with users, through the statement that POST /users/ runs, so that each has its
// event. The names follow from --seed: two runs make the same users, if not under the same ids.
import { parseArgs } from 'node:util';
import { CommandError, runCommand } from '../src/cli/command.ts';
import { openDatabase } from '../src/cli/database.ts';
import { createUser } from '../src/features/users/commands.ts';
import { startPool } from '../src/platform/db/client.ts';
import { prepareDatabase } from '../src/platform/db/prepare.ts';
import { startPasswords } from '../src/platform/security/passwords.ts';

const usersMax = 100_000_000;
const connections = 8;
const progressMs = 1000;
const password = 'correct horse battery';

const given = ['Ada', 'Bo', 'Chen', 'Dara', 'Eun', 'Farah', 'Goran', 'Hana', 'Ines', 'Jun', 'Kofi', 'Lena', 'Mira', 'Noor', 'Olu', 'Pia'];
const family = [
  'Abe',
  'Berg',
  'Cruz',
  'Diaz',
  'Ekman',
  'Fuchs',
  'Gill',
  'Haas',
  'Ito',
  'Jansen',
  'Kaya',
  'Lund',
  'Mora',
  'Novak',
  'Osei',
  'Park',
];

await runCommand(async (config) => {
  const { users, seed } = readArguments();
  await using database = await openDatabase(config, 'seed');
  await prepareDatabase(database.connection, config.DATABASE_ADMIN_URL, {
    onWarning: () => {},
    onWaiting: (text) => console.error(`${text}.`),
  });
  await using pool = startPool(database.connection, connections);
  // One for all: a hash for each would take most of the time, at about a hundred a second.
  const hash = await hashOnce();
  const passwords = { waiting: 0, hash: async () => hash, verify: async () => false, async [Symbol.asyncDispose]() {} };
  const parts = { db: pool, passwords, eventPayload: config.EVENT_PAYLOAD, confusables: config.USERNAME_CONFUSABLES };

  const random = generator(seed);
  const pick = (names: readonly string[]) => names[Math.floor(random() * names.length)] ?? '';
  const startedAt = performance.now();
  let begun = 0;
  let made = 0;
  const tell = () =>
    process.stderr.write(`${made} of ${users} users, ${Math.round(made / ((performance.now() - startedAt) / 1000))} a second\n`);
  const telling = setInterval(tell, progressMs);
  try {
    await Promise.all(
      Array.from({ length: connections }, async () => {
        while (begun < users) {
          begun += 1;
          await createUser(parts, { name: pick(given), surname: `${pick(family)} ${begun}`, password });
          made += 1;
        }
      }),
    );
  } finally {
    clearInterval(telling);
  }
  tell();
  console.log(`Their password is "${password}". Their events are in the outbox; a running service publishes them.`);
});

async function hashOnce(): Promise<string> {
  await using passwords = startPasswords();
  return await passwords.hash(password);
}

/** mulberry32: numbers from 0 to 1, the same ones for a seed. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function readArguments(): { readonly users: number; readonly seed: number } {
  const wholeNumber = (name: string, text: string, max: number) => {
    if (/^[0-9]{1,9}$/.test(text) && Number(text) >= 1 && Number(text) <= max) return Number(text);
    throw new CommandError(`--${name} must be a whole number from 1 to ${max}, not "${text}".`);
  };
  let values: { readonly users?: string; readonly seed: string };
  try {
    ({ values } = parseArgs({ options: { users: { type: 'string' }, seed: { type: 'string', default: '1' } } }));
  } catch (error) {
    throw new CommandError((error as Error).message);
  }
  if (values.users === undefined) throw new CommandError('Say how many: npm run seed -- --users 10000');
  return { users: wholeNumber('users', values.users, usersMax), seed: wholeNumber('seed', values.seed, 999_999_999) };
}
