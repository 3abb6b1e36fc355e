// Liveness, readiness and metrics.
import type { Feature } from '../../platform/feature.ts';
import { addHealth } from './routes.ts';

export const health: Feature<unknown> = {
  name: 'health',
  isForProbes: true,
  routes: addHealth,
};
