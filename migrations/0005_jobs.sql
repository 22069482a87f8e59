-- Open work that Postgres knows: outbox, inbox, fence and recovery in one; and what was given up.

create table jobs (
  id                      uuid primary key,
  kind                    text not null,
  lane                    text not null,
  band                    smallint not null check (band between 0 and 3),
  payload                 jsonb not null,
  run_at                  timestamptz not null,
  run                     integer not null default 0,
  attempts                integer not null default 0 check (attempts >= 0),
  dedupe_key              text unique,
  caused_by               text not null,
  traceparent             text,
  relayed_at              timestamptz,
  created_at              timestamptz not null default now()
) with (fillfactor = 70);
comment on column jobs.run is 'The fence: raised by every load; a settle writes only where it still holds the value that it loaded.';
comment on column jobs.relayed_at is 'When a copy was pushed into the queue; null when one is wanted.';
create index jobs_unrelayed on jobs (run_at, id) where relayed_at is null;
create index jobs_relayed on jobs (lane, relayed_at, id) where relayed_at is not null;

create table effects (
  name                    text primary key,
  id                      uuid not null unique,
  n                       integer not null default 1 check (n > 0),
  request                 jsonb not null,
  state                   text not null check (state in ('pending', 'in_flight', 'done', 'failed', 'unknown')),
  job_id                  uuid not null,
  receipt                 jsonb,
  provider_ref            text,
  created_at              timestamptz not null default now(),
  settled_at              timestamptz,
  constraint effects_done check ((state = 'done') = (receipt is not null)),
  constraint effects_ref check (state <> 'done' or provider_ref is not null)
);
comment on table effects is 'A row before every outside mutation: its deterministic name, the frozen request, and the key (id and n) that the provider gets.';
comment on column effects.n is 'Raised only after a look-up proved that nothing happened under the last key.';
create index effects_open on effects (created_at) where state in ('pending', 'in_flight', 'unknown');

create table effect_evidence (
  id                      bigint generated always as identity primary key,
  name                    text not null references effects,
  run                     integer not null,
  receipt                 jsonb not null,
  provider_ref            text not null,
  at                      timestamptz not null default now(),
  resolved_at             timestamptz
);
comment on table effect_evidence is 'A second, different receipt for one effect: a stale worker''s call. Dropping it would be money taken and nobody told.';

create table attempts (
  job_id                  uuid not null,
  no                      integer not null,
  worker                  text not null,
  class                   text not null,
  code                    text not null,
  detail                  text not null,
  duration_ms             bigint not null,
  at                      timestamptz not null default clock_timestamp(),
  primary key (job_id, no)
);
comment on table attempts is 'How attempts ended that did not end well; kept with the dead letter, removed with the job.';

create table dead_letters (
  id                      uuid primary key,
  job_id                  uuid not null unique,
  kind                    text not null,
  lane                    text not null,
  band                    smallint not null,
  payload                 jsonb not null,
  attempts                integer not null,
  code                    text not null,
  detail                  text not null,
  fingerprint             text not null,
  caused_by               text not null,
  traceparent             text,
  died_at                 timestamptz not null default now(),
  replayed_at             timestamptz,
  replayed_by             text
);
create index dead_letters_kind on dead_letters (kind, died_at);

create table api_keys (
  id                      uuid primary key,
  tenant                  text not null,
  name                    text not null,
  role                    text not null check (role in ('service', 'customer', 'vendor', 'viewer', 'processor', 'manager', 'administrator')),
  hash                    bytea not null unique check (length(hash) = 32),
  created_at              timestamptz not null default now(),
  expires_at              timestamptz,
  revoked_at              timestamptz
);
comment on column api_keys.hash is 'SHA-256 of the key; the key itself has 256 random bits and is shown once.';
