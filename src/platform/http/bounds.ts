// How deep and how wide a body may be: held before or while it is read, since a parser itself builds whatever it is sent.
import { Problem, problems } from '../problem.ts';
import { type Bounds, exceeded } from '../runtime/json-bounds.ts';

/** Far from what any route reads, and near enough that the widest body costs little. */
export const bodyBounds: Bounds = { depthMax: 32, membersMax: 2000 };

/** @throws malformed_body */
export function checkDepth(depth: number, { depthMax }: Bounds): void {
  if (depth > depthMax) throw new Problem(problems.malformed_body, `The body is nested more than ${depthMax} levels deep.`);
}

/** @throws malformed_body */
export function checkMembers(members: number, { membersMax }: Bounds): void {
  if (members > membersMax) throw new Problem(problems.malformed_body, `The body has more than ${membersMax} members.`);
}

/** JSON, before it is parsed. @throws malformed_body */
export function checkJson(bytes: Buffer, bounds: Bounds): void {
  const bound = exceeded(bytes, bounds);
  if (bound === 'depth') checkDepth(bounds.depthMax + 1, bounds);
  if (bound === 'members') checkMembers(bounds.membersMax + 1, bounds);
}
