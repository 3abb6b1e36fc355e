-- Made by "npm run generate" from the migrations: how the schema stands after all of them.

create table "dead_letter" (
  event_id uuid not null,
  event_type text not null,
  trace_id text not null,
  attempts integer not null,
  reason text not null,
  body json not null,
  dead_at timestamp with time zone default now() not null,
  constraint dead_letter_pkey PRIMARY KEY (event_id)
);

create table "inbox" (
  event_id uuid not null,
  trace_id text not null,
  handled_at timestamp with time zone default now() not null,
  constraint inbox_pkey PRIMARY KEY (event_id)
);
CREATE INDEX inbox_handled_at_idx ON public.inbox USING btree (handled_at);

create table "outbox" (
  position bigint generated always as identity not null,
  event_id uuid not null,
  event_type text not null,
  subject text not null,
  occurred_at timestamp with time zone not null,
  trace_id text not null,
  traceparent text not null,
  data json not null,
  attempts integer default 0 not null,
  retry_at timestamp with time zone,
  constraint outbox_pkey PRIMARY KEY ("position")
);
CREATE INDEX outbox_subject_retry_at_idx ON public.outbox USING btree (subject, retry_at) WHERE (retry_at IS NOT NULL);

create table "schema_migration" (
  version integer not null,
  name text not null,
  checksum text not null,
  applied_at timestamp with time zone default now() not null,
  constraint schema_migration_pkey PRIMARY KEY (version)
);

create table "user" (
  id bigint generated always as identity not null,
  name text not null,
  surname text not null,
  password text not null,
  version bigint default 1 not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  constraint user_id_safe_integer CHECK (((id >= 1) AND (id <= '9007199254740991'::bigint))),
  constraint user_pkey PRIMARY KEY (id)
);
CREATE INDEX user_created_at_idx ON public."user" USING btree (created_at);
