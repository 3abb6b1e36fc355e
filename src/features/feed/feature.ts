// The event log over HTTP.
import type { Feature } from '../../platform/feature.ts';
import { addFeed } from './routes.ts';

export const feed: Feature<unknown> = {
  name: 'feed',
  routes(app, { reader, tail, streams, turns, definitions }) {
    addFeed(app, { reader, tail, streams, turns, definitions: definitions.filter(({ audience }) => audience === 'public') });
  },
};
