// The subscriptions over HTTP.
import type { Feature } from '../../platform/feature.ts';
import { problems } from './problems.ts';
import { addSubscriptions } from './routes.ts';

export const subscriptions: Feature<unknown> = {
  name: 'subscriptions',
  problems,
  routes: addSubscriptions,
};
