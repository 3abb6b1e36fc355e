-- The event log: every event in one order without gaps, kept for a time, so that consumers can catch up. The outbox becomes
-- the place where events stand until the active relay gives them their position in the log.
create table event (
  -- Dense, and given in the order of the relay's commits: a reader that has seen a position has seen all before it.
  position bigint not null,
  -- Never runs back, whatever the clock does, so that it can stand for the position when partitions are chosen.
  logged_at timestamptz not null,
  event_id uuid not null,
  event_type text not null,
  subject text not null,
  occurred_at timestamptz not null,
  trace_id text not null,
  traceparent text not null,
  data json not null,
  primary key (position, logged_at)
) partition by range (logged_at);
-- One user's events.
create index event_subject_position_idx on event (subject, position);
-- Takes what no day's partition takes, so that a day that nobody prepared loses nothing.
create table event_default partition of event default;

-- Where the log and the relay stand. One row, written by the active relay alone.
create table event_state (
  only_row boolean primary key default true check (only_row),
  logged_position bigint not null default 0,
  logged_at timestamptz not null default 'epoch',
  published_position bigint not null default 0,
  published_at timestamptz not null default 'epoch',
  -- The last position that expired.
  expired_position bigint not null default 0
);
insert into event_state default values;

-- Events that came back from the broker, and later ones of the same subject that must not overtake them.
create table event_retry (
  position bigint primary key,
  logged_at timestamptz not null,
  subject text not null,
  attempts integer not null,
  retry_at timestamptz not null
);
create index event_retry_subject_position_idx on event_retry (subject, position);
create index event_retry_retry_at_idx on event_retry (retry_at);

drop index outbox_subject_retry_at_idx;
alter table outbox drop column attempts, drop column retry_at;

-- What the consumer handled last of each subject, to tell a stale event.
alter table inbox add column subject text, add column version bigint;
create index inbox_subject_version_idx on inbox (subject, version);

-- Queues: nearly every row is soon a dead one, however few there are.
alter table outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
alter table event_retry set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
alter table event_state set (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Where a dead letter stands in the log, to publish it once more.
alter table dead_letter add column position bigint, add column logged_at timestamptz, add column subject text;
