// The HTTP application: mechanisms, then features, nothing else.
import type { Config } from '../config.ts';
import { features } from '../features.ts';
import type { Platform } from '../platform/feature.ts';
import { addDocumentation } from '../platform/http/documentation.ts';
import { type App, createServer, type ServerParts } from '../platform/http/server.ts';

export type AppParts = ServerParts & { readonly config: Config; readonly asyncApi: object; readonly platform: Platform };

export function createApp({ config, asyncApi, platform, ...server }: AppParts): Promise<App> {
  const served = features.filter((feature) => config.RUN.includes('api') || ('isForProbes' in feature && feature.isForProbes));
  return createServer(server, async (app) => {
    const addDocuments = addDocumentation(app, config.APP_VERSION, asyncApi);
    for (const { routes } of served) routes(app, platform, config);
    addDocuments();
  });
}
