// The exchange without its queues. Meanwhile the harness learns from the broker's own trace what is published.
import type { Cluster } from './cluster.ts';
import { bindingKey, exchange, serviceQueue, wireQueue } from './wire.ts';

/**
 * The harness's own queue goes first and comes last: no event is to be routed to it alone, which for the relay would be as good as
 * delivered.
 * @param unbind takes the service's binding away
 * @returns whether the service bound its queue again by itself
 */
export async function withoutBindings({ vhost }: Cluster, unbind: () => Promise<void>, work: () => Promise<void>): Promise<boolean> {
  await vhost.setTracing(true);
  await vhost.unbind(exchange, wireQueue, bindingKey);
  await unbind();
  await work();
  const bound = await vhost.isBound(exchange, serviceQueue).catch(() => false);
  await vhost.declareExchange(exchange);
  await vhost.bind(exchange, serviceQueue, bindingKey);
  await vhost.bind(exchange, wireQueue, bindingKey);
  await vhost.setTracing(false);
  return bound;
}
