// Settings of the users.
import { Type } from '../../platform/runtime/schema.ts';

export const settings = {
  EVENT_PAYLOAD: Type.Enum(['full', 'id'], {
    default: 'full',
    description: '`full` puts the user into events, `id` only its id and version.',
  }),
  PASSWORD_LENGTH_MIN: Type.Integer({ minimum: 8, maximum: 128, default: 8, description: 'Shortest password, in code points.' }),
};
