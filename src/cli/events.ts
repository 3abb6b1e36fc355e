// `npm run events -- ...`: what an operator does about events: dead letters, the backlog, sending a part of the log again.
import { isUtf8 } from 'node:buffer';
import { Command, InvalidArgumentError } from 'commander';
import type { Config } from '../config.ts';
import { recount } from '../features/users/count.ts';
import { definitions, kind } from '../features/users/events.ts';
import { subscriptions } from '../features/users/subscriptions.ts';
import { type ConnectionSettings, type Pool, startPool } from '../platform/db/client.ts';
import { hasEveryMigration } from '../platform/db/migrate.ts';
import { createIntakes } from '../platform/events/intake.ts';
import { replaceEpoch } from '../platform/events/operations/epoch.ts';
import { redrive } from '../platform/events/operations/redrive.ts';
import { type ReplayOptions, replay } from '../platform/events/operations/replay.ts';
import { measureBacklog } from '../platform/events/store/backlog.ts';
import { parseCursor } from '../platform/events/store/cursor.ts';
import * as deadLetters from '../platform/events/store/dead-letters.ts';
import { findByTrace } from '../platform/events/store/failed-attempts.ts';
import { readStates } from '../platform/events/subscriptions.ts';
import { CommandError, runCommand } from './command.ts';
import { openDatabase } from './database.ts';

const pageSize = 1000;
const attemptsMax = 1000;

type Parts = { readonly config: Config; readonly pool: Pool; readonly connection: ConnectionSettings };

function withEvents(work: (parts: Parts) => Promise<void>): Promise<void> {
  return runCommand(async (config) => {
    await using database = await openDatabase(config, 'events');
    await using pool = startPool(database.connection, 2);
    await work({ config, pool, connection: database.connection });
  });
}

/** @throws CommandError where nothing is named */
function namesOf(ids: readonly string[], { all }: { all?: boolean }): readonly string[] | undefined {
  if (ids.length === 0 && all !== true) throw new CommandError('Name the event ids, or say --all.');
  return all === true ? undefined : ids;
}

/** A sender's text on a terminal or in a line of output. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '\u{FFFD}');
}

/** For a person: JSON as a value, other text as text, nothing where it is neither. */
function bodyOf(body: Buffer): unknown {
  if (!isUtf8(body)) return null;
  try {
    return JSON.parse(body.toString());
  } catch {
    return body.toString();
  }
}

function readFrom(text: string): ReplayOptions['from'] {
  const cursor = parseCursor(text);
  if (cursor !== undefined) return cursor;
  const since = new Date(text);
  if (Number.isNaN(since.getTime())) throw new InvalidArgumentError('It is neither a cursor of GET /events/ nor an ISO 8601 time.');
  return { since };
}

const program = new Command('events').description('Look after the events of Rollcall. Run as: npm run events -- <command>');

const dlq = program.command('dlq').description('events and messages that were given up');
dlq
  .command('list')
  .description('one line for each')
  .option('--subscription <name>', 'only those of one subscription')
  .action(({ subscription }: { subscription?: string }) =>
    withEvents(async ({ pool }) => {
      let count = 0;
      for (let after = '0', page: deadLetters.DeadLetter[]; ; after = page.at(-1)?.id ?? after) {
        page = await deadLetters.list(pool, { subscription, after, limit: pageSize });
        for (const { id, messageId, type, attempts, traceId, reason } of page)
          console.log(printable(`${messageId ?? id}  ${type ?? ''}  attempts=${attempts}  trace_id=${traceId ?? ''}  ${reason}`));
        count += page.length;
        if (page.length < pageSize) break;
      }
      console.error(count === 0 ? 'There are none.' : `${count} in all.`);
    }),
  );
