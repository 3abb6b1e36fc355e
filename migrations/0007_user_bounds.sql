-- What keeps every user within what the API can show, and ids of deleted users from coming back. Quick on a table of any size;
-- what reads the whole table stands in 0008_user_repair.sql.
do $$
declare
  clock text;
  highest bigint := 0;
  present bigint;
  one record;
  value bigint;
begin
  -- Waits for the lock in short turns, since everybody else would queue behind a long one.
  set local lock_timeout = '500ms';
  for turn in 1..60 loop
    begin
      foreach clock in array array['created_at', 'updated_at'] loop
        -- A table adopted earlier may keep whole days, or fewer digits than the microseconds by which updated_at grows.
        if (select atttypid = 'date'::regtype from pg_attribute where attrelid = '"user"'::regclass and attname = clock) then
          execute format('alter table "user" alter column %1$I drop default, alter column %1$I type timestamptz using %1$I::timestamp at time zone ''UTC'', alter column %1$I set default now()', clock);
        elsif (select atttypmod <> -1 from pg_attribute where attrelid = '"user"'::regclass and attname = clock) then
          execute format('alter table "user" alter column %I type timestamptz', clock);
        end if;
      end loop;
      alter table "user" add constraint user_timestamps_range check (
        created_at >= '0001-01-01 00:00:00+00' and created_at < '10000-01-01 00:00:00+00'
        and updated_at >= '0001-01-01 00:00:00+00' and updated_at < '10000-01-01 00:00:00+00'
      ) not valid;
      exit;
    exception when lock_not_available then
      if turn = 60 then
        raise exception 'the table "user" was locked by other sessions for a minute: end their transactions (pg_stat_activity shows them) and start again';
      end if;
      perform pg_sleep(0.5);
    end;
  end loop;

  -- A table that was adopted before 0001_users.before.sql came: its ids may have been counted by a sequence that belongs to no
  -- column, by the names that SQLAlchemy, advanced-alchemy, Django and Hibernate give them.
  for one in
    select sequence.oid::regclass as name, seqincrement as step
    from pg_class as sequence join pg_namespace as schema on schema.oid = relnamespace join pg_sequence on seqrelid = sequence.oid
    where nspname !~ '^pg_' and relname ~* '(^|_)users?(_id)?_?seq(uence)?[0-9]*$|^(s|sq|seq)_users?(_id)?$' and seqincrement > 0
      and (relnamespace = (select relnamespace from pg_class where oid = '"user"'::regclass)
        or not exists (select from pg_class as other where other.relnamespace = sequence.relnamespace and other.relname ~* '^users?$'))
      and not exists (
        select from pg_depend
        where classid = 'pg_class'::regclass and objid = sequence.oid and deptype in ('a', 'i') and refclassid = 'pg_class'::regclass
      )
      and not exists (
        select from pg_depend
        where classid = 'pg_attrdef'::regclass and refclassid = 'pg_class'::regclass and refobjid = sequence.oid
      )
      and has_schema_privilege(schema.oid, 'usage') and has_sequence_privilege(sequence.oid, 'select')
  loop
    execute format('select case when is_called then last_value + %s else last_value end - 1 from %s', one.step, one.name) into value;
    if value < 9007199254740991 then
      highest := greatest(highest, value);
    end if;
  end loop;
  execute format('select case when is_called then last_value else last_value - 1 end from %s', pg_get_serial_sequence('"user"', 'id')) into present;
  if highest > present then
    perform setval(pg_get_serial_sequence('"user"', 'id'), highest);
    raise warning 'Ids of users go on after % instead of %: a sequence that belonged to no column had counted so far', highest, present;
  end if;
end
$$;
