// Where the server listens; an address that it cannot have is the operator's to mend.
import type { AddressInfo } from 'node:net';
import type { App } from './server.ts';

/** HOST and PORT cannot be listened on; the message is a sentence for the operator. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/** @returns the URL; port 0 takes a free one. @throws ListenError */
export async function listen(app: App, host: string, port: number): Promise<string> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw new ListenError(sentence((error as NodeJS.ErrnoException).code, host, port), { cause: error });
  }
  const { port: taken } = app.server.address() as AddressInfo;
  return `http://${host.includes(':') ? `[${host}]` : host}:${taken}`;
}

function sentence(code: string | undefined, host: string, port: number): string {
  if (code === 'EADDRINUSE') return `Port ${port} is taken: stop what listens there, or set PORT.`;
  if (code === 'EACCES') return `PORT ${port} is only for accounts with more rights: set PORT to one from 1024 on.`;
  if (code === 'EADDRNOTAVAIL') return `HOST ${host} is no address of this machine: set HOST to one of its addresses, or to 127.0.0.1.`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `HOST ${host} is a name without an address (${code}): set HOST to an address.`;
  return `HOST ${host} and PORT ${port} cannot be listened on (${code}): set others.`;
}
