-- Events that wait for the relay, and the ids of those that the consumer has handled.
create table outbox (
  -- Order of publishing. Right for each user because the statement that writes a row here reads the change's RETURNING,
  -- so the user's row lock is held when the number is drawn; cache 1, or sessions would draw numbers ahead.
  position bigint generated always as identity (cache 1) primary key,
  event_id uuid not null,
  event_type text not null,
  subject text not null,
  occurred_at timestamptz not null,
  trace_id text not null,
  traceparent text not null,
  data json not null,
  attempts integer not null default 0,
  retry_at timestamptz
);
-- Finds the subjects whose next event waits for its retry: later events of theirs must not overtake it.
create index outbox_subject_retry_at_idx on outbox (subject, retry_at) where retry_at is not null;

create table inbox (
  event_id uuid primary key,
  trace_id text not null,
  handled_at timestamptz not null default now()
);
create index inbox_handled_at_idx on inbox (handled_at);

-- Where events go that the consumer gave up on, when they are delivered inside the process. RabbitMQ has a queue for it.
create table dead_letter (
  event_id uuid primary key,
  event_type text not null,
  trace_id text not null,
  attempts integer not null,
  reason text not null,
  body json not null,
  dead_at timestamptz not null default now()
);
