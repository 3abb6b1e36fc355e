// `npm run console`: a prompt with the service's database, queries and commands in it. What it changes is announced like any change.
import { start } from 'node:repl';
import { runCommand } from '../src/cli/command.ts';
import { openDatabase } from '../src/cli/database.ts';
import * as commands from '../src/features/users/commands.ts';
import * as queries from '../src/features/users/queries.ts';
import { startPool } from '../src/platform/db/client.ts';
import { startPasswords } from '../src/platform/security/passwords.ts';

const introduction = `The database of the service is open. Try:

  await pool.query('select count(*) from "user"')
  await queries.listUsers(pool, 1, 10)
  await commands.updateUser(parts, '1', { surname: 'Roe' })

pool, config, passwords, parts, queries and commands are defined; .exit or Ctrl-D leaves.
`;

await runCommand(async (config) => {
  await using database = await openDatabase(config, 'console');
  await using pool = startPool(database.connection, 2);
  await using passwords = startPasswords();
  console.log(introduction);
  const prompt = start({ prompt: 'rollcall> ', useGlobal: true });
  const parts = { db: pool, passwords, eventPayload: config.EVENT_PAYLOAD, confusables: config.USERNAME_CONFUSABLES };
  Object.assign(prompt.context, { pool, config, passwords, parts, queries, commands });
  await new Promise<void>((resolve) => {
    prompt.once('exit', resolve);
  });
});
