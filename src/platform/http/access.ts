// Every route says who may call it; a route that does not say keeps the process from starting.
import type { FastifyInstance, RouteOptions } from 'fastify';

/** Sign-in comes later; until then there is one answer, and AUTH=off where others than this machine can reach it. */
export type Access = 'anyone';

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
  }
}

export function addAccess(app: FastifyInstance): void {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    routes.push(route);
  });
  app.addHook('onReady', async () => {
    const silent = routes.filter(({ config }) => config?.access === undefined);
    if (silent.length > 0) {
      throw new Error(`Routes that do not say who may call them: ${silent.map(({ method, url }) => `${method} ${url}`).join(', ')}`);
    }
  });
}
