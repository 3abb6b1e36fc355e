// The list of a user's fields, held against the table, the answers and the events.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { definitions } from '../../src/features/users/events.ts';
import { fieldNames, fields, requiredNames, shownNames } from '../../src/features/users/fields.ts';
import { createEventCheck } from '../../src/platform/events/contract/schemas.ts';
import { startService } from '../support/service.ts';

const own = ['id', 'version', 'created_at', 'updated_at'];

suite('the fields of a user', () => {
  test('are the columns of the table, each null only where the list says so', async () => {
    await using service = await startService();
    const columns = await service.database.query<{ name: string; nullable: string }>(
      `select column_name as name, is_nullable as nullable from information_schema.columns where table_name = 'user'`,
    );
    assert.deepEqual(columns.map(({ name }) => name).sort(), [...own, ...fieldNames].sort());
    const nullable = columns.filter((column) => column.nullable === 'YES').map(({ name }) => name);
    assert.deepEqual(
      nullable,
      fieldNames.filter((name) => !(requiredNames as readonly string[]).includes(name)),
    );
  });

  for (const EVENT_PAYLOAD of ['full', 'id'])
    test(`are the same in answers and events (EVENT_PAYLOAD=${EVENT_PAYLOAD}), and each changed one is named`, async () => {
      await using service = await startService({ EVENT_PAYLOAD, RUN: 'api' });
      const first = Object.fromEntries(fieldNames.map((name) => [name, `${fields[name].example} one`]));
      const second = Object.fromEntries(fieldNames.map((name) => [name, `${fields[name].example} two`]));
      const created = (await service.call('POST', '/users/', first)).json;
      const updated = (await service.call('PUT', `/users/${created.id}`, second)).json;
      for (const name of fieldNames) {
        const kept = (await service.call('PUT', `/users/${created.id}`, { [name]: second[name] })).json;
        assert.deepEqual(kept, updated, `${name} is the same, and writes nothing`);
      }
      const shown = ['id', ...shownNames, 'created_at', 'updated_at'];
      assert.deepEqual(Object.keys(created).sort(), shown.toSorted());

      const rows = await service.database.query<{ event_type: string; data: { changed: string[]; user?: object } }>(
        'select event_id, event_type, trace_id, occurred_at, data from outbox order by position',
      );
      const isFull = EVENT_PAYLOAD === 'full';
      assert.deepEqual(
        rows.map(({ event_type, data }) => [event_type, data.changed, data.user]),
        [
          ['user.created', fieldNames, isFull ? created : undefined],
          ['user.updated', fieldNames, isFull ? updated : undefined],
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
