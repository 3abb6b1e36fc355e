-- What an event tells of is named with its kind, `user:7`, so that another kind with the same number is another subject. Rows of before
-- are all of users. Nothing waits for the log meanwhile but whoever wants to change the same rows.
update event set subject = 'user:' || subject where strpos(subject, ':') = 0;
update event_retry set subject = 'user:' || subject where strpos(subject, ':') = 0;
update outbox set subject = 'user:' || subject where strpos(subject, ':') = 0;
update delivery_retry set subject = 'user:' || subject where strpos(subject, ':') = 0;
update inbox set subject = 'user:' || subject where strpos(subject, ':') = 0;
update dead_letter set subject = 'user:' || subject where strpos(subject, ':') = 0;

-- By which rows of the outbox may be distributed, so that a change and its event lie on one machine: for a user the id. The default is
-- for instances of an older version, which do not know it.
alter table outbox add column aggregate_id bigint not null default 0;
update outbox set aggregate_id = split_part(subject, ':', 2)::bigint where subject ~ '^user:[0-9]{1,16}$';
alter table outbox drop constraint outbox_pkey, add constraint outbox_pkey primary key (aggregate_id, position);
create index outbox_position_idx on outbox (position);
