// The features, and what they declare together. A feature imports no other.
import { feed } from './features/feed/feature.ts';
import { health } from './features/health/feature.ts';
import { subscriptions as subscriptionsFeature } from './features/subscriptions/feature.ts';
import { users } from './features/users/feature.ts';
import { problems as problemsOfEvents } from './platform/events/contract/problems.ts';
import type { Feature } from './platform/feature.ts';
import { problems as problemsOfAny } from './platform/problem.ts';

export const features = [users, feed, subscriptionsFeature, health] as const satisfies readonly Feature[];

const all: readonly Feature[] = features;
export const definitions = all.flatMap(({ events = [] }) => events);
export const subscriptions = all.flatMap((feature) => feature.subscriptions ?? []);
export const loops = all.flatMap((feature) => feature.loops ?? []);
/** Every problem that there is, by status. */
export const problems = [problemsOfAny, ...all.map((feature) => feature.problems ?? {}), problemsOfEvents]
  .flatMap((table) => Object.values(table))
  .sort((one, other) => one.status - other.status);
