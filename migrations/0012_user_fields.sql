-- What systems know of a user beside the name: identifiers, status, attributes, locale, time zone. Old versions go on beside it: to them
-- the new columns are those of somebody else.
-- oldest code: 0.2.0
-- step
-- What is unique over all users, by a form in which the same is spelt the same (src/features/users/identifiers.ts). Without a foreign key:
-- the tables may be distributed by different columns.
create table identifier (
  kind text not null,
  value text not null,
  user_id bigint not null,
  primary key (kind, value)
);

-- Beside the user: a sign-in is no change of the user, and must not wait for one.
create table user_login (
  user_id bigint primary key,
  last_login_at timestamptz not null
);

do $do$
declare
  taken text;
begin
  select string_agg(attname, ', ' order by attnum) into taken from pg_attribute
  where attrelid = '"user"'::regclass and attnum > 0 and not attisdropped and attname in (
    'email', 'email_key', 'username', 'username_key', 'username_skeleton', 'external_id', 'status', 'attributes', 'locale', 'time_zone',
    'email_verified_at', 'last_login_at'
  );
  if taken is not null then
    raise exception 'the table "user" has column(s) of its own by names that this version needs: %; rename them (alter table "user" rename column ...), start again, and bring what they hold in through the API', taken;
  end if;

  -- With the rights of the owner of the tables, as those of 0011_user_count.sql.
  execute format($f$
    create or replace function count_inserted_users() returns trigger language plpgsql security definer as $$
    begin
      if exists (select from inserted offset 1) then
        insert into %1$I.user_count_delta (block, status, delta)
        select id operator(pg_catalog./) 1000, status, pg_catalog.count(*) from inserted group by 1, 2;
      else
        insert into %1$I.user_count_delta (block, status, delta) select id operator(pg_catalog./) 1000, status, 1 from inserted;
      end if;
      return null;
    end $$;
    create or replace function count_deleted_users() returns trigger language plpgsql security definer as $$
    begin
      if exists (select from deleted offset 1) then
        insert into %1$I.user_count_delta (block, status, delta)
        select id operator(pg_catalog./) 1000, status, operator(pg_catalog.-) pg_catalog.count(*) from deleted group by 1, 2;
      else
        insert into %1$I.user_count_delta (block, status, delta) select id operator(pg_catalog./) 1000, status, -1 from deleted;
      end if;
      return null;
    end $$;
    create or replace function count_moved_user() returns trigger language plpgsql security definer as $$
    begin
      insert into %1$I.user_count_delta (block, status, delta)
      values (old.id operator(pg_catalog./) 1000, old.status, -1), (new.id operator(pg_catalog./) 1000, new.status, 1);
      return null;
    end $$;
  $f$, current_schema());

  -- Waits for the lock in short turns, since everybody else would queue behind a long one.
  set local lock_timeout = '500ms';
  for turn in 1..60 loop
    begin
      -- Constant defaults, which rewrite nothing; and rules that hold for what is written from now on, until the next step has looked
      -- at the rest.
      alter table "user"
        add column email text,
        add column username text,
        add column external_id text,
        add column status text not null default 'active',
        add column attributes jsonb not null default '{}',
        add column locale text,
        add column time_zone text,
        add column email_verified_at timestamptz,
        add column email_key text,
        add column username_key text,
        add column username_skeleton text,
        add constraint user_status_known check (status in ('active', 'suspended')) not valid,
        add constraint user_attributes_object check (jsonb_typeof(attributes) = 'object') not valid,
        -- Whoever writes them past the API writes both, or none.
        add constraint user_keys_complete check (
          (email is null) = (email_key is null) and (username is null) = (username_key is null)
        ) not valid;
      drop trigger user_count_id on "user";
      create trigger user_count_id after update of id, status on "user"
        for each row when (old.id is distinct from new.id or old.status is distinct from new.status) execute function count_moved_user();
      exit;
    exception when lock_not_available then
      if turn = 60 then
        raise exception 'the table "user" was locked by other sessions for a minute: end their transactions (pg_stat_activity shows them) and start again';
      end if;
      perform pg_sleep(0.5);
    end;
  end loop;
end $do$;
-- step
-- Reads the table, and locks out nobody who reads or writes it.
alter table "user" validate constraint user_status_known, validate constraint user_attributes_object, validate constraint user_keys_complete;
