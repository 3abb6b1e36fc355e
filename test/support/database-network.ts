// A network of its own to the PostgreSQL server of the tests: it is taken away, and brought back.
import { type Network, startNetwork } from '../../harness/network.ts';

/** `url` leads through it to the database that `databaseUrl` names. */
export async function startDatabaseNetwork(databaseUrl: string): Promise<Network & { readonly url: string }> {
  const { searchParams, port, username, pathname } = new URL(databaseUrl);
  const network = await startNetwork({ path: `${searchParams.get('host')}/.s.PGSQL.${port}` });
  return { ...network, url: `postgresql://${username}@127.0.0.1:${network.port}${pathname}?sslmode=disable` };
}
