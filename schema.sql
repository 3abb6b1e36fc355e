-- Made by "npm run generate" from the migrations: how the schema stands after all of them.

create table "dead_letter" (
  event_id uuid,
  event_type text,
  trace_id text,
  attempts integer not null,
  reason text not null,
  body bytea not null,
  dead_at timestamp with time zone default now() not null,
  subject text,
  id bigint generated always as identity not null,
  message_id text,
  version bigint,
  properties json default '{}'::json not null,
  headers json default '{}'::json not null,
  subscription text default 'rollcall.user_events'::text not null,
  constraint dead_letter_pkey PRIMARY KEY (id)
);
CREATE INDEX dead_letter_list_idx ON public.dead_letter USING btree (((subscription || ''::text)), id);
CREATE INDEX dead_letter_message_id_idx ON public.dead_letter USING btree (message_id);
CREATE INDEX dead_letter_subscription_event_id_idx ON public.dead_letter USING btree (subscription, event_id);

create table "delivery_retry" (
  event_id uuid not null,
  event_type text not null,
  trace_id text not null,
  subject text not null,
  version bigint not null,
  attempts integer not null,
  retry_at timestamp with time zone not null,
  reason text,
  body bytea not null,
  properties json not null,
  headers json not null,
  subscription text default 'rollcall.user_events'::text not null,
  parked_at timestamp with time zone,
  constraint delivery_retry_pkey PRIMARY KEY (subscription, event_id)
);
CREATE INDEX delivery_retry_due_idx ON public.delivery_retry USING btree (((subscription || ''::text)), retry_at);
CREATE INDEX delivery_retry_parked_idx ON public.delivery_retry USING btree (event_type, parked_at) WHERE (parked_at IS NOT NULL);
CREATE INDEX delivery_retry_place_version_idx ON public.delivery_retry USING btree ((((subscription || ' '::text) || subject)), version, event_id);

create table "event" (
  position bigint not null,
  logged_at timestamp with time zone not null,
  event_id uuid not null,
  event_type text not null,
  subject text not null,
  occurred_at timestamp with time zone not null,
  trace_id text not null,
  traceparent text not null,
  data json not null,
  internal boolean default false not null,
  constraint event_pkey PRIMARY KEY ("position", logged_at)
) partition by RANGE (logged_at);
CREATE INDEX event_subject_position_idx ON ONLY public.event USING btree (subject, "position");

create table "event_default" partition of event DEFAULT;

create table "event_retry" (
  position bigint not null,
  logged_at timestamp with time zone not null,
  subject text not null,
  attempts integer not null,
  retry_at timestamp with time zone,
  constraint event_retry_pkey PRIMARY KEY ("position")
);
CREATE INDEX event_retry_retry_at_idx ON public.event_retry USING btree (retry_at);
CREATE INDEX event_retry_subject_position_idx ON public.event_retry USING btree (subject, "position");
CREATE TRIGGER event_retry_deleted AFTER DELETE ON public.event_retry FOR EACH ROW EXECUTE FUNCTION event_retry_release_earliest();
CREATE TRIGGER event_retry_inserted AFTER INSERT ON public.event_retry FOR EACH ROW WHEN ((new.retry_at IS NULL)) EXECUTE FUNCTION event_retry_release_earliest();

create table "event_state" (
  only_row boolean default true not null,
  logged_position bigint default 0 not null,
  logged_at timestamp with time zone default '1970-01-01 00:00:00+00'::timestamp with time zone not null,
  published_position bigint default 0 not null,
  published_at timestamp with time zone default '1970-01-01 00:00:00+00'::timestamp with time zone not null,
  expired_position bigint default 0 not null,
  epoch text default "left"(replace((gen_random_uuid())::text, '-'::text, ''::text), 12) not null,
  restored_at timestamp with time zone,
  constraint event_state_only_row_check CHECK (only_row),
  constraint event_state_pkey PRIMARY KEY (only_row)
);

