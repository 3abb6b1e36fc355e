// Addresses of e-mail: which texts are one, and when two are the same.
import { domainToASCII } from 'node:url';
import { fold } from './folding.ts';

/** Octets (RFC 5321, section 4.5.3.1). */
const octetsMax = { local: 64, domain: 255, address: 254 };
// RFC 5322, section 3.2.3, and with RFC 6531 any other script. No quoted texts and no comments, which next to no service delivers to.
const localPattern = /^[^\s\p{C}"(),:;<>@[\\\]]+$/u;
const isDotAtom = (text: string) => localPattern.test(text) && !/^\.|\.\.|\.$/.test(text);
// Before the conversion, which reads escapes, drops characters and makes an address of 127.1.
const domainPattern = /^[\p{L}\p{M}\p{N}-]+(?:\.[\p{L}\p{M}\p{N}-]+)+$/u;
const asciiLabel = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The form by which two addresses are the same one: the local part folded, the domain in ASCII. Dots and plus-tags tell addresses apart,
 * as they do for most servers.
 * @returns undefined for what is no address
 */
export function emailKey(text: string): string | undefined {
  const at = text.lastIndexOf('@');
  const [typed, domain] = [text.slice(0, at), text.slice(at + 1)];
  const octets = Buffer.byteLength;
  if (at < 1 || octets(text) > octetsMax.address || octets(typed) > octetsMax.local || !domainPattern.test(domain)) return undefined;
  const local = fold(typed);
  // Folding can make an "@" of a full-width one.
  if (!isDotAtom(typed.replace(/\p{Default_Ignorable_Code_Point}/gu, '')) || !isDotAtom(local)) return undefined;
  const ascii = domainToASCII(domain).toLowerCase();
  const labels = ascii.split('.');
  const isDomain =
    octets(ascii) <= octetsMax.domain && labels.every((label) => asciiLabel.test(label)) && !/^\d+$/.test(labels.at(-1) ?? '');
  return isDomain ? `${local}@${ascii}` : undefined;
}
