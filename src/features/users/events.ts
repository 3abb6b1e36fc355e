// What is announced about users. The publisher and the consumer check events against these schemas, and the AsyncAPI
// document shows them.
import type { TSchema } from 'typebox';
import { Envelope, type EventDefinition } from '../../platform/events/contract/envelope.ts';
import { Type } from '../../platform/runtime/schema.ts';
import { fieldNames, requiredNames } from './fields.ts';
import { exampleState, idMax, UserState } from './schemas.ts';

const Subject = {
  user_id: Type.Integer({ minimum: 1, maximum: idMax }),
  version: Type.Integer({
    minimum: 1,
    description: 'Counts the changes of this user: 1 for its creation, one more for each change, its deletion included.',
  }),
};
const Field = Type.String({
  pattern: '^[a-z][a-z_]*$',
  description: `${fieldNames.map((name) => `\`${name}\``).join(', ')}. Later versions may add names: leave those alone that you do not know.`,
  examples: [...fieldNames],
});
const Changed = Type.Array(Field, { minItems: 1, uniqueItems: true, description: 'The fields that got a new value.' });
// Events from before a field was added are without it, and still come.
const always: ReadonlySet<string> = new Set(['id', ...requiredNames, 'created_at', 'updated_at']);
const Snapshot = Type.Optional(
  Type.Object(
    Object.fromEntries(Object.entries(UserState.properties).map(([name, part]) => [name, always.has(name) ? part : Type.Optional(part)])),
    {
      additionalProperties: false,
      description: 'The user after the change; absent with EVENT_PAYLOAD=id. Fields that are newer than the event are absent.',
    },
  ),
);

const Changes = Type.Object({ ...Subject, changed: Changed, user: Snapshot }, { additionalProperties: false });
const Deletion = Type.Object(Subject, { additionalProperties: false });

/** Of the subjects of these events: `user:7`. */
export const kind = 'user';

const envelope = {
  event_id: '01940a3e-5c00-7c48-9f25-e0b39a08fcaa',
  occurred_at: exampleState.updated_at,
  trace_id: '0b9a3ad4-7f0e-4a1c-9d2f-6f3c1c2b7a10',
};

function define(type: string, name: string, data: TSchema, summary: string, example: object): EventDefinition {
  const schema = Envelope(type, data);
  return { type, audience: 'public', name, schema, summary, example: { ...envelope, event_type: type, data: example } };
}

export const created = define('user.created', 'UserCreated', Changes, 'A user was created.', {
  user_id: 1,
  version: 1,
  changed: [...requiredNames],
  user: exampleState,
});
export const updated = define('user.updated', 'UserUpdated', Changes, 'A user was updated.', {
  user_id: 1,
  version: 2,
  changed: ['surname'],
  user: { ...exampleState, surname: 'Roe', version: 2, updated_at: '2025-01-02T10:00:00.000000Z' },
});
export const deleted = define('user.deleted', 'UserDeleted', Deletion, 'A user was deleted.', { user_id: 1, version: 3 });

export const definitions: readonly EventDefinition[] = [created, updated, deleted];
