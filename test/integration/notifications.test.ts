// How instances hear of each other's commits: by notifications, which nothing depends on.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import pg from 'pg';
import { createDatabase, patienceMs, type TestDatabase } from '../support/database.ts';
import { startService } from '../support/service.ts';

const listening = `select pid from pg_stat_activity where datname = current_database() and query like 'listen %'`;

/** Collects what is sent in a database; `first` resolves with the next on a channel. */
async function listen({ url }: TestDatabase) {
  const client = new pg.Client({ connectionString: url });
  const channels: string[] = [];
  await client.connect();
  await client.query('listen rollcall_outbox; listen rollcall_log');
  client.on('notification', ({ channel }) => channels.push(channel));
  return {
    channels,
    async until(channel: string): Promise<void> {
      // A statement brings what has arrived.
      for (const startedAt = performance.now(); !channels.includes(channel); await client.query('select 1'))
        if (performance.now() - startedAt > patienceMs) throw new Error(`no notification on ${channel}, but ${channels.join(', ')}`);
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

suite('notifications', { concurrency: true }, () => {
  test('of a process without a relay tell others of a commit, and a relay elsewhere takes it', async () => {
    await using database = await createDatabase();
    await using api = await startService({ RUN: 'api' }, { database });
    await using heard = await listen(database);
    const { id } = await api.createUser();
    await heard.until('rollcall_outbox');
    await using worker = await startService({ RUN: 'relay,consumer' }, { database });
    await worker.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    await heard.until('rollcall_log');
    await api.call('DELETE', `/users/${id}`);
    await worker.line(({ event }) => event === `Received event user.deleted with user_id=${id}`);
  });

  test('are sent by nobody for a commit in a process with a relay, which tells others when the log has grown', async () => {
    await using service = await startService();
    await using heard = await listen(service.database);
    const { id } = await service.createUser();
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
    await heard.until('rollcall_log');
    assert.ok(!heard.channels.includes('rollcall_outbox'));
  });

  test('come over a connection that is made again when it was lost', async () => {
    await using service = await startService();
    const { database } = service;
    await database.until(listening);
    const [before] = await database.query<{ pid: number }>(listening);
    await database.query('select pg_terminate_backend($1)', [before?.pid]);
    await database.until(`${listening} and pid <> $1`, [before?.pid]);
    const { id } = await service.createUser();
    await service.line(({ event }) => event === `Received event user.created with user_id=${id}`);
  });

  test('that cannot be sent fail no change', async () => {
    await using database = await createDatabase();
    await using api = await startService({ RUN: 'api' }, { database });
    await database.query('create schema shadow');
    await database.query(
      `create function shadow.pg_notify(text, text) returns void language plpgsql as $$ begin raise exception 'queue is full'; end $$`,
    );
    const role = new URL(database.url).username;
    const name = new URL(database.url).pathname.slice(1);
    await database.query(`alter role ${role} in database ${name} set search_path = shadow, pg_catalog, public`);
    await using shadowed = await startService({ RUN: 'api' }, { database });
    for (const service of [api, shadowed]) {
      const { id } = await service.createUser();
      assert.equal((await service.call('DELETE', `/users/${id}`)).status, 200);
    }
  });
});
