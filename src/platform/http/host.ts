// The host that a request is for, in one spelling, and which hosts are this machine whatever a name server says.
import { clientNetwork } from './client-address.ts';

/** `port` is empty where none is written. */
export type Host = { readonly name: string; readonly port: string };

/**
 * @param text a host and perhaps a port, as in a Host header
 * @returns the name as WHATWG URLs write it: in lower case, addresses in one form, without the dot of the root
 */
export function parseHost(text: string): Host | undefined {
  const [, host = '', port = ''] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(text) ?? [];
  const name = URL.parse(`http://${host}`)?.hostname.replace(/\.$/, '');
  return name === undefined || name === '' ? undefined : { name, port };
}

/** Names that lead to this machine everywhere (RFC 6761, section 6.3), and its addresses: no name server can point them elsewhere. */
export function isLoopbackName(name: string): boolean {
  if (name === 'localhost' || name.endsWith('.localhost') || name === '[::1]') return true;
  return /^127\.\d+\.\d+\.\d+$/.test(clientNetwork(name.replace(/^\[(.*)\]$/, '$1')));
}
