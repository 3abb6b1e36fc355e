// The HTTP application: mechanisms, then features, nothing else.
import { addFeed, type FeedParts } from './feed/routes.ts';
import { addHealth, type HealthParts } from './health/routes.ts';
import { addDocumentation, addOpenApi } from './http/documentation.ts';
import { type App, createServer, type ServerParts } from './http/server.ts';
import { addSubscriptions, type SubscriptionParts } from './subscriptions/routes.ts';
import { addUsers, type UserRoutesParts } from './users/routes.ts';
import { addSnapshot, type SnapshotParts } from './users/snapshot.ts';

export type AppParts = ServerParts & {
  readonly version: string;
  readonly asyncApi: object;
  /** Left out where this process does not run the API. */
  readonly api?: {
    readonly users: UserRoutesParts;
    readonly feed: FeedParts;
    readonly snapshot: SnapshotParts;
    readonly subscriptions: SubscriptionParts;
  };
  readonly health: HealthParts;
};

export function createApp({ version, asyncApi, api, health, ...server }: AppParts): Promise<App> {
  return createServer(server, async (app) => {
    await addOpenApi(app, version);
    if (api !== undefined) {
      addUsers(app, api.users);
      addSnapshot(app, api.snapshot);
      addFeed(app, api.feed);
      addSubscriptions(app, api.subscriptions);
    }
    addHealth(app, health);
    await addDocumentation(app, asyncApi);
  });
}
