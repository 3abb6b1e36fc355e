// What this service itself does about its events: it takes note of them.
import type { Reaction } from '../events/consumer.ts';
import { types } from './events.ts';

const takeNote: Reaction = {
  describe: ({ data }) => ({ subject: `user_id=${data['user_id']}`, fields: { user_id: data['user_id'] } }),
};

export const reactions: Readonly<Record<string, Reaction>> = {
  [types.created]: takeNote,
  [types.updated]: takeNote,
  [types.deleted]: takeNote,
};
