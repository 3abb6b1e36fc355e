// Settings of the private PostgreSQL server.
import { Formed } from '../platform/runtime/settings.ts';

export const settings = {
  DATA_DIR: Formed('^[^~].{0,999}$', 'be a path of at most 1000 characters, and without ~, which only a shell replaces', {
    default: '.data',
    description: 'Folder of the private PostgreSQL server, if there is no `DATABASE_URL`.',
  }),
};
