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

/** @param id names the schema; `name` is the field that holds the entries */
export function Page<Name extends string, Item extends TSchema>(id: string, name: Name, item: Item) {
  return Type.Object(
    {
      [name]: Type.Array(item),
      total: Type.Integer({ minimum: 0, description: 'Number of all entries, over all pages.' }),
      page: Type.Integer(),
      per_page: Type.Integer(),
    } as Record<Name, ReturnType<typeof Type.Array<Item>>> & Record<'total' | 'page' | 'per_page', ReturnType<typeof Type.Integer>>,
    { $id: id, additionalProperties: false },
  );
}
