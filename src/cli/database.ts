// The database of a command: that of DATABASE_URL, or the private server, which the service may be running just now.
import type { Config } from '../config.ts';
import type { ConnectionSettings } from '../platform/db/client.ts';
import { EmbeddedPostgresError, findEmbedded, startEmbedded } from '../private-postgres/server.ts';

export async function openDatabase(
  config: Config,
  purpose: string,
): Promise<AsyncDisposable & { readonly connection: ConnectionSettings }> {
  const connect = (url: string): ConnectionSettings => ({
    url,
    applicationName: `${config.APP_NAME} ${purpose}`,
    connectTimeoutMs: 5000,
    statementTimeoutMs: 0,
  });
  if (config.DATABASE_URL !== undefined) return { connection: connect(config.DATABASE_URL), async [Symbol.asyncDispose]() {} };
  try {
    const server = await startEmbedded({ dataDir: config.DATA_DIR, holder: `npm run ${purpose}`, log: () => {} });
    return { connection: connect(server.url), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  } catch (error) {
    if (!(error instanceof EmbeddedPostgresError) || !error.message.includes('is in use by')) throw error;
    return { connection: connect(await findEmbedded(config.DATA_DIR)), async [Symbol.asyncDispose]() {} };
  }
}
