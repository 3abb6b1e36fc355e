// What is left of a user after DELETE: no more, and nowhere else, than docs/operations.md says.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { startService, type TestService } from '../support/service.ts';

const surname = 'Unmistakable-4711';
const document = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
const [, section = ''] = document.split('\n## Personal data after a deletion\n');
const listed = section.split('\n## ')[0] ?? '';

async function tablesOf({ database }: TestService): Promise<string[]> {
  const rows = await database.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by name`,
  );
  return rows.map(({ name }) => name);
}

/** Tables that hold the name, partitions by that of the whole. */
async function tablesThatName(service: TestService): Promise<string[]> {
  const found = new Set<string>();
  for (const name of await tablesOf(service)) {
    const [row] = await service.database.query<{ found: boolean }>(
      `select exists (select from ${JSON.stringify(name)} as one where one::text like $1 or one::text like $2) as found`,
      // A column of bytes is shown in hexadecimal.
      [`%${surname}%`, `%${Buffer.from(surname).toString('hex')}%`],
    );
    if (row?.found) found.add(name.replace(/_(\d{8}|default)$/, ''));
  }
  return [...found];
}

async function createAndDelete(service: TestService, env: { relay: boolean }): Promise<void> {
  const { id } = await service.createUser({ surname });
  await service.call('PUT', `/users/${id}`, { name: 'Changed' });
  await service.call('DELETE', `/users/${id}`);
  if (env.relay) await service.line(({ event }) => event === `Received event user.deleted with user_id=${id}`);
}

suite('after DELETE the name of a user', { concurrency: true }, () => {
  test('is in the log, and in no other table once its events are handled', async () => {
    await using service = await startService();
    await createAndDelete(service, { relay: true });
    assert.deepEqual(await tablesThatName(service), ['event']);
    assert.ok(!service.text().includes(surname));
  });

  test('is in the outbox while no relay runs, and nowhere with EVENT_PAYLOAD=id', async () => {
    await using full = await startService({ RUN: 'api' });
    await createAndDelete(full, { relay: false });
    assert.deepEqual(await tablesThatName(full), ['outbox']);
    await using id = await startService({ EVENT_PAYLOAD: 'id' });
    await createAndDelete(id, { relay: true });
    assert.deepEqual(await tablesThatName(id), []);
  });

  test('has every table listed in docs/operations.md', async () => {
    await using service = await startService({ RUN: 'api' });
    const tables = (await tablesOf(service)).map((name) => name.replace(/_\d{8}$/, ''));
    assert.deepEqual(
      [...new Set(tables)].filter((name) => !listed.includes(`\`${name}\``)),
      [],
    );
  });
});
