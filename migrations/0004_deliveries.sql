-- The consumer keeps in tables what it puts off and what it gives up, as it came from the wire.

-- Deliveries that wait: failed ones until their next attempt, and later ones of the same subject behind them, so that effects keep
-- the order of versions.
create table delivery_retry (
  event_id uuid primary key,
  event_type text not null,
  trace_id text not null,
  subject text not null,
  version bigint not null,
  attempts integer not null,
  -- 'infinity' for one that waits behind an earlier one of its subject.
  retry_at timestamptz not null,
  reason text,
  body bytea not null,
  properties json not null,
  headers json not null
);
create index delivery_retry_subject_version_idx on delivery_retry (subject, version, event_id);
create index delivery_retry_retry_at_idx on delivery_retry (retry_at);

-- Everything that was given up, whichever broker brought it. `message_id` is what the sender called it: not unique, and absent where the
-- sender gave no name. What is no event of ours has no event_id.
alter table dead_letter drop constraint dead_letter_pkey;
alter table dead_letter
  add column id bigint generated always as identity primary key,
  add column message_id text,
  add column version bigint,
  add column properties json not null default '{}',
  add column headers json not null default '{}',
  -- While it is sent to the consumer once more.
  add column redriven_at timestamptz,
  alter column event_id drop not null,
  alter column event_type drop not null,
  alter column trace_id drop not null,
  alter column body type bytea using convert_to(body::text, 'UTF8');
update dead_letter set message_id = event_id::text;
alter table dead_letter drop column position, drop column logged_at;
create index dead_letter_event_id_idx on dead_letter (event_id);
create index dead_letter_message_id_idx on dead_letter (message_id);

-- How far the inbox is known to be complete. One row.
create table inbox_state (
  only_row boolean primary key default true check (only_row),
  -- An event that was logged later and is not in the inbox was not handled.
  complete_since timestamptz not null,
  -- Up to here in the log every event was handled, waits or was given up.
  reconciled_position bigint not null,
  reconciled_at timestamptz not null
);
insert into inbox_state (complete_since, reconciled_position, reconciled_at)
select now(), published_position, published_at from event_state;

alter table delivery_retry set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
