-- What users are listed, sorted and searched by: a row beside each user, kept by triggers, whoever changes "user". A change of a user that
-- touches none of it writes to no index but those of "user". Older versions go on beside it.
-- oldest code: 0.2.0
-- step
create table user_search (
  user_id bigint primary key,
  status text not null,
  created_at timestamptz not null,
  -- Forms of user_search_form(), cut to what an index takes. Who has no email or username comes behind all who have one, by U+10FFFF.
  name text collate "C" not null,
  surname text collate "C" not null,
  email text collate "C" not null,
  username text collate "C" not null,
  -- Forms of the full name, name, surname, email and username, each behind an empty line: what a text begins with or is, is found like what
  -- it contains.
  text text collate "C" not null
);

-- How far the users who were there before are in it: all ids below `id`. Who comes after `last` comes by a trigger.
create table user_search_start (id bigint not null, last bigint);
insert into user_search_start values (0, null);

do $do$
declare
  -- Letters change their case by Unicode, whatever the locale of the database is: PostgreSQL 17 has that built in, older ones by ICU.
  unicode text := coalesce(
    (select format('collate pg_catalog.%I', collname) from pg_collation
     where collnamespace = 'pg_catalog'::regnamespace and collname in ('pg_c_utf8', 'und-x-icu') order by collname limit 1),
    ''
  );
