// How deep and how wide JSON is, held before it is parsed, since a parser builds whatever it is sent.

export type Bounds = {
  /** Lists and objects inside each other. */
  readonly depthMax: number;
  /** Members of all lists and objects together; an empty one counts as one. */
  readonly membersMax: number;
};

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Counts in UTF-8 text that may be JSON, in one pass: each list and object that opens, and each comma, is a member. What is no
 * JSON is left for the parser to refuse.
 *
 * @returns the first bound that is exceeded
 */
export function exceeded(bytes: Buffer, { depthMax, membersMax }: Bounds): 'depth' | 'members' | undefined {
  let depth = 0;
  let members = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    switch (bytes[at]) {
      case quote:
        // To the end of the text, past each escaped byte.
        for (at += 1; at < bytes.length && bytes[at] !== quote; at += 1) if (bytes[at] === backslash) at += 1;
        break;
      case openList:
      case openObject:
        depth += 1;
        members += 1;
        if (depth > depthMax) return 'depth';
        break;
      case closeList:
      case closeObject:
        depth -= 1;
        break;
      case comma:
        members += 1;
        break;
    }
    if (members > membersMax) return 'members';
  }
  return undefined;
}
