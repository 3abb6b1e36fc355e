// What may be asked of the list of users: sorts and filters, and which of them go together. Each that does has an index; any other is
// refused with what would do instead, and is never slow.
import type { TSchema } from 'typebox';
import { Problem, problems, type Violation } from '../../platform/problem.ts';
import { Type } from '../../platform/runtime/schema.ts';
import { statuses } from './fields.ts';
import { type IdentifierKind, identifiers } from './identifiers.ts';
import { problems as own } from './problems.ts';
import { idMax } from './schemas.ts';

export const sortNames = ['id', 'created_at', 'updated_at', 'name', 'surname', 'email', 'username'] as const;
export type SortName = (typeof sortNames)[number];
/** By a name, and then by id; users of the same name by surname, and the other way round. */
export type Sort = { readonly by: SortName; readonly isDescending: boolean };

/** What a second name may add, since the index has it anyway. */
const seconds: Readonly<Partial<Record<SortName, SortName>>> = { name: 'surname', surname: 'name' };

const idsMax = 100;
const anySort = `-?(${sortNames.join('|')})`;
const named = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 320, description }));
const instant = (description: string) =>
  Type.Optional(
    Type.String({
      format: 'instant',
      'x-documented': { format: 'date-time' },
      description,
      examples: ['2025-01-01T10:00:00Z'],
    }),
  );

const exactNames = ['ids', 'email', 'username', 'external_id'] as const;
const spans = ['created', 'updated'] as const;
type Span = (typeof spans)[number];

export const listParameters = {
  sort: Type.Optional(
    Type.String({
      pattern: `^${anySort}(,${anySort}){0,${sortNames.length - 1}}$`,
      'x-pattern-message': `must be names by comma, each perhaps with - ahead, of ${sortNames.join(', ')}`,
      description: `The order: ${sortNames.map((name) => `\`${name}\``).join(', ')}, with \`-\` ahead from the last to the first. Names go by their letters without case and accents; users without an email or username come last. Several: \`name,surname\` or \`surname,name\`. Left out: by what is filtered by a time, by relevance with \`q\`, else by \`id\`.`,
      examples: ['surname,name'],
    }),
  ),
  status: Type.Optional(Type.Enum([...statuses], { description: 'Users of this status.' })),
  email: named('The user with this email, in any spelling.'),
  username: named('The user with this username, in any spelling.'),
  external_id: named('The user with this external id.'),
  ids: Type.Optional(
    Type.String({
      pattern: `^[1-9][0-9]{0,15}(,[1-9][0-9]{0,15}){0,${idsMax - 1}}$`,
      'x-pattern-message': `must be ids by comma, at most ${idsMax}`,
      'x-documented': {
        type: 'array',
        items: { type: 'integer', minimum: 1, maximum: idMax },
        minItems: 1,
        maxItems: idsMax,
      },
      description: `Users with these ids, by comma, at most ${idsMax}.`,
      examples: ['1,2'],
    }),
  ),
  created_after: instant('Users made after this time.'),
  created_before: instant('Users made before this time.'),
  updated_after: instant('Users changed after this time.'),
  updated_before: instant('Users changed before this time.'),
  q: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      description:
        'Users whose full name, surname, email or username holds this text, without case and accents: first those of which one is it, then those of which one begins with it. One or two letters find only what begins with them.',
      examples: ['doe'],
    }),
  ),
};

const attributePrefix = 'attributes.';

/** The filters by attributes that have an index: names of parameters. */
export function attributeParameters(paths: readonly string[]): Record<string, TSchema> {
  return Object.fromEntries(
    paths.map((path) => [
      `${attributePrefix}${path}`,
      Type.Optional(
        Type.String({
          maxLength: 1000,
          description: `Users whose attribute \`${path}\` is this, as JSON writes it, texts without quotes.`,
        }),
      ),
    ]),
  );
}

export type ListQuery = {
  readonly sort?: string;
  readonly status?: string;
  readonly ids?: string;
  readonly q?: string;
} & { readonly [Name in (typeof exactNames)[number] | `${Span}_${'after' | 'before'}`]?: string };

/** What a list holds, beside `status`. Where there is `exact`, at most so many users are looked at, and anything goes with it. */
export type ListFilter = {
  readonly status: string | undefined;
  readonly exact:
    | { readonly ids: readonly string[] | undefined; readonly keys: readonly (readonly [IdentifierKind, string])[] }
    | undefined;
  readonly times: readonly { readonly column: `${Span}_at`; readonly operator: '>' | '<'; readonly value: string }[];
  readonly attributes: readonly { readonly path: string; readonly value: string }[];
  readonly q: string | undefined;
};
/** `sort` is undefined for the order of relevance. */
export type List = ListFilter & { readonly sort: Sort | undefined };

export const isFiltered = ({ status, exact, times, attributes, q }: ListFilter) =>
  status !== undefined || exact !== undefined || times.length > 0 || attributes.length > 0 || q !== undefined;

