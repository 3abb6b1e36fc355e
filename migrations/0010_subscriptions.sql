-- Several subscriptions beside each other, each with an inbox, retries and dead letters of its own and its place in the log; internal
-- events; failed attempts by trace id. API and relay of an older version go on beside it; its consumer does not, and is stopped before.
-- oldest code: 0.2.0
-- step
create table subscription (
  name text primary key,
  -- From when on its inbox knows what was handled.
  complete_since timestamptz not null,
  -- Everything up to here in the log is settled.
  position bigint not null,
  logged_at timestamptz not null
);
insert into subscription (name, complete_since, position, logged_at)
  select 'rollcall.user_events', complete_since, reconciled_position, reconciled_at from inbox_state;
drop table inbox_state;

alter table inbox add column subscription text not null default 'rollcall.user_events';
alter table delivery_retry
  add column subscription text not null default 'rollcall.user_events',
  -- Since when it waits for a version of the service that knows its type.
  add column parked_at timestamptz;
alter table dead_letter add column subscription text not null default 'rollcall.user_events', drop column redriven_at;

alter table outbox add column internal boolean not null default false;
alter table event add column internal boolean not null default false;

create table failed_attempt (
  id bigint generated always as identity primary key,
  subscription text not null,
  event_id uuid not null,
  event_type text not null,
  trace_id text not null,
  attempt integer not null,
  reason text not null,
  failed_at timestamptz not null default now()
);
create index failed_attempt_trace_id_idx on failed_attempt (trace_id, id);
create index failed_attempt_failed_at_idx on failed_attempt (failed_at);
-- Each way to look for a row has an index that no other way could use, whatever the planner believes of the tables' sizes: hence the
-- expressions.
-- step, alone
drop index concurrently if exists inbox_subscription_event_id_idx;
create unique index concurrently inbox_subscription_event_id_idx on inbox (subscription, event_id);
-- step, alone
drop index concurrently if exists inbox_place_version_idx;
create index concurrently inbox_place_version_idx on inbox ((subscription || ' ' || subject), version);
-- step
alter table inbox drop constraint inbox_pkey, add constraint inbox_pkey primary key using index inbox_subscription_event_id_idx;
drop index inbox_subject_version_idx;

alter table delivery_retry drop constraint delivery_retry_pkey, add constraint delivery_retry_pkey primary key (subscription, event_id);
drop index delivery_retry_subject_version_idx;
drop index delivery_retry_retry_at_idx;
create index delivery_retry_place_version_idx on delivery_retry ((subscription || ' ' || subject), version, event_id);
create index delivery_retry_due_idx on delivery_retry ((subscription || ''), retry_at);
create index delivery_retry_parked_idx on delivery_retry (event_type, parked_at) where parked_at is not null;

drop index dead_letter_event_id_idx;
create index dead_letter_subscription_event_id_idx on dead_letter (subscription, event_id);
create index dead_letter_list_idx on dead_letter ((subscription || ''), id);
