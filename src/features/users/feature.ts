// The users: create, read, update, delete, and the snapshot of all.
import type { Static, TObject } from 'typebox';
import type { Feature } from '../../platform/feature.ts';
import { startCounting } from './count.ts';
import { definitions } from './events.ts';
import { problems } from './problems.ts';
import { addUsers } from './routes.ts';
import { settings } from './settings.ts';
import { addSnapshot } from './snapshot.ts';
import { subscriptions } from './subscriptions.ts';

export const users: Feature<Static<TObject<typeof settings>>> = {
  name: 'users',
  settings,
  problems,
  events: definitions,
  subscriptions,
  loops: [startCounting],
  routes(app, { db, reads, readers, streams, turns, passwords, onChange }, { EVENT_PAYLOAD, PASSWORD_LENGTH_MIN }) {
    addUsers(app, { db, reads, passwords, eventPayload: EVENT_PAYLOAD, passwordLengthMin: PASSWORD_LENGTH_MIN, onChange });
    addSnapshot(app, { db: readers, streams, turns });
  },
};
