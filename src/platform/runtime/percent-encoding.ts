// Percent-encoded parts of the URLs in settings.

/**
 * @param what the part, as a fault names it
 * @param fault is told in a sentence what is wrong, without the text itself, which may be secret; the result is then empty
 */
export function decode(what: string, text: string, fault: (what: string) => void): string {
  try {
    const decoded = decodeURIComponent(text);
    if (!decoded.includes('\0')) return decoded;
    fault(`has %00, a NUL character, in its ${what}: remove it.`);
  } catch {
    fault(`has a % in its ${what} that does not begin a character in UTF-8: write %25 for the % itself.`);
  }
  return '';
}
