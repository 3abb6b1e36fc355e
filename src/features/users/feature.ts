// The users: create, read, update, delete, and the snapshot of all.
import type { Static, TObject } from 'typebox';
import type { Feature } from '../../platform/feature.ts';
import { startCounting } from './count.ts';
import { definitions } from './events.ts';
import { indexedPaths } from './indexed-attributes.ts';
import { addLists } from './lists.ts';
import { addLookups } from './lookups.ts';
import { problems } from './problems.ts';
import { addUsers } from './routes.ts';
import { readAttributesSchema, settings } from './settings.ts';
import { addSnapshot } from './snapshot.ts';
import { subscriptions } from './subscriptions.ts';

export const users: Feature<Static<TObject<typeof settings>>> = {
  name: 'users',
  settings,
  problems,
  events: definitions,
  subscriptions,
  loops: [startCounting],
  routes(app, { db, reads, readers, streams, turns, passwords, onChange }, values) {
    const { EVENT_PAYLOAD, PASSWORD_LENGTH_MIN, REQUIRE_IF_MATCH, USERNAME_CONFUSABLES, USER_ATTRIBUTES_SCHEMA } = values;
    const attributesSchema = USER_ATTRIBUTES_SCHEMA === undefined ? undefined : readAttributesSchema(USER_ATTRIBUTES_SCHEMA);
    addUsers(app, {
      db,
      reads,
      passwords,
      eventPayload: EVENT_PAYLOAD,
      confusables: USERNAME_CONFUSABLES,
      fieldSettings: {
        passwordLengthMin: PASSWORD_LENGTH_MIN,
        attributesSchema,
      },
      requireIfMatch: REQUIRE_IF_MATCH,
      onChange,
    });
    addLists(app, db, indexedPaths(attributesSchema));
    addLookups(app, reads);
    addSnapshot(app, { db: readers, streams, turns });
  },
};
