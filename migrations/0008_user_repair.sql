-- Goes through the users once, for a table that was adopted: passwords that begin like a hash and are none, and timestamps that the
-- API cannot show. Nobody waits for it, but for the rows that it repairs.
do $$
begin
  -- `npm run migrate` hashes them as text, and drops the table.
  create table user_password_lookalike (id bigint primary key);
  -- The same as isHash of src/security/passwords.ts: costs within bounds, a salt of 8 to 48 bytes, a hash of 12 to 64, in base64
  -- whose last character has no bits beyond the last byte.
  insert into user_password_lookalike (id)
  select id from "user"
  where password like '$argon2id$%' and not case
    -- Nearly all are made by the service, at its one cost: told fast.
    when length(password) = 97 and substr(password, 54, 1) = '$'
      and password ~ '^[$]argon2id[$]v=19[$]m=19456,t=2,p=1[$][A-Za-z0-9+/]+[AQgw][$][A-Za-z0-9+/]+[AEIMQUYcgkosw048]$'
    then true
    when length(password) < 300
      and password ~ '^[$]argon2id[$]v=19[$]m=[1-9][0-9]{0,5},t=[1-9][0-9]?,p=[1-9][0-9]?[$][A-Za-z0-9+/]+[$][A-Za-z0-9+/]+$'
    then (
      select m between 8 * p and 262144 and t <= 16 and p <= 16 and m * t <= 524288
        and length(salt) between 11 and 64 and length(hash) between 16 and 86
        and strpos((array[right(salt, 1), '', 'AQgw', 'AEIMQUYcgkosw048'])[1 + length(salt) % 4], right(salt, 1)) > 0
        and strpos((array[right(hash, 1), '', 'AQgw', 'AEIMQUYcgkosw048'])[1 + length(hash) % 4], right(hash, 1)) > 0
      from (
        select costs[1], costs[2], costs[3], salt, hash
        from (
          select split_part(password, '$', 5), split_part(password, '$', 6),
            string_to_array(translate(split_part(password, '$', 4), 'mtp=', ''), ',')::int[]
        ) as named (salt, hash, costs)
      ) as parsed (m, t, p, salt, hash)
    )
    else false
  end;
  if not found then
    drop table user_password_lookalike;
  end if;
end
$$;

-- Years of four digits, as the API and the events show them: to_char() has no word for infinity, and none for BC.
create function rollcall_0008_bounded(instant timestamptz) returns timestamptz language sql stable as $$
  select case when instant >= '10000-01-01 00:00:00+00' then now() else greatest(instant, '0001-01-01 00:00:00+00') end
$$;
create function rollcall_0008_shown(instant text) returns text language sql stable as $$
  select case when instant ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T' then instant else to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') end
$$;
create function rollcall_0008_repaired(data jsonb) returns jsonb language sql stable as $$
  select case when data ? 'user' then jsonb_set(data, '{user}', data -> 'user' || jsonb_build_object(
    'created_at', rollcall_0008_shown(data #>> '{user,created_at}'), 'updated_at', rollcall_0008_shown(data #>> '{user,updated_at}')))
  else data end
$$;

do $$
declare
  repaired bigint;
  examples text;
begin
  select count(*), string_agg(format('user %s had created_at %s, updated_at %s', id, created_at, updated_at), '; ' order by id) filter (where place <= 10)
  into repaired, examples
  from (
    select id, created_at, updated_at, row_number() over (order by id) as place from "user"
    where created_at <> rollcall_0008_bounded(created_at) or updated_at <> rollcall_0008_bounded(updated_at)
  ) as outside;
  if repaired > 0 then
    update "user" set created_at = rollcall_0008_bounded(created_at), updated_at = rollcall_0008_bounded(updated_at)
    where created_at <> rollcall_0008_bounded(created_at) or updated_at <> rollcall_0008_bounded(updated_at);
    raise warning 'Timestamps of % user(s) were outside the years 1 to 9999: what was later is now the time of this migration, what was earlier the first day of year 1. The first ten: %',
      repaired, examples;
  end if;
end
$$;

-- Events of such users break the schema of events: they waited for ever, and the log behind them never expired.
update outbox set occurred_at = rollcall_0008_bounded(occurred_at), data = rollcall_0008_repaired(data::jsonb)::json
where occurred_at <> rollcall_0008_bounded(occurred_at) or rollcall_0008_repaired(data::jsonb) <> data::jsonb;
update event set occurred_at = rollcall_0008_bounded(occurred_at), data = rollcall_0008_repaired(data::jsonb)::json
where (position, logged_at) in (
    select position, logged_at from event_retry
    union all
    select event.position, event.logged_at from event, event_state where event.position > published_position and event.logged_at >= published_at
  )
  and (occurred_at <> rollcall_0008_bounded(occurred_at) or rollcall_0008_repaired(data::jsonb) <> data::jsonb);

drop function rollcall_0008_repaired(jsonb);
drop function rollcall_0008_shown(text);
drop function rollcall_0008_bounded(timestamptz);

alter table "user" validate constraint user_timestamps_range;