create table "failed_attempt" (
  id bigint generated always as identity not null,
  subscription text not null,
  event_id uuid not null,
  event_type text not null,
  trace_id text not null,
  attempt integer not null,
  reason text not null,
  failed_at timestamp with time zone default now() not null,
  constraint failed_attempt_pkey PRIMARY KEY (id)
);
CREATE INDEX failed_attempt_failed_at_idx ON public.failed_attempt USING btree (failed_at);
CREATE INDEX failed_attempt_trace_id_idx ON public.failed_attempt USING btree (trace_id, id);

create table "identifier" (
  kind text not null,
  value text not null,
  user_id bigint not null,
  constraint identifier_pkey PRIMARY KEY (kind, value)
);

create table "inbox" (
  event_id uuid not null,
  trace_id text not null,
  handled_at timestamp with time zone default now() not null,
  subject text,
  version bigint,
  subscription text default 'rollcall.user_events'::text not null,
  constraint inbox_pkey PRIMARY KEY (subscription, event_id)
);
CREATE INDEX inbox_handled_at_idx ON public.inbox USING btree (handled_at);
CREATE INDEX inbox_place_version_idx ON public.inbox USING btree ((((subscription || ' '::text) || subject)), version);

create table "outbox" (
  position bigint generated always as identity not null,
  event_id uuid not null,
  event_type text not null,
  subject text not null,
  occurred_at timestamp with time zone not null,
  trace_id text not null,
  traceparent text not null,
  data json not null,
  aggregate_id bigint default 0 not null,
  internal boolean default false not null,
  constraint outbox_pkey PRIMARY KEY (aggregate_id, "position")
);
CREATE INDEX outbox_position_idx ON public.outbox USING btree ("position");

create table "schema_migration" (
  version integer not null,
  name text not null,
  checksum text not null,
  applied_at timestamp with time zone default now() not null,
  oldest_code text,
  constraint schema_migration_pkey PRIMARY KEY (version)
);

create table "schema_migration_step" (
  version integer not null,
  step integer not null,
  applied_at timestamp with time zone default now() not null,
  constraint schema_migration_step_pkey PRIMARY KEY (version, step)
);

create table "subscription" (
  name text not null,
  complete_since timestamp with time zone not null,
  position bigint not null,
  logged_at timestamp with time zone not null,
  constraint subscription_pkey PRIMARY KEY (name)
);

