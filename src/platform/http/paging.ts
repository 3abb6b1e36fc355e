// Pages of a list by number.
import { type Static, type TSchema, Type } from 'typebox';

export const perPageDefault = 10;
const perPageMax = 100;

export const PageQuery = Type.Object(
  {
    page: Type.Optional(
      Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, default: 1, description: 'Number of the page.', examples: [1] }),
    ),
    per_page: Type.Optional(
      Type.Integer({ minimum: 1, maximum: perPageMax, default: perPageDefault, description: 'Entries of a page.', examples: [10] }),
    ),
  },
  { additionalProperties: false },
);
export type PageQuery = Static<typeof PageQuery>;

// Not required, so that pages of another kind fit the same schema.
const numbered = (minimum: number, description: string) =>
  Type.Optional(Type.Integer({ minimum, description: `${description} Always there for pages by number without a filter.` }));

/** @param id names the schema; `name` is the field that holds the entries */
export function Page<Name extends string, Item extends TSchema>(id: string, name: Name, item: Item) {
  return Type.Object(
    {
      [name]: Type.Array(item),
      total: numbered(0, 'Number of all entries, over all pages.'),
      page: numbered(1, 'Number of this page.'),
      per_page: numbered(1, 'Most entries of a page.'),
    } as Record<Name, ReturnType<typeof Type.Array<Item>>> & Record<'total' | 'page' | 'per_page', ReturnType<typeof numbered>>,
    { $id: id, additionalProperties: false },
  );
}
