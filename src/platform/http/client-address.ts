// Which callers count as one, wherever a limit is by address.
import { isIPv4, isIPv6 } from 'node:net';

/**
 * The IPv4 address, or the /64 of an IPv6 address: one customer of a provider has at least that many, and may use another for
 * each connection (RFC 6177). An IPv4 address is the same where a socket for both families shows it as IPv6 (RFC 4291, 2.5.5.2).
 */
export function clientNetwork(address: string): string {
  const [unscoped = ''] = address.split('%');
  if (isIPv4(unscoped) || !isIPv6(unscoped)) return unscoped;
  const groups = groupsOf(unscoped);
  const [high = 0, low = 0] = groups.slice(6);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`;
}

function groupsOf(address: string): number[] {
  // The form that WHATWG URLs give an address has hexadecimal groups alone.
  const [left = '', right] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const read = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  const [before, after] = [read(left), read(right ?? '')];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}
