// Many rows by SQL: indexes that are made of a full table take a fraction of the time.

type Query = <Row extends object>(text: string) => Promise<readonly Row[]>;

/** Fills tables without their indexes but the primary keys, and makes them again. */
export async function withoutIndexes(query: Query, tables: readonly string[], fill: () => Promise<void>): Promise<void> {
  const indexes = await query<{ name: string; definition: string }>(
    `select relname as name, pg_get_indexdef(indexrelid) as definition from pg_index join pg_class on pg_class.oid = indexrelid
     where indrelid = any(array[${tables.map((table) => `'${table}'`).join(', ')}]::regclass[]) and not indisprimary`,
  );
  for (const { name } of indexes) await query(`drop index ${name}`);
  await fill();
  await query(`set maintenance_work_mem = '512MB'`);
  for (const { definition } of indexes) await query(definition);
}
