// What this service itself does about its events: it takes note of them.
import type { Reaction } from '../events/settlement.ts';
import { kind, types } from './events.ts';

const takeNote: Reaction = {
  about: ({ data }) => ({ kind, name: 'user_id', id: Number(data['user_id']), version: Number(data['version']) }),
};

export const reactions: Readonly<Record<string, Reaction>> = {
  [types.created]: takeNote,
  [types.updated]: takeNote,
  [types.deleted]: takeNote,
};
