-- The users. A table that the LiteStar service made is adopted with its rows and ids; its passwords, kept as they were
-- typed, are then hashed by `npm run migrate` (the index user_password_plaintext says that this is still to be done).
do $$
declare
  fault text;
  old_sequence text;
  last_id bigint;
  clock text;
begin
  if to_regclass('"user"') is null then
    create table "user" (
      id bigint generated always as identity primary key,
      name text not null,
      surname text not null,
      password text not null,
      version bigint not null default 1,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
  else
    select string_agg(wanted, ', ' order by wanted) into fault
    from unnest(array['id', 'name', 'surname', 'password']) as wanted
    where not exists (
      select from pg_attribute
      where attrelid = '"user"'::regclass and attname = wanted and not attisdropped
    );
    if fault is not null then
      raise exception 'the table "user" exists but lacks the column(s) %: it is not the table of the LiteStar service', fault;
    end if;
    -- A column of somebody else's that must be filled would refuse every new user.
    select string_agg(attname, ', ' order by attname) into fault
    from pg_attribute
    where attrelid = '"user"'::regclass and attnum > 0 and not attisdropped and attnotnull and not atthasdef and attidentity = ''
      and attname not in ('id', 'name', 'surname', 'password', 'version', 'created_at', 'updated_at');
    if fault is not null then
      raise exception 'the table "user" has column(s) that must be filled and have no default: %', fault;
    end if;
    select string_agg(id::text, ', ' order by id) into fault
    from (select id from "user" where name is null or surname is null or password is null order by id limit 10) as holes;
    if fault is not null then
      raise exception 'users without name, surname or password (first ten ids): %', fault;
    end if;

    -- Ids go on after the highest that was ever given out, so that no id of a deleted user comes back.
    select coalesce(max(id), 0) into last_id from "user";
    old_sequence := pg_get_serial_sequence('"user"', 'id');
    if old_sequence is not null then
      last_id := greatest(last_id, coalesce(pg_sequence_last_value(old_sequence::regclass), 0));
    end if;
    alter table "user" alter column id drop identity if exists;
    alter table "user" alter column id drop default;
    if old_sequence is not null then
      execute 'drop sequence if exists ' || old_sequence;
    end if;
    alter table "user" alter column id type bigint;
    execute format('alter table "user" alter column id add generated always as identity (start with %s)', last_id + 1);
    if not exists (select from pg_constraint where conrelid = '"user"'::regclass and contype = 'p') then
      alter table "user" add primary key (id);
    end if;

    alter table "user"
      alter column name type text, alter column name set not null,
      alter column surname type text, alter column surname set not null,
      alter column password type text, alter column password set not null,
      add column if not exists version bigint not null default 1,
      add column if not exists created_at timestamptz not null default now(),
      add column if not exists updated_at timestamptz not null default now();
    foreach clock in array array['created_at', 'updated_at'] loop
      -- Without a time zone they were written in UTC.
      if (select atttypid = 'timestamp'::regtype from pg_attribute where attrelid = '"user"'::regclass and attname = clock) then
        execute format('alter table "user" alter column %1$I drop default, alter column %1$I type timestamptz using %1$I at time zone ''UTC''', clock);
      end if;
      execute format('update "user" set %1$I = now() where %1$I is null', clock);
      execute format('alter table "user" alter column %1$I set default now(), alter column %1$I set not null', clock);
    end loop;

    execute $index$create index user_password_plaintext on "user" (id) where password not like '$argon2id$%'$index$;
  end if;
end
$$;

-- JSON numbers are exact up to 2^53 - 1 (RFC 8259, section 6).
alter table "user" add constraint user_id_safe_integer check (id between 1 and 9007199254740991);
create index if not exists user_created_at_idx on "user" (created_at);
