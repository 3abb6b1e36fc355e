-- Of the events of a subject that wait in event_retry, only the earliest has a time: what is due is found by the index, however
-- many wait behind. Null: behind an earlier one of its subject.
alter table event_retry alter column retry_at drop not null;
update event_retry as later set retry_at = null
where exists (select from event_retry as earlier where earlier.subject = later.subject and earlier.position < later.position);

-- An earliest one without a time is due at once: whoever wrote it, and whoever removed the one ahead of it (the relay, one of an
-- older version beside it, an operator by hand). The comparison of rows reads the index (subject, position) at one place,
-- whatever the statistics say.
create function event_retry_release_earliest() returns trigger language plpgsql as $$
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
$$;
create trigger event_retry_inserted after insert on event_retry
  for each row when (new.retry_at is null) execute function event_retry_release_earliest();
create trigger event_retry_deleted after delete on event_retry
  for each row execute function event_retry_release_earliest();
