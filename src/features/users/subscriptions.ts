// What this service itself does about events of users: it takes note of each.

import { queue } from '../../platform/events/contract/topology.ts';
import type { Reaction, Subscription } from '../../platform/events/subscriptions.ts';
import { definitions, kind } from './events.ts';

const takeNote: Reaction = {
  about: ({ data }) => ({ kind, name: 'user_id', id: Number(data['user_id']), version: Number(data['version']) }),
};

export const subscriptions: readonly Subscription[] = [
  { name: queue, source: 'queue', reactions: Object.fromEntries(definitions.map(({ type }) => [type, takeNote])) },
];
