-- Dead letters that a person works with: what they are about, what was done with them, by whom and why.

alter table dead_letters
  add column order_id    uuid,
  add column replayed_as uuid,
  add column dropped_at  timestamptz,
  add column dropped_by  text,
  add column drop_reason text,
  add constraint dead_letters_dropped check ((dropped_at is not null) = (dropped_by is not null) and (dropped_at is not null) = (drop_reason is not null)),
  add constraint dead_letters_one_end check (dropped_at is null or replayed_at is null);
comment on column dead_letters.order_id is 'The order that the job was about, where its fields say so.';
comment on column dead_letters.replayed_as is 'The job that took it up.';
comment on column dead_letters.dropped_at is 'Nobody will replay it. It stays: effects, events and notices that were given up belong to it.';
create index dead_letters_open on dead_letters (fingerprint, id) where replayed_at is null and dropped_at is null;
create index dead_letters_order on dead_letters (order_id) where order_id is not null;

create table dead_letter_edits (
  letter_id               uuid not null references dead_letters,
  no                      integer not null check (no > 0),
  before                  jsonb not null,
  actor                   text not null,
  reason                  text not null,
  at                      timestamptz not null default clock_timestamp(),
  primary key (letter_id, no)
);
comment on table dead_letter_edits is 'What a payload was before somebody changed it.';

create table operator_actions (
  id                      bigint generated always as identity primary key,
  at                      timestamptz not null default clock_timestamp(),
  actor                   text not null,
  action                  text not null,
  detail                  jsonb not null
);
comment on table operator_actions is 'What operators did, one row for each commit. detail holds ids, filters, counts and reasons, never personal data.';
create index operator_actions_at on operator_actions (at);
create trigger operator_actions_append_only before update or delete or truncate on operator_actions
  for each statement execute function refuse_change();
create trigger dead_letter_edits_append_only before update or delete or truncate on dead_letter_edits
  for each statement execute function refuse_change();
