// A schema as SQL, read from PostgreSQL's catalogues: the same text on every version that the service supports, on any day.
import pg from 'pg';

const tablesSql = `
  select c.oid, c.relname as name, pg_get_partkeydef(c.oid) as partitioned_by, pg_get_expr(c.relpartbound, c.oid) as bound,
    (select inhparent::regclass::text from pg_inherits where inhrelid = c.oid) as parent
  from pg_class as c
  where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
    -- The days of the event log come and go.
    and not (c.relispartition and c.relname ~ '^event_\\d{8}$')
  order by c.relname`;

const columnsSql = `
  select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required, a.attidentity as identity,
    pg_get_expr(d.adbin, d.adrelid) as default
  from pg_attribute as a
  left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
  order by a.attnum`;

// PostgreSQL 18 also lists not-null constraints (contype n); the columns say that already.
const constraintsSql = `
  select conname as name, pg_get_constraintdef(oid) as definition
  from pg_constraint
  where conrelid = $1 and contype <> 'n'
  order by conname`;

// An index that a constraint made is told by the constraint.
const indexesSql = `
  select pg_get_indexdef(indexrelid) as definition
  from pg_index
  where indrelid = $1 and not exists (select from pg_constraint where conindid = indexrelid)
  order by indexrelid::regclass::text`;

const triggersSql = `
  select pg_get_triggerdef(oid) as definition from pg_trigger where tgrelid = $1 and not tgisinternal order by tgname`;

const functionsSql = `
  select pg_get_functiondef(oid) as definition from pg_proc
  where pronamespace = 'public'::regnamespace and prokind = 'f' and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
  order by proname`;

type Table = { oid: number; name: string; partitioned_by: string | null; bound: string | null; parent: string | null };
type Column = { name: string; type: string; required: boolean; identity: string; default: string | null };

export async function describeSchema(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("set timezone = 'UTC'");
  try {
    const parts = ['-- Made by "npm run generate" from the migrations: how the schema stands after all of them.\n'];
    for (const { oid, name, partitioned_by, bound, parent } of (await client.query<Table>(tablesSql)).rows) {
      if (bound !== null) {
        parts.push(`create table ${pg.escapeIdentifier(name)} partition of ${parent} ${bound};\n`);
        continue;
      }
      const columns = (await client.query<Column>(columnsSql, [oid])).rows.map(describeColumn);
      const constraints = (await client.query<{ name: string; definition: string }>(constraintsSql, [oid])).rows.map(
        (constraint) => `constraint ${constraint.name} ${constraint.definition}`,
      );
      parts.push(
        `create table ${pg.escapeIdentifier(name)} (\n${[...columns, ...constraints].map((line) => `  ${line}`).join(',\n')}\n)${partitioned_by === null ? '' : ` partition by ${partitioned_by}`};`,
      );
      for (const sql of [indexesSql, triggersSql])
        for (const { definition } of (await client.query<{ definition: string }>(sql, [oid])).rows) parts.push(`${definition};`);
      parts.push('');
    }
    for (const { definition } of (await client.query<{ definition: string }>(functionsSql)).rows) parts.push(`${definition.trimEnd()};\n`);
    return parts.join('\n');
  } finally {
    await client.end();
  }
}

function describeColumn({ name, type, required, identity, default: byDefault }: Column): string {
  const generated = identity === 'a' ? ' generated always as identity' : '';
  return `${name} ${type}${generated}${byDefault === null ? '' : ` default ${byDefault}`}${required ? ' not null' : ''}`;
}
