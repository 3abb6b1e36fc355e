// `npm run migrate`: applies what is missing, then hashes passwords that were stored as typed. `-- --status` only shows;
// `-- --next-id N` says from where ids go on, where nothing has counted them.
import { parseArgs } from 'node:util';
import { countLookalikes, hashPlaintextPasswords, hasPlaintextPasswords, raiseNextId } from '../features/users/adoption.ts';
import { idMax } from '../features/users/schemas.ts';
import { startPool } from '../platform/db/client.ts';
import { migrationStatus } from '../platform/db/migrate.ts';
import { prepareDatabase } from '../platform/db/prepare.ts';
import { startPasswords } from '../platform/security/passwords.ts';
import { CommandError, runCommand } from './command.ts';
import { openDatabase } from './database.ts';

await runCommand(async (config) => {
  const { values } = readArguments();
  const nextId = values['next-id'];
  if (nextId !== undefined && !(/^[1-9]\d*$/.test(nextId) && Number(nextId) <= idMax)) {
    throw new CommandError(`--next-id must be a whole number from 1 to ${idMax}, not "${nextId}".`);
  }
  await using database = await openDatabase(config, 'migrate');
  const { connection } = database;

  if (values.status) {
    for (const { name, appliedAt } of await migrationStatus(connection)) console.log(`${appliedAt ?? 'not applied'.padEnd(29)}  ${name}`);
    return;
  }
  const done = await prepareDatabase(connection, config.DATABASE_ADMIN_URL, {
    onWarning: (text) => console.log(`${text}.`),
    onWaiting: (text) => console.error(`${text}.`),
    ...(nextId !== undefined && { variables: { next_id: nextId } }),
  });
  for (const step of done) console.log(`Created or applied ${step}.`);
  if (done.length === 0) console.log('The schema is up to date.');

  await using pool = startPool(connection, 4);
  if (nextId !== undefined) console.log(`The next user gets the id ${await raiseNextId(pool, nextId)}.`);
  if (!(await hasPlaintextPasswords(pool))) return;
  console.log('Hashing passwords that are stored as they were typed. This may be interrupted and run again.');
  const lookalikes = await countLookalikes(pool);
  await using passwords = startPasswords();
  const hashed = await hashPlaintextPasswords(pool, passwords, (count) => console.error(`${count} hashed`));
  console.log(`Hashed ${hashed} passwords.`);
  if (lookalikes > 0) console.log(`${lookalikes} of them looked like argon2id hashes and were none of ours: they were hashed as text.`);
});

function readArguments() {
  try {
    return parseArgs({ options: { status: { type: 'boolean', default: false }, 'next-id': { type: 'string' } } });
  } catch (error) {
    throw new CommandError((error as Error).message);
  }
}
