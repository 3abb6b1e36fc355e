// The HTTP application: mechanisms, then features, nothing else.
import { addHealth, type HealthParts } from './health/routes.ts';
import { addDocumentation, addOpenApi } from './http/documentation.ts';
import { type App, createServer, type ServerParts } from './http/server.ts';
import { addUsers, type UserRoutesParts } from './users/routes.ts';

export type AppParts = ServerParts & {
  readonly version: string;
  readonly asyncApi: object;
  /** Left out where this process does not run the API. */
  readonly users?: UserRoutesParts;
  readonly health: HealthParts;
};

export function createApp({ version, asyncApi, users, health, ...server }: AppParts): Promise<App> {
  return createServer(server, async (app) => {
    await addOpenApi(app, version);
    if (users !== undefined) addUsers(app, users);
    addHealth(app, health);
    await addDocumentation(app, asyncApi);
  });
}
