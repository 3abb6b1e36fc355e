// Percent-encoded parts of the URLs in settings.

/**
 * @param what the part, as an issue names it
 * @param issue is called with a sentence, without the text itself, which may be secret; the result is then empty
 */
export function decode(what: string, text: string, issue: (what: string) => void): string {
  try {
    const decoded = decodeURIComponent(text);
    if (!decoded.includes('\0')) return decoded;
    issue(`has %00, a NUL character, in its ${what}: remove it.`);
  } catch {
    issue(`has a % in its ${what} that does not begin a character in UTF-8: write %25 for the % itself.`);
  }
  return '';
}
