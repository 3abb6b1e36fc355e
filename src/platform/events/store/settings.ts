// Settings of the event log.
import { Type } from '../../runtime/schema.ts';

export const settings = {
  EVENT_RETENTION_DAYS: Type.Integer({
    minimum: 1,
    maximum: 3650,
    default: 30,
    description: 'Days for which `GET /events/` reaches back. Events that are not published yet are kept longer.',
  }),
};
