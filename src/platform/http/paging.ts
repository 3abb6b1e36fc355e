// Pages of a list: by number, or from a key on.
import type { Static, TOptional, TSchema, TString } from 'typebox';
import { Type } from '../runtime/schema.ts';
import { cursorRules } from './cursor.ts';

export const perPageDefault = 10;
const perPageMax = 100;
export const limitDefault = 100;
const limitMax = 1000;
/** A cursor holds what the entries are ordered by. */
const afterLengthMax = 2000;
const numbers = ['page', 'per_page'];
export const cursorExample = 'IhM-inVzZXJzOjQ3MTE';

export const PageQuery = Type.Object(
  {
    page: Type.Optional(
      Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, default: 1, description: 'Number of the page.', examples: [1] }),
    ),
    per_page: Type.Optional(
      Type.Integer({ minimum: 1, maximum: perPageMax, default: perPageDefault, description: 'Entries of a page.', examples: [10] }),
    ),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: limitMax,
        default: limitDefault,
        'x-excludes': numbers,
        description: 'Most entries of a page from `after` on, which costs the same wherever it is. Not with `page` or `per_page`.',
        examples: [100],
      }),
    ),
    after: Type.Optional(
      Type.String({
        ...cursorRules,
        maxLength: afterLengthMax,
        'x-excludes': numbers,
        description: 'Cursor: the `next` of the page before. Not with `page` or `per_page`.',
        examples: [cursorExample],
      }),
    ),
    count: Type.Optional(
      Type.Enum(['true', 'false'], {
        description: '`true`: also a page from `after` on, or with a filter, has `total`.',
        examples: ['true'],
      }),
    ),
  },
  { additionalProperties: false },
);
export type PageQuery = Static<typeof PageQuery>;

// Not required, so that pages of another kind fit the same schema.
const numbered = (minimum: number, description: string) =>
  Type.Optional(Type.Integer({ minimum, description: `${description} Always there for pages by number without a filter.` }));

/** @param id names the schema; `name` is the field that holds the entries, `others` are beside them */
export function Page<Name extends string, Item extends TSchema>(id: string, name: Name, item: Item, others: Record<string, TSchema> = {}) {
  return Type.Object(
    {
      [name]: Type.Array(item),
      total: numbered(0, 'Number of all entries, over all pages.'),
      page: numbered(1, 'Number of this page.'),
      per_page: numbered(1, 'Most entries of a page.'),
      ...others,
      next: Type.Optional(
        Type.String({
          description:
            'Cursor of the next page, of pages from `after` on and of those with a sort or filter. Not there: this is the last one.',
          examples: [cursorExample],
        }),
      ),
    } as Record<Name, ReturnType<typeof Type.Array<Item>>> &
      Record<'total' | 'page' | 'per_page', ReturnType<typeof numbered>> & { next: TOptional<TString> },
    { $id: id, additionalProperties: false },
  );
}
