// `npm run migrate`: applies what is missing, then hashes passwords that were stored as typed. `-- --status` only shows.
import { parseArgs } from 'node:util';
import { startPool } from '../db/client.ts';
import { migrationStatus } from '../db/migrate.ts';
import { prepareDatabase } from '../db/prepare.ts';
import { startPasswords } from '../security/passwords.ts';
import { hashPlaintextPasswords, hasPlaintextPasswords } from '../users/adoption.ts';
import { runCommand } from './command.ts';
import { openDatabase } from './database.ts';

await runCommand(async (config) => {
  const { values } = parseArgs({ options: { status: { type: 'boolean', default: false } } });
  await using database = await openDatabase(config, 'migrate');
  const { connection } = database;

  if (values.status) {
    for (const { name, appliedAt } of await migrationStatus(connection)) console.log(`${appliedAt ?? 'not applied'.padEnd(29)}  ${name}`);
    return;
  }
  const done = await prepareDatabase(connection, config.DATABASE_ADMIN_URL);
  for (const step of done) console.log(`Created or applied ${step}.`);
  if (done.length === 0) console.log('The schema is up to date.');

  await using pool = startPool(connection, 4);
  if (!(await hasPlaintextPasswords(pool))) return;
  console.log('Hashing passwords that are stored as they were typed. This may be interrupted and run again.');
  await using passwords = startPasswords();
  const hashed = await hashPlaintextPasswords(pool, passwords, (count) => console.error(`${count} hashed`));
  console.log(`Hashed ${hashed} passwords.`);
});
