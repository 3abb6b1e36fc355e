// Settings of the database.
import { Type } from '../runtime/schema.ts';
import { Ms } from '../runtime/settings.ts';
import { DatabaseUrlError, readDatabaseUrl } from './url.ts';

const url = {
  // The LiteStar service's URLs name SQLAlchemy's driver.
  normalise: (text: string) => text.replace(/^postgres(ql)?\+asyncpg:/, 'postgresql:'),
  issuesOf(text: string, name: string): readonly string[] {
    try {
      readDatabaseUrl(text, name);
      return [];
    } catch (error) {
      if (error instanceof DatabaseUrlError) return error.issues;
      throw error;
    }
  },
};

export const settings = {
  DATABASE_URL: Type.Optional(
    Type.String({
      ...url,
      description:
        'PostgreSQL 15 or newer, by the rules of libpq: `postgres://user:password@host:5432/database`, several hosts by comma, `sslmode`, `target_session_attrs`. Left out: a private server of its own, its data in `DATA_DIR`.',
    }),
  ),
  DATABASE_ADMIN_URL: Type.Optional(
    Type.String({
      ...url,
      description:
        'A role that may create roles and databases; used by `npm run db:setup`, and at start if the role or database of `DATABASE_URL` is missing.',
    }),
  ),
  DATABASE_POOL_SIZE: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 10,
    description:
      'Connections for lists and writes. Two more serve reads by id, five the relay and the consumer, three readers of the log, and one each `/ready`, `/metrics` and hints of other instances.',
  }),
  DATABASE_CONNECT_TIMEOUT_MS: Ms(1000, 'Longest wait for a free or new connection; then 503.'),
  DATABASE_STATEMENT_TIMEOUT_MS: Ms(1500, 'Longest run of one statement; then 503.'),
};
