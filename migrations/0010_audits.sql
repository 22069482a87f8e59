-- Who audited which night, and what came of it: the row decides between workers that all want to, and tells all of them.

create table audits (
  night                   date primary key,
  worker                  text not null,
  began_at                timestamptz not null default now(),
  ended_at                timestamptz,
  millis                  bigint check (millis >= 0),
  violations              jsonb,
  constraint audits_ended check ((ended_at is not null) = (millis is not null) and (ended_at is not null) = (violations is not null))
);
comment on table audits is 'One row a night, by UTC. A row that has not ended for long is of a worker that died: another one takes it over.';
comment on column audits.violations is 'How many break each invariant that was judged, by its name; 0 where it holds.';
