-- Runs in the transaction of 0001_users.sql, ahead of it, where a table "user" is to be adopted: refuses in words what cannot be
-- adopted, and hands the highest id that was ever given out to that migration. Leaves nothing in the schema; may be edited.
do $$
declare
  adopted constant regclass := to_regclass('"user"');
  -- The first id to give out, where the operator names it: npm run migrate -- --next-id N.
  next_id constant bigint := nullif(current_setting('rollcall.next_id', true), '')::bigint;
  fault text;
  clock text;
  kind regtype;
  sequences oid[];
  present bigint;
  counted bigint;
  highest bigint;
  one record;
  value bigint;
  called boolean;
  owned text;
begin
  if adopted is null then
    return;
  end if;
  if (select relkind <> 'r' from pg_class where oid = adopted) then
    raise exception '"user" is no ordinary table, and only such a one can be adopted: rename it, or let DATABASE_URL lead to another database';
  end if;
  select format('the table "user" belongs to the role %I, and only its owner can adopt it: run alter table "user" owner to %I', pg_get_userbyid(relowner), current_user)
  into fault from pg_class where oid = adopted and not pg_has_role(relowner, 'usage');
  if fault is not null then
    raise exception '%', fault;
  end if;
  -- What is no table of the LiteStar service is for the migration to refuse.
  if (select count(*) < 4 from pg_attribute
      where attrelid = adopted and attname in ('id', 'name', 'surname', 'password') and not attisdropped) then
    return;
  end if;

  select format_type(atttypid, atttypmod) into fault from pg_attribute
  where attrelid = adopted and attname = 'id' and atttypid not in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype);
  if fault is not null then
    raise exception 'the column id of the table "user" is of type %, and ids must be whole numbers: give it the type bigint', fault;
  end if;
  select string_agg(coalesce(id::text, 'null'), ', ' order by id) into fault
  from (select id from "user" where id is null or id not between 1 and 9007199254740991 order by id limit 10) as outside;
  if fault is not null then
    raise exception 'users with an id that is not between 1 and 9007199254740991 (first ten): %; give them others, or delete them', fault;
  end if;
  -- Also on the key that is there: it may be one of other columns, and then two users may have one id.
  if not exists (
    select from pg_index
    where indrelid = adopted and indisunique and indisvalid and indpred is null and indnkeyatts = 1
      and indkey[0] = (select attnum from pg_attribute where attrelid = adopted and attname = 'id')
  ) then
    select string_agg(id::text, ', ' order by id) into fault
    from (select id from "user" group by id having count(*) > 1 order by id limit 10) as twice;
    if fault is not null then
      raise exception 'ids of more than one user (first ten): %; give each user an id of its own', fault;
    end if;
    if exists (select from pg_constraint where conrelid = adopted and contype = 'p') then
      raise exception 'the primary key of the table "user" is not the column id, and nothing else keeps ids unique: run alter table "user" add unique (id)';
    end if;
  end if;

  foreach clock in array array['created_at', 'updated_at'] loop
    select atttypid::regtype into kind from pg_attribute where attrelid = adopted and attname = clock and not attisdropped;
    if kind = 'date'::regtype then
      execute format('alter table "user" alter column %1$I drop default, alter column %1$I type timestamp using %1$I::timestamp', clock);
    elsif kind not in ('timestamp'::regtype, 'timestamptz'::regtype) then
      raise exception 'the column % of the table "user" is of type %: give it the type timestamp with time zone, or drop it', clock, kind;
    end if;
  end loop;

  -- SQLAlchemy's version counter, and others' of that name.
  select atttypid::regtype into kind from pg_attribute where attrelid = adopted and attname = 'version' and not attisdropped;
  if kind in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) then
    update "user" set version = 1 where version is null or version not between 1 and 9007199254740000;
    alter table "user" alter column version type bigint, alter column version set default 1, alter column version set not null;
  elsif kind is not null then
    raise exception 'the column version of the table "user" is of type %, and counts changes here: rename it', kind;
  end if;

  -- Sequences that may have given out ids: those that the column owns, that of its default, and those that belong to no other
  -- column and have a name by which SQLAlchemy, advanced-alchemy, Django or Hibernate would have made one for this table.
  select array_agg(distinct sequence.oid) into sequences
  from pg_class as sequence
  join pg_namespace as schema on schema.oid = relnamespace
  cross join (
    select attnum, (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = attrelid and adnum = attnum) as generated
    from pg_attribute where attrelid = adopted and attname = 'id'
  ) as id
  where relkind = 'S' and nspname !~ '^pg_' and (
    exists (
      select from pg_depend
      where classid = 'pg_class'::regclass and objid = sequence.oid and deptype in ('a', 'i')
        and refclassid = 'pg_class'::regclass and refobjid = adopted and refobjsubid = attnum
    )
    -- nextval() of a constant of type regclass, or of type text.
    or exists (
      select from pg_depend join pg_attrdef on pg_attrdef.oid = objid
      where classid = 'pg_attrdef'::regclass and adrelid = adopted and adnum = attnum
        and refclassid = 'pg_class'::regclass and refobjid = sequence.oid
    )
    or sequence.oid = to_regclass(substring(generated from $re$nextval\(\(?'([^']+)'$re$))
    or relname ~* '(^|_)users?(_id)?_?seq(uence)?[0-9]*$|^(s|sq|seq)_users?(_id)?$'
      and (relnamespace = (select relnamespace from pg_class where oid = adopted)
        or not exists (select from pg_class as other where other.relnamespace = sequence.relnamespace and other.relname ~* '^users?$'))
      and not exists (
        select from pg_depend
        where classid = 'pg_class'::regclass and objid = sequence.oid and deptype in ('a', 'i') and refclassid = 'pg_class'::regclass
      )
      and not exists (
        select from pg_depend
        where classid = 'pg_attrdef'::regclass and refclassid = 'pg_class'::regclass and refobjid = sequence.oid
      )
  );
  if sequences is null and next_id is null then
    raise exception 'no sequence has counted the ids of the table "user", so which of deleted users were given out cannot be known: run npm run migrate -- --next-id N once, with an N above every id there ever was (% is the highest now)',
      (select coalesce(max(id), 0) from "user");
  end if;

  select coalesce(max(id), 0) into present from "user";
  counted := 0;
  for one in
    select oid::regclass as name, seqincrement as step, seqstart as start from pg_class join pg_sequence on seqrelid = oid
    where oid = any (sequences)
  loop
    execute format('select last_value, is_called from %s', one.name) into value, called;
    -- With a step above 1 its client may have given out the ids up to the next step (Hibernate's pooled optimizer). One that was
    -- not called since it was set, as after "restart with", gives out last_value itself next.
    value := case
      when one.step < 0 then greatest(one.start, value)
      when called then value + one.step - 1
      else value - 1
    end;
    counted := greatest(counted, value);
  end loop;
  highest := greatest(present, counted, next_id - 1);
  if highest >= 9007199254740991 then
    raise exception 'the ids of the table "user" have been counted up to %, and there is none above 9007199254740990 to go on with: set the sequence % back', highest, array_to_string(sequences::regclass[], ' or ');
  end if;
  if counted < present and next_id is null then
    raise warning 'Ids of users go on after %, the highest that is there: no sequence has counted so far. If a user with a higher id was ever deleted, run npm run migrate -- --next-id N with an N above it', highest;
  end if;

  -- 0001_users.sql reads the sequence that the column owns, and drops it.
  owned := pg_get_serial_sequence('"user"', 'id');
  if owned is not null and exists (
    select from pg_depend join pg_attrdef on pg_attrdef.oid = objid
    where classid = 'pg_attrdef'::regclass and refclassid = 'pg_class'::regclass and refobjid = owned::regclass and adrelid <> adopted
  ) then
    -- Another table draws from it.
    execute format('alter sequence %s owned by none', owned);
    owned := null;
  end if;
  if owned is null then
    select format('%I.user_id_adopted', nspname) into owned
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace where pg_class.oid = adopted;
    execute format('create sequence %s as bigint owned by "user".id', owned);
  else
    -- Whatever its bounds were: the highest may be that of another.
    execute format('alter sequence %s as bigint increment 1 minvalue 1 no maxvalue start 1 restart 1', owned);
  end if;
  if highest > 0 then
    perform setval(owned::regclass, highest);
  end if;
end
$$;
