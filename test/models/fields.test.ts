// The list of a user's fields, held against the table, the answers and the events.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { definitions } from '../../src/features/users/events.ts';
import { type FieldName, fieldNames, fieldOf, fields, shownNames } from '../../src/features/users/fields.ts';
import { createEventCheck } from '../../src/platform/events/contract/schemas.ts';
import { startService } from '../support/service.ts';

const own = ['id', 'version', 'created_at', 'updated_at'];
const keys = ['email_key', 'username_key', 'username_skeleton'];

/** Two values of each field; those of texts without a form of their own are made of the example. */
const values: Partial<Record<FieldName, readonly [unknown, unknown]>> = {
  email: ['one@example.com', 'two@example.com'],
  username: ['one', 'two'],
  status: ['active', 'suspended'],
  attributes: [{ n: 1 }, { n: 2 }],
  locale: ['de', 'fr-CH'],
  time_zone: ['UTC', 'Europe/Zurich'],
  email_verified_at: ['2025-01-01T10:00:00.000000Z', '2026-01-01T10:00:00.000000Z'],
};
const sampleOf = (name: FieldName, n: 0 | 1) => values[name]?.[n] ?? `${fields[name].example} ${['one', 'two'][n]}`;
const allWith = (n: 0 | 1) => Object.fromEntries(fieldNames.map((name) => [name, sampleOf(name, n)]));

suite('the fields of a user', () => {
  test('are the columns of the table, each null only where the list says so', async () => {
    await using service = await startService();
    const columns = await service.database.query<{ name: string; nullable: string }>(
      `select column_name as name, is_nullable as nullable from information_schema.columns where table_name = 'user'`,
    );
    assert.deepEqual(columns.map(({ name }) => name).sort(), [...own, ...keys, ...fieldNames].sort());
    const nullable = columns.filter((column) => column.nullable === 'YES').map(({ name }) => name);
    assert.deepEqual(nullable.sort(), [...keys, ...fieldNames.filter((name) => fieldOf(name).isNullable)].sort());
  });

  for (const EVENT_PAYLOAD of ['full', 'id'])
    test(`are the same in answers and events (EVENT_PAYLOAD=${EVENT_PAYLOAD}), and each changed one is named`, async () => {
      await using service = await startService({ EVENT_PAYLOAD, RUN: 'api' });
      const second = allWith(1);
      const created = (await service.call('POST', '/users/', allWith(0))).json;
      const updated = (await service.call('PUT', `/users/${created.id}`, second)).json;
      for (const name of fieldNames) {
        const kept = (await service.call('PUT', `/users/${created.id}`, { [name]: second[name] })).json;
        assert.deepEqual(kept, updated, `${name} is the same, and writes nothing`);
      }
      const shown = ['id', ...shownNames, 'version', 'created_at', 'updated_at', 'last_login_at'];
      assert.deepEqual(Object.keys(created).sort(), shown.toSorted());
      const { last_login_at: _, ...createdState } = created;
      const { last_login_at: __, ...updatedState } = updated;

      const rows = await service.database.query<{ event_type: string; data: { changed: string[]; user?: object } }>(
        'select event_id, event_type, trace_id, occurred_at, data from outbox order by position',
      );
      const isFull = EVENT_PAYLOAD === 'full';
      assert.deepEqual(
        rows.map(({ event_type, data }) => [event_type, data.changed, data.user]),
        [
          ['user.created', fieldNames, isFull ? createdState : undefined],
          ['user.updated', fieldNames, isFull ? updatedState : undefined],
        ],
      );
      const violationOf = createEventCheck(definitions);
      const fixed = { occurred_at: created.created_at };
      assert.deepEqual(
        rows.map((row) => violationOf({ ...row, ...fixed })),
        [undefined, undefined],
      );
    });
});
