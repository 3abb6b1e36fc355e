// How many requests one address may make in a minute, whatever they ask for and whether or not it exists.
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import { Problem, problems } from '../problem.ts';
import { clientNetwork } from './client-address.ts';

const windowMs = 60_000;
/** Addresses that are counted at once; the one that was quiet longest makes room. */
const addressesMax = 10_000;

/** @param perMinute 0 for no limit */
export async function addRateLimit(app: FastifyInstance, perMinute: number): Promise<void> {
  if (perMinute === 0) return;
  await app.register(rateLimit, {
    global: false,
    max: perMinute,
    timeWindow: windowMs,
    cache: addressesMax,
    keyGenerator: ({ ip }) => clientNetwork(ip),
  });
  const count = app.createRateLimit();
  // A hook for all, since the plugin's own sees only routes: not a path that is unknown, nor a method that is refused.
  app.addHook('onRequest', async (request, reply) => {
    const state = await count(request);
    if (state.isAllowed) return;
    // The names of draft-ietf-httpapi-ratelimit-headers-06, which clients know.
    reply.headers({ 'ratelimit-limit': state.max, 'ratelimit-remaining': state.remaining, 'ratelimit-reset': state.ttlInSeconds });
    if (!state.isExceeded) return;
    throw new Problem(problems.rate_limited, `More than ${perMinute} requests a minute from one address.`, {
      headers: { 'retry-after': String(state.ttlInSeconds) },
    });
  });
}
