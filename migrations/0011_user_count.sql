-- The number of users, kept as it changes, so that no list counts the table: of each block of a thousand ids, and of each hundred of
-- blocks. Older versions go on beside it.
-- oldest code: 0.2.0
-- step
create table user_count (
  -- The ids divided by 1,000.
  block bigint not null,
  status text not null,
  count bigint not null,
  primary key (block, status)
) with (fillfactor = 50);

create table user_count_sum (
  -- The blocks divided by 100.
  blocks bigint not null,
  status text not null,
  count bigint not null,
  primary key (blocks, status)
) with (fillfactor = 50);

-- What is not in them yet. Each statement on "user" appends, so that no two wait for the same row.
create table user_count_delta (
  block bigint not null,
  status text not null,
  delta integer not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000, autovacuum_vacuum_cost_delay = 0);

-- How far the users who were there before are counted: all ids below.
create table user_count_start (id bigint not null);
insert into user_count_start values (0);

-- With the rights of the owner of the tables, whoever changes "user"; hence the full names, which nobody's search_path leads elsewhere.
-- One row is the usual case: an aggregate would take as long as all the rest.
do $do$
begin
  execute format($f$
    create function count_inserted_users() returns trigger language plpgsql security definer as $$
    begin
      if exists (select from inserted offset 1) then
        insert into %1$I.user_count_delta (block, status, delta)
        select id operator(pg_catalog./) 1000, 'active', pg_catalog.count(*) from inserted group by 1;
      else
        insert into %1$I.user_count_delta (block, status, delta) select id operator(pg_catalog./) 1000, 'active', 1 from inserted;
      end if;
      return null;
    end $$;
    create function count_deleted_users() returns trigger language plpgsql security definer as $$
    begin
      if exists (select from deleted offset 1) then
        insert into %1$I.user_count_delta (block, status, delta)
        select id operator(pg_catalog./) 1000, 'active', operator(pg_catalog.-) pg_catalog.count(*) from deleted group by 1;
      else
        insert into %1$I.user_count_delta (block, status, delta) select id operator(pg_catalog./) 1000, 'active', -1 from deleted;
      end if;
      return null;
    end $$;
    create function count_moved_user() returns trigger language plpgsql security definer as $$
    begin
      insert into %1$I.user_count_delta (block, status, delta)
      values (old.id operator(pg_catalog./) 1000, 'active', -1), (new.id operator(pg_catalog./) 1000, 'active', 1);
      return null;
    end $$;
    create function count_no_users() returns trigger language plpgsql security definer as $$
    begin
      -- And not delete, which would leave what has just been committed behind the snapshot of the transaction.
      truncate %1$I.user_count, %1$I.user_count_sum, %1$I.user_count_delta;
      return null;
    end $$;
  $f$, current_schema());
end $do$;

do $$
begin
  -- Waits for the lock in short turns, since everybody else would queue behind a long one.
  set local lock_timeout = '500ms';
  for turn in 1..60 loop
    begin
      create trigger user_count_insert after insert on "user" referencing new table as inserted
        for each statement execute function count_inserted_users();
      create trigger user_count_delete after delete on "user" referencing old table as deleted
        for each statement execute function count_deleted_users();
      create trigger user_count_id after update of id on "user"
        for each row when (old.id is distinct from new.id) execute function count_moved_user();
      create trigger user_count_truncate after truncate on "user" for each statement execute function count_no_users();
      exit;
    exception when lock_not_available then
      if turn = 60 then
        raise exception 'the table "user" was locked by other sessions for a minute: end their transactions (pg_stat_activity shows them) and start again';
      end if;
      perform pg_sleep(0.5);
    end;
  end loop;
end $$;
-- step, repeated
-- Users of a range of blocks, less what is counted of them as it changes, both in one snapshot: those who were there before.
with start as (
  select id from user_count_start
), next as (
  -- The block after some 50,000 users; null in the last range.
  select (select "user".id / 1000 * 1000 from "user" where "user".id >= start.id order by "user".id limit 1 offset 50000) as id from start
), range as materialized (
  select start.id as first, coalesce(next.id, 9223372036854775807) as behind from start, next
), found as (
  select "user".id / 1000 as block, 'active' as status, count(*) as n
  from "user", range where "user".id >= first and "user".id < behind group by 1
  union all
  select block, status, -sum(delta) from user_count_delta, range
  where block >= first / 1000 and block < behind / 1000 group by 1, 2
), counted as (
  insert into user_count (block, status, count)
  select block, status, sum(n) from found group by block, status having sum(n) <> 0
)
update user_count_start set id = behind from range where user_count_start.id < behind;
-- step
insert into user_count_sum (blocks, status, count) select block / 100, status, sum(count) from user_count group by 1, 2;
drop table user_count_start;