begin
  execute format($f$
    -- Without case, accents, and characters that nothing shows; letters that Unicode does not take apart by hand.
    create function user_search_form(typed text) returns text language sql immutable strict parallel safe as $$
      select case when octet_length(typed) = length(typed) then lower(typed collate "C") else
        normalize(replace(replace(replace(replace(translate(lower(
          regexp_replace(normalize(typed, NFKD),
            '[\u00AD\u0300-\u036F\u0591-\u05BD\u05BF\u05C1\u05C2\u05C4\u05C5\u05C7\u061C\u0640\u064B-\u065F\u0670\u180B-\u180F\u1AB0-\u1AFF\u1DC0-\u1DFF\u200B-\u200F\u202A-\u202E\u2060-\u206F\u20D0-\u20FF\uFE00-\uFE0F\uFE20-\uFE2F\uFEFF]',
            '', 'g') %2$s
        ), 'łøđðħŧıς', 'loddhtiσ'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'), NFC) collate "C"
      end
    $$;
    -- The hash of each three characters that follow each other.
    create function user_search_grams(form text) returns integer[] language sql immutable strict parallel safe as $$
      select array(select hashtext(substr(form, at, 3) collate "C") from generate_series(1, length(form) - 2) as at)
    $$;
    -- What the index has of a text: its grams, and the hash of each line. Expensive, so that no plan makes them again for each row.
    create function user_search_entries(text text) returns integer[] language sql immutable strict parallel safe cost 1000 as $$
      select %1$I.user_search_grams(text)
        || array(select hashtext(E'\n' || line || E'\n' collate "C") from string_to_table(btrim(text, E'\n'), E'\n\n') as line)
    $$;
    create function user_search_row(id bigint, status text, created_at timestamptz, name text, surname text, email text, username text)
    returns %1$I.user_search language sql immutable parallel safe as $$
      select id, status, created_at, left(name, 100), left(surname, 100), coalesce(left(email, 100), chr(1114111)),
        coalesce(left(username, 100), chr(1114111)),
        E'\n\n' || name || ' ' || surname || E'\n\n' || name || E'\n\n' || surname || coalesce(E'\n\n' || email, '') || coalesce(E'\n\n' || username, '') || E'\n'
      from (
        select %1$I.user_search_form(name), %1$I.user_search_form(surname), %1$I.user_search_form(email), %1$I.user_search_form(username)
      ) as form (name, surname, email, username)
    $$;

    -- With the rights of the owner of the tables, as those of 0011_user_count.sql, and names that nobody's search_path leads elsewhere.
    create function list_inserted_users() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
    begin
      insert into %1$I.user_search
      select listed.* from inserted as u,
        lateral %1$I.user_search_row(u.id, u.status, u.created_at, u.name, u.surname, u.email, u.username) as listed
      on conflict (user_id) do update set (status, created_at, name, surname, email, username, text)
        = (excluded.status, excluded.created_at, excluded.name, excluded.surname, excluded.email, excluded.username, excluded.text);
      return null;
    end $$;
    create function list_updated_user() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
    begin
      -- Not a condition of the trigger, which would keep the columns from getting another type.
      if (old.id, old.status, old.created_at, old.name, old.surname, old.email, old.username)
        is not distinct from (new.id, new.status, new.created_at, new.name, new.surname, new.email, new.username)
      then
        return null;
      end if;
      if old.id <> new.id then
        delete from %1$I.user_search where user_id = old.id;
      end if;
      insert into %1$I.user_search
      select listed.*
      from %1$I.user_search_row(new.id, new.status, new.created_at, new.name, new.surname, new.email, new.username) as listed
      on conflict (user_id) do update set (status, created_at, name, surname, email, username, text)
        = (excluded.status, excluded.created_at, excluded.name, excluded.surname, excluded.email, excluded.username, excluded.text);
      return null;
    end $$;
    create function list_deleted_users() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
    begin
      delete from %1$I.user_search using deleted where user_id = deleted.id;
      return null;
    end $$;
    create function list_no_users() returns trigger language plpgsql security definer set search_path = pg_catalog as $$
    begin
      truncate %1$I.user_search;
      return null;
    end $$;
  $f$, current_schema(), unicode);

  -- Waits for the lock in short turns, since everybody else would queue behind a long one.
  set local lock_timeout = '500ms';
  for turn in 1..60 loop
    begin
      create trigger user_search_insert after insert on "user" referencing new table as inserted
        for each statement execute function list_inserted_users();
      create trigger user_search_update after update on "user" for each row execute function list_updated_user();
      create trigger user_search_delete after delete on "user" referencing old table as deleted
        for each statement execute function list_deleted_users();
      create trigger user_search_truncate after truncate on "user" for each statement execute function list_no_users();
      exit;
    exception when lock_not_available then
      if turn = 60 then
        raise exception 'the table "user" was locked by other sessions for a minute: end their transactions (pg_stat_activity shows them) and start again';
      end if;
      perform pg_sleep(0.5);
    end;
  end loop;
end $do$;
-- step, repeated
-- Users who were there before, some thousand at a time. Their rows are locked against deletion alone; whom somebody has changed meanwhile
-- is in the table already, or will be once the change has waited for this one.
with start as (
  select id, coalesce(last, (select max(u.id) from "user" as u), 0) as last from user_search_start
), batch as materialized (
  select u.id, u.status, u.created_at, u.name, u.surname, u.email, u.username
  from "user" as u where u.id >= (select id from start) and u.id <= (select last from start) order by u.id limit 5000 for key share of u
), listed as (
  insert into user_search
  select listed.* from batch as u,
    lateral user_search_row(u.id, u.status, u.created_at, u.name, u.surname, u.email, u.username) as listed
  on conflict (user_id) do nothing
)
update user_search_start set id = reached.id + 1, last = start.last
from start, (select max(id) as id from batch) as reached where reached.id is not null;
-- step
drop table user_search_start;
-- step, alone
drop index concurrently if exists user_search_by_id;
create index concurrently user_search_by_id on user_search (status, user_id);
drop index concurrently if exists user_search_by_created_at;
create index concurrently user_search_by_created_at on user_search (status, created_at, user_id);
drop index concurrently if exists user_search_by_name;
create index concurrently user_search_by_name on user_search (status, name, surname, user_id);
drop index concurrently if exists user_search_by_surname;
create index concurrently user_search_by_surname on user_search (status, surname, name, user_id);
drop index concurrently if exists user_search_by_email;
create index concurrently user_search_by_email on user_search (status, email, user_id);
drop index concurrently if exists user_search_by_username;
create index concurrently user_search_by_username on user_search (status, username, user_id);
-- A short list of what is not in the index yet, since every search reads all of it.
drop index concurrently if exists user_search_by_entries;
create index concurrently user_search_by_entries on user_search using gin (user_search_entries(text)) with (gin_pending_list_limit = 256);
drop index concurrently if exists user_by_updated_at;
create index concurrently user_by_updated_at on "user" (status, updated_at, id);
