// Formats of texts beyond those of JSON Schema, with the words for a text that has not the form.
import { emailKey } from '../runtime/email.ts';
import { fold, skeleton } from '../runtime/folding.ts';

type Format = { readonly accepts: (text: string) => boolean; readonly message: string };

/** Octets. What is unique stands in an index, whose entries PostgreSQL bounds at 2,704. */
const keyOctetsMax = 1000;

const instantPattern = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-](?:0\d|1[0-4]):[0-5]\d)$/;

function isInstant(text: string): boolean {
  if (!instantPattern.test(text)) return false;
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split('-').map(Number);
  const date = new Date(Date.UTC(2000, month - 1, day));
  date.setUTCFullYear(year, month - 1, day);
  // A day that the month does not have would be read as one of the next.
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return false;
  const at = new Date(text.toUpperCase().replace(' ', 'T'));
  return !Number.isNaN(at.getTime()) && at.getUTCFullYear() >= 1 && at.getUTCFullYear() <= 9999;
}

/** @returns undefined for what is no language tag */
export function canonicalLocale(text: string): string | undefined {
  try {
    return Intl.getCanonicalLocales(text)[0];
  } catch {
    return undefined;
  }
}

/**
 * With the letters' case as the database of time zones has it, where the zone has that name there today; an older name stays as it is.
 * @returns undefined for what is no name: Intl takes offsets too
 */
export function canonicalTimeZone(text: string): string | undefined {
  if (!/^[A-Za-z]/.test(text)) return undefined;
  try {
    const { timeZone } = new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions();
    return timeZone.toLowerCase() === text.toLowerCase() ? timeZone : text;
  } catch {
    return undefined;
  }
}

const isKey = (text: string) => text !== '' && Buffer.byteLength(text) <= keyOctetsMax;

export const formats: Readonly<Record<string, Format>> = {
  'idn-email': { accepts: (text) => emailKey(text) !== undefined, message: 'must be an e-mail address' },
  username: {
    accepts: (text) => isKey(fold(text)) && isKey(skeleton(text)),
    message: 'must hold visible text, and be shorter',
  },
  locale: { accepts: (text) => canonicalLocale(text) !== undefined, message: 'must be a language tag (BCP 47), such as de-CH' },
  'time-zone': {
    accepts: (text) => canonicalTimeZone(text) !== undefined,
    message: 'must be the name of a time zone (IANA), such as Europe/Berlin',
  },
  instant: {
    accepts: isInstant,
    message: 'must be a time with its offset (RFC 3339), such as 2025-01-01T10:00:00Z, of the years 1 to 9999',
  },
};