create table "user" (
  id bigint generated always as identity not null,
  name text not null,
  surname text not null,
  password text not null,
  version bigint default 1 not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  email text,
  username text,
  external_id text,
  status text default 'active'::text not null,
  attributes jsonb default '{}'::jsonb not null,
  locale text,
  time_zone text,
  email_verified_at timestamp with time zone,
  email_key text,
  username_key text,
  username_skeleton text,
  constraint user_attributes_object CHECK ((jsonb_typeof(attributes) = 'object'::text)),
  constraint user_id_safe_integer CHECK (((id >= 1) AND (id <= '9007199254740991'::bigint))),
  constraint user_keys_complete CHECK ((((email IS NULL) = (email_key IS NULL)) AND ((username IS NULL) = (username_key IS NULL)))),
  constraint user_pkey PRIMARY KEY (id),
  constraint user_status_known CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text]))),
  constraint user_timestamps_range CHECK (((created_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (created_at < '10000-01-01 00:00:00+00'::timestamp with time zone) AND (updated_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (updated_at < '10000-01-01 00:00:00+00'::timestamp with time zone)))
);
CREATE INDEX user_by_updated_at ON public."user" USING btree (status, updated_at, id);
CREATE INDEX user_created_at_idx ON public."user" USING btree (created_at);
CREATE TRIGGER user_count_delete AFTER DELETE ON public."user" REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION count_deleted_users();
CREATE TRIGGER user_count_id AFTER UPDATE OF id, status ON public."user" FOR EACH ROW WHEN (((old.id IS DISTINCT FROM new.id) OR (old.status IS DISTINCT FROM new.status))) EXECUTE FUNCTION count_moved_user();
CREATE TRIGGER user_count_insert AFTER INSERT ON public."user" REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION count_inserted_users();
CREATE TRIGGER user_count_truncate AFTER TRUNCATE ON public."user" FOR EACH STATEMENT EXECUTE FUNCTION count_no_users();
CREATE TRIGGER user_search_delete AFTER DELETE ON public."user" REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION list_deleted_users();
CREATE TRIGGER user_search_insert AFTER INSERT ON public."user" REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION list_inserted_users();
CREATE TRIGGER user_search_truncate AFTER TRUNCATE ON public."user" FOR EACH STATEMENT EXECUTE FUNCTION list_no_users();
CREATE TRIGGER user_search_update AFTER UPDATE ON public."user" FOR EACH ROW EXECUTE FUNCTION list_updated_user();

create table "user_count" (
  block bigint not null,
  status text not null,
  count bigint not null,
  constraint user_count_pkey PRIMARY KEY (block, status)
);

create table "user_count_delta" (
  block bigint not null,
  status text not null,
  delta integer not null
);

create table "user_count_sum" (
  blocks bigint not null,
  status text not null,
  count bigint not null,
  constraint user_count_sum_pkey PRIMARY KEY (blocks, status)
);

create table "user_login" (
  user_id bigint not null,
  last_login_at timestamp with time zone not null,
  constraint user_login_pkey PRIMARY KEY (user_id)
);

create table "user_search" (
  user_id bigint not null,
  status text not null,
  created_at timestamp with time zone not null,
  name text not null,
  surname text not null,
  email text not null,
  username text not null,
  text text not null,
  constraint user_search_pkey PRIMARY KEY (user_id)
);
CREATE INDEX user_search_by_created_at ON public.user_search USING btree (status, created_at, user_id);
CREATE INDEX user_search_by_email ON public.user_search USING btree (status, email, user_id);
CREATE INDEX user_search_by_entries ON public.user_search USING gin (user_search_entries(text)) WITH (gin_pending_list_limit='256');
CREATE INDEX user_search_by_id ON public.user_search USING btree (status, user_id);
CREATE INDEX user_search_by_name ON public.user_search USING btree (status, name, surname, user_id);
CREATE INDEX user_search_by_surname ON public.user_search USING btree (status, surname, name, user_id);
CREATE INDEX user_search_by_username ON public.user_search USING btree (status, username, user_id);

CREATE OR REPLACE FUNCTION public.count_deleted_users()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
    begin
      if exists (select from deleted offset 1) then
        insert into public.user_count_delta (block, status, delta)
        select id operator(pg_catalog./) 1000, status, operator(pg_catalog.-) pg_catalog.count(*) from deleted group by 1, 2;
      else
        insert into public.user_count_delta (block, status, delta) select id operator(pg_catalog./) 1000, status, -1 from deleted;
      end if;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.count_inserted_users()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
    begin
      if exists (select from inserted offset 1) then
        insert into public.user_count_delta (block, status, delta)
        select id operator(pg_catalog./) 1000, status, pg_catalog.count(*) from inserted group by 1, 2;
      else
        insert into public.user_count_delta (block, status, delta) select id operator(pg_catalog./) 1000, status, 1 from inserted;
      end if;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.count_moved_user()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
    begin
      insert into public.user_count_delta (block, status, delta)
      values (old.id operator(pg_catalog./) 1000, old.status, -1), (new.id operator(pg_catalog./) 1000, new.status, 1);
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.count_no_users()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
AS $function$
    begin
      -- And not delete, which would leave what has just been committed behind the snapshot of the transaction.
      truncate public.user_count, public.user_count_sum, public.user_count_delta;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.event_retry_release_earliest()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
  changed text := case tg_op when 'DELETE' then old.subject else new.subject end;
begin
  update event_retry set retry_at = now()
  where retry_at is null and position = (
    select position from (
      select subject, position from event_retry where (subject, position) >= (changed, 0) order by subject, position limit 1
    ) as earliest
    where subject = changed
  );
  return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.list_deleted_users()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog'
AS $function$
    begin
      delete from public.user_search using deleted where user_id = deleted.id;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.list_inserted_users()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog'
AS $function$
    begin
      insert into public.user_search
      select listed.* from inserted as u,
        lateral public.user_search_row(u.id, u.status, u.created_at, u.name, u.surname, u.email, u.username) as listed
      on conflict (user_id) do update set (status, created_at, name, surname, email, username, text)
        = (excluded.status, excluded.created_at, excluded.name, excluded.surname, excluded.email, excluded.username, excluded.text);
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.list_no_users()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog'
AS $function$
    begin
      truncate public.user_search;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.list_updated_user()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog'
AS $function$
    begin
      -- Not a condition of the trigger, which would keep the columns from getting another type.
      if (old.id, old.status, old.created_at, old.name, old.surname, old.email, old.username)
        is not distinct from (new.id, new.status, new.created_at, new.name, new.surname, new.email, new.username)
      then
        return null;
      end if;
      if old.id <> new.id then
        delete from public.user_search where user_id = old.id;
      end if;
      insert into public.user_search
      select listed.*
      from public.user_search_row(new.id, new.status, new.created_at, new.name, new.surname, new.email, new.username) as listed
      on conflict (user_id) do update set (status, created_at, name, surname, email, username, text)
        = (excluded.status, excluded.created_at, excluded.name, excluded.surname, excluded.email, excluded.username, excluded.text);
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.user_search_entries(text text)
 RETURNS integer[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT COST 1000
AS $function$
      select public.user_search_grams(text)
        || array(select hashtext(E'\n' || line || E'\n' collate "C") from string_to_table(btrim(text, E'\n'), E'\n\n') as line)
    $function$;

CREATE OR REPLACE FUNCTION public.user_search_form(typed text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
      select case when octet_length(typed) = length(typed) then lower(typed collate "C") else
        normalize(replace(replace(replace(replace(translate(lower(
          regexp_replace(normalize(typed, NFKD),
            '[\u00AD\u0300-\u036F\u0591-\u05BD\u05BF\u05C1\u05C2\u05C4\u05C5\u05C7\u061C\u0640\u064B-\u065F\u0670\u180B-\u180F\u1AB0-\u1AFF\u1DC0-\u1DFF\u200B-\u200F\u202A-\u202E\u2060-\u206F\u20D0-\u20FF\uFE00-\uFE0F\uFE20-\uFE2F\uFEFF]',
            '', 'g') collate pg_catalog.pg_c_utf8
        ), 'łøđðħŧıς', 'loddhtiσ'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'), NFC) collate "C"
      end
    $function$;

CREATE OR REPLACE FUNCTION public.user_search_grams(form text)
 RETURNS integer[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
      select array(select hashtext(substr(form, at, 3) collate "C") from generate_series(1, length(form) - 2) as at)
    $function$;

CREATE OR REPLACE FUNCTION public.user_search_row(id bigint, status text, created_at timestamp with time zone, name text, surname text, email text, username text)
 RETURNS user_search
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
      select id, status, created_at, left(name, 100), left(surname, 100), coalesce(left(email, 100), chr(1114111)),
        coalesce(left(username, 100), chr(1114111)),
        E'\n\n' || name || ' ' || surname || E'\n\n' || name || E'\n\n' || surname || coalesce(E'\n\n' || email, '') || coalesce(E'\n\n' || username, '') || E'\n'
      from (
        select public.user_search_form(name), public.user_search_form(surname), public.user_search_form(email), public.user_search_form(username)
      ) as form (name, surname, email, username)
    $function$;
