// How deep and how wide a body may be: held before or while it is read, since a parser itself builds whatever it is sent.
import { Problem } from '../problem.ts';

export type Bounds = {
  /** Lists and objects inside each other. */
  readonly depthMax: number;
  /** Members of all lists and objects together; an empty one counts as one. */
  readonly membersMax: number;
};

/** Far from what any route reads, and near enough that the widest body costs little. */
export const bodyBounds: Bounds = { depthMax: 32, membersMax: 1000 };

/** @throws malformed_body */
export function checkDepth(depth: number, { depthMax }: Bounds): void {
  if (depth > depthMax) throw new Problem('malformed_body', `The body is nested more than ${depthMax} levels deep.`);
}

/** @throws malformed_body */
export function checkMembers(members: number, { membersMax }: Bounds): void {
  if (members > membersMax) throw new Problem('malformed_body', `The body has more than ${membersMax} members.`);
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Counts in UTF-8 text that may be JSON, in one pass: each list and object that opens, and each comma, is a member. What is no
 * JSON is left for the parser to refuse.
 *
 * @throws malformed_body
 */
export function checkJson(bytes: Buffer, bounds: Bounds): void {
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
        checkDepth(depth, bounds);
        checkMembers(members, bounds);
        break;
      case closeList:
      case closeObject:
        depth -= 1;
        break;
      case comma:
        members += 1;
        checkMembers(members, bounds);
        break;
    }
  }
}
