// `npm run events -- ...`: what an operator does about events: dead letters, the backlog, sending a part of the log again.
import { Command, InvalidArgumentError } from 'commander';
import type { Config } from '../config.ts';
import { type Pool, startPool } from '../db/client.ts';
import { parseCursor } from '../events/cursor.ts';
import { type DeadLetters, deadLettersInRabbit, deadLettersInTable } from '../events/dead-letters.ts';
import { measureBacklog } from '../events/publishing.ts';
import { type ReplayOptions, replay } from '../events/replay.ts';
import { CommandError, runCommand } from './command.ts';
import { openDatabase } from './database.ts';

function withEvents(work: (parts: { config: Config; pool: Pool; letters: DeadLetters }) => Promise<void>): Promise<void> {
  return runCommand(async (config) => {
    await using database = await openDatabase(config, 'events');
    await using pool = startPool(database.connection, 2);
    const letters = config.RABBITMQ_URL === undefined ? deadLettersInTable(pool) : deadLettersInRabbit(config.RABBITMQ_URL);
    await work({ config, pool, letters });
  });
}

function readFrom(text: string): ReplayOptions['from'] {
  const cursor = parseCursor(text);
  if (cursor !== undefined) return cursor;
  const since = new Date(text);
  if (Number.isNaN(since.getTime())) throw new InvalidArgumentError('It is neither a cursor of GET /events/ nor an ISO 8601 time.');
  return { since };
}

const program = new Command('events').description('Look after the events of Rollcall. Run as: npm run events -- <command>');

const dlq = program.command('dlq').description('events that the consumer gave up on');
dlq
  .command('list')
  .description('one line for each')
  .action(() =>
    withEvents(async ({ letters }) => {
      const all = await letters.list();
      for (const { id, type, attempts, traceId, reason } of all)
        console.log(`${id}  ${type}  attempts=${attempts}  trace_id=${traceId}  ${reason}`);
      console.error(all.length === 0 ? 'There are none.' : `${all.length} in all.`);
    }),
  );
dlq
  .command('show')
  .description('all that is known of one')
  .argument('<event-id>')
  .action((id: string) =>
    withEvents(async ({ letters }) => {
      const letter = (await letters.list()).find((candidate) => candidate.id === id);
      if (letter === undefined) throw new CommandError(`There is no dead letter ${id}.`);
      console.log(JSON.stringify(letter, null, 2));
    }),
  );
dlq
  .command('redrive')
  .description('give them to the consumer again; one that is older than what it has handled of its user since is dropped there')
  .argument('[event-ids...]')
  .option('--all', 'all of them')
  .action((ids: string[], { all }: { all?: boolean }) =>
    withEvents(async ({ letters }) => {
      if (ids.length === 0 && all !== true) throw new CommandError('Name the event ids, or say --all.');
      const wanted = all === true ? (await letters.list()).map(({ id }) => id) : ids;
      console.log(`${await letters.redrive(new Set(wanted))} of ${wanted.length} on their way again.`);
    }),
  );
dlq
  .command('purge')
  .description('throw all of them away')
  .option('--yes', 'really')
  .action(({ yes }: { yes?: boolean }) =>
    withEvents(async ({ letters }) => {
      if (yes !== true) throw new CommandError('This cannot be undone: say --yes.');
      console.log(`${await letters.purge()} thrown away.`);
    }),
  );

program
  .command('outbox')
  .description('events on their way out')
  .command('status')
  .description('how many wait, and for how long')
  .action(() =>
    withEvents(async ({ pool }) => {
      const { depth, oldestSeconds, deadRows } = await measureBacklog(pool);
      console.log(`waiting     ${depth}\noldest      ${oldestSeconds.toFixed(1)} s\ndead rows   ${deadRows}`);
    }),
  );

program
  .command('replay')
  .description('send a part of the event log once more, to one queue')
  .requiredOption('--from <cursor or time>', 'a cursor of GET /events/, or an ISO 8601 time', readFrom)
  .requiredOption('--to-queue <name>', 'a queue that exists')
  .option('--user <id>', 'only events of this user')
  .action(({ from, toQueue, user }: { from: ReplayOptions['from']; toQueue: string; user?: string }) =>
    withEvents(async ({ config, pool }) => {
      if (config.RABBITMQ_URL === undefined) throw new CommandError('RABBITMQ_URL must be set: a queue is what events are sent to.');
      const sent = await replay(pool, {
        url: config.RABBITMQ_URL,
        appName: config.APP_NAME,
        queue: toQueue,
        from,
        subject: user,
        onProgress: (count) => console.error(`${count} sent`),
      });
      console.log(`${sent} events sent to ${toQueue}.`);
    }),
  );

await program.parseAsync();