/** @throws unsupported_query */
export function readList(query: ListQuery, paths: readonly string[]): List {
  const given = query as Readonly<Record<string, string | undefined>>;
  const times = spans.flatMap((span) =>
    (['after', 'before'] as const).flatMap((bound) => {
      const value = given[`${span}_${bound}`];
      return value === undefined ? [] : [{ column: `${span}_at`, operator: bound === 'after' ? '>' : '<', value } as const];
    }),
  );
  const attributes = Object.entries(given).flatMap(([name, value]) =>
    name.startsWith(attributePrefix) && value !== undefined ? [{ path: name.slice(attributePrefix.length), value }] : [],
  );
  const unknown = attributes.find(({ path }) => !paths.includes(path));
  if (unknown !== undefined) {
    const known = paths.length === 0 ? 'none is' : `these are: ${paths.join(', ')}`;
    refuse(`${attributePrefix}${unknown.path}`, `is not marked as indexed in USER_ATTRIBUTES_SCHEMA; ${known}`);
  }
  const exact = exactNames.some((name) => given[name] !== undefined) ? readExact(query) : undefined;
  const filter: ListFilter = {
    status: query.status,
    exact,
    times,
    attributes,
    q: query.q
      ?.replaceAll(/\p{Cc}+/gu, ' ')
      .normalize('NFC')
      .trim(),
  };
  const sort = readSort(query.sort);
  return { ...filter, sort: exact === undefined ? servedSort(filter, sort) : (sort ?? (filter.q === undefined ? byId : undefined)) };
}

const byId: Sort = { by: 'id', isDescending: false };

function readExact(query: ListQuery): NonNullable<ListFilter['exact']> {
  const keys = (['email', 'username', 'external_id'] as const).flatMap((kind) => {
    const typed = query[kind];
    // PostgreSQL holds no U+0000, so nobody has one.
    return typed === undefined ? [] : [[kind, identifiers[kind].keyOf(typed.replaceAll('\0', '\ufffd').normalize('NFC').trim())] as const];
  });
  const ids = query.ids?.split(',');
  if (ids?.some((id) => Number(id) > idMax)) {
    const violations: Violation[] = [{ key: 'ids', message: `must be ids of 1 to ${idMax}`, source: 'query' }];
    throw new Problem(problems.validation_failed, 'Validation failed for GET /users/', { violations });
  }
  return { ids, keys };
}

/** What comes behind an id orders nothing. @throws unsupported_query */
function readSort(text: string | undefined): Sort | undefined {
  if (text === undefined) return undefined;
  const parts = text.split(',').map((part) => ({ by: part.replace('-', '') as SortName, isDescending: part.startsWith('-') }));
  if (new Set(parts.map(({ by }) => by)).size < parts.length) refuse('sort', 'must name each once');
  const [first, ...others] = parts.slice(0, parts.findIndex(({ by }) => by === 'id') + 1 || parts.length) as [Sort, ...Sort[]];
  const isServed = others.every(({ by }, n) => by === 'id' || (n === 0 && by === seconds[first.by]));
  if (!isServed || others.some(({ isDescending }) => isDescending !== first.isDescending)) {
    const pairs = Object.entries(seconds).map((pair) => pair.join(','));
    refuse('sort', `must be one of ${[...sortNames, ...pairs].join(' ')}, perhaps with id behind it; with - ahead of each, or of none`);
  }
  return first;
}

/** @throws unsupported_query where no index serves the filters, or none in this order */
function servedSort({ times, attributes, q }: ListFilter, sort: Sort | undefined): Sort | undefined {
  const columns = [...new Set(times.map(({ column }) => column))];
  const kinds = [
    ...columns.map((column) => ({
      name: `${column.replace('_at', '')}_after or ${column.replace('_at', '')}_before`,
      sorts: [column] as const,
    })),
    ...attributes.map(({ path }) => ({ name: `${attributePrefix}${path}`, sorts: ['id'] as const })),
    ...(q === undefined ? [] : [{ name: 'q', sorts: ['id'] as const }]),
  ];
  const [kind, second] = kinds;
  if (second !== undefined) {
    const cure = `send one of them, or one of ${exactNames.join(', ')} as well`;
    refuse(second.name.split(' ')[0] ?? '', `does not go with ${kind?.name}: ${cure}`);
  }
  if (kind === undefined) return sort ?? byId;
  if (sort === undefined) return q === undefined ? { by: kind.sorts[0], isDescending: false } : undefined;
  if ((kind.sorts as readonly string[]).includes(sort.by)) return sort;
  const others = kind.sorts.flatMap((by) => [by, `-${by}`]).join(' or ');
  return refuse('sort', `must be ${others} with ${kind.name}${q === undefined ? '' : ', or left out for the order of relevance'}`);
}

function refuse(key: string, message: string): never {
  const violations: Violation[] = [{ key, message, source: 'query' }];
  throw new Problem(own.unsupported_query, `No index serves this list: ${key} ${message}.`, { violations });
}