dlq
  .command('show')
  .description('all that is known of one, the message included')
  .argument('<id>')
  .option('--raw', 'only the body, byte for byte')
  .action((id: string, { raw }: { raw?: boolean }) =>
    withEvents(async ({ pool }) => {
      const letters = await deadLetters.find(pool, [id]);
      if (letters.length === 0) throw new CommandError(`There is no dead letter ${id}.`);
      for (const { body, ...letter } of letters) {
        if (raw === true) process.stdout.write(body);
        else console.log(JSON.stringify({ ...letter, body: bodyOf(body), body_base64: body.toString('base64') }, null, 2));
      }
    }),
  );
dlq
  .command('redrive')
  .description('give them to the consumer again; one that is older than what it has handled of its user since comes back here')
  .argument('[ids...]')
  .option('--all', 'all of them')
  .action((ids: string[], options: { all?: boolean }) =>
    withEvents(async ({ config, pool }) => {
      const names = namesOf(ids, options);
      const intakes = createIntakes(subscriptions, definitions, config.APP_NAME);
      const found = await deadLetters.findIds(pool, names);
      let redriven = 0;
      for (const id of found) {
        const failed = await redrive(pool, intakes, id);
        if (failed === undefined) redriven += 1;
        else if (failed !== 'not there') console.error(printable(`${id} stays: ${failed.refused}.`));
      }
      console.log(`${redriven} of ${names?.length ?? found.length} on their way again.`);
      if (redriven < found.length) process.exitCode = 1;
    }),
  );
dlq
  .command('erase')
  .description('throw some of them away')
  .argument('<ids...>')
  .action((ids: string[]) =>
    withEvents(async ({ pool }) => {
      console.log(`${await deadLetters.erase(pool, ids)} thrown away.`);
    }),
  );
dlq
  .command('purge')
  .description('throw all of them away')
  .option('--reason <words>', 'only those whose reason has these words')
  .option('--yes', 'really')
  .action(({ reason, yes }: { reason?: string; yes?: boolean }) =>
    withEvents(async ({ pool }) => {
      if (yes !== true) throw new CommandError('This cannot be undone: say --yes.');
      const erased = reason === undefined ? deadLetters.erase(pool) : deadLetters.eraseByReason(pool, reason);
      console.log(`${await erased} thrown away.`);
    }),
  );

program
  .command('subscriptions')
  .description('who does something about events, and how far each is')
  .action(() =>
    withEvents(async ({ pool }) => {
      for (const { name, source, backlog, lagSeconds, retries, parked, deadLetters: dead } of await readStates(pool, subscriptions))
        console.log(
          `${name}  source=${source}  backlog=${backlog}  lag=${lagSeconds.toFixed(1)}s  retries=${retries}  parked=${parked}  dead_letters=${dead}`,
        );
    }),
  );

program
  .command('attempts')
  .description("failed attempts of one request's events")
  .argument('<trace id>')
  .action((traceId: string) =>
    withEvents(async ({ pool }) => {
      for (const { failed_at, subscription, event_type, event_id, attempt, reason } of await findByTrace(pool, traceId, {
        limit: attemptsMax,
      }))
        console.log(printable(`${failed_at}  ${subscription}  ${event_type}  ${event_id}  attempt=${attempt}  ${reason}`));
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
        subject: user === undefined ? undefined : `${kind}:${user}`,
        onProgress: (count) => console.error(`${count} sent`),
      });
      console.log(`${sent} events sent to ${toQueue}.`);
    }),
  );

program
  .command('restored')
  .description('after the database was restored from a backup: cursors that were given out before get 410, and the users are counted')
  .action(() =>
    withEvents(async ({ pool, connection }) => {
      await replaceEpoch(pool);
      // An older schema is counted by its migration.
      if (await hasEveryMigration(pool)) {
        await using patient = startPool({ ...connection, statementTimeoutMs: 0 }, 1);
        await recount(patient);
      }
      console.log('Every cursor that was given out before gets 410 cursor_expired from now on: its owner takes a new snapshot.');
    }),
  );

await program.parseAsync();
