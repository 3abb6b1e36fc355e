// `npm run db:setup`: makes the role and the database of DATABASE_URL with the rights of DATABASE_ADMIN_URL.
import { ConfigError } from '../config.ts';
import { setUpDatabase } from '../platform/db/prepare.ts';
import { runCommand } from './command.ts';

await runCommand(async ({ DATABASE_URL, DATABASE_ADMIN_URL }) => {
  if (DATABASE_URL === undefined || DATABASE_ADMIN_URL === undefined) {
    throw new ConfigError(['DATABASE_URL and DATABASE_ADMIN_URL must both be set for db:setup.']);
  }
  const created = await setUpDatabase(DATABASE_URL, DATABASE_ADMIN_URL);
  console.log(created.length === 0 ? 'The role and the database are there already.' : `Created ${created.join(' and ')}.`);
});
