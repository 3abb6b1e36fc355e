// Carries over a cluster of an earlier version, in which the service's role was the superuser that made the cluster.
import pg from 'pg';

// `reassign owned` refuses the role that made the cluster, because the system's own objects are its (pg_shdepend.c).
const giveObjectsSql = (from: string, to: string) => `
  do $$
  declare
    thing record;
  begin
    for thing in
      with mine as (
        select n.oid, quote_ident(n.nspname) as schema, n.nspowner = ${from} as owned
        from pg_namespace as n
        where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      ), extended as (
        select classid, objid from pg_depend where deptype = 'e'
      )
      select 1 as step, format('schema %s', schema) as named from mine where owned
      union all
      -- Indexes, and sequences that belong to a column, go with their table.
      select 2, format('%s %s.%I', case relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view'
          when 'f' then 'foreign table' else 'table' end, schema, relname)
      from pg_class as c join mine on mine.oid = relnamespace
      where relowner = ${from} and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        and (relkind <> 'S' or not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype in ('a', 'i')))
        and ('pg_class'::regclass, c.oid) not in (select classid, objid from extended)
      union all
      select 3, format('routine %s', p.oid::regprocedure)
      from pg_proc as p join mine on mine.oid = pronamespace
      where proowner = ${from} and ('pg_proc'::regclass, p.oid) not in (select classid, objid from extended)
      union all
      -- A table's row type and an array's type go with what they are made of.
      select 4, format('type %s.%I', schema, typname)
      from pg_type as t join mine on mine.oid = typnamespace
      where typowner = ${from} and typtype in ('b', 'c', 'd', 'e', 'r') and typcategory <> 'A'
        and (typrelid = 0 or exists (select from pg_class where oid = typrelid and relkind = 'c'))
        and ('pg_type'::regclass, t.oid) not in (select classid, objid from extended)
      order by step
    loop
      execute format('alter %s owner to ${to}', thing.named);
    end loop;
  end
  $$`;

/**
 * Renames the superuser to `admin`, and makes `service` anew as an ordinary role that owns the database of `url` and what is in it.
 * One transaction: all of it or nothing.
 */
export async function splitRoles(url: string, service: string, admin: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    const { database = '' } = client;
    // No session can rename its own role, so for a moment this one has another.
    const steps = [
      'begin',
      `create role ${admin}_for_now superuser`,
      `set local session authorization ${admin}_for_now`,
      `alter role ${service} rename to ${admin}`,
      'set local session authorization default',
      `drop role ${admin}_for_now`,
      `create role ${service} login`,
      `alter database ${pg.escapeIdentifier(database)} owner to ${service}`,
      giveObjectsSql(`'${admin}'::regrole`, service),
      'commit',
    ];
    for (const step of steps) await client.query(step);
  } finally {
    await client.end().catch(() => {});
  }
}
