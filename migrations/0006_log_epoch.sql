-- Which log a cursor was given for. The id is another one after a restore from a backup: positions given out after the backup was
-- made come again for other events, so a cursor of the former epoch means nothing any more. (48 of the random bits of a UUID.)
alter table event_state
  add column epoch text not null default left(replace(gen_random_uuid()::text, '-', ''), 12),
  -- Cursors made before this migration carry no epoch; they hold until the first restore.
  add column restored_at timestamptz;
