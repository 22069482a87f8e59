-- What a job of each kind looks like that ended well, to hold a dead letter of that kind against.

create table exemplars (
  kind                    text primary key,
  job_id                  uuid not null,
  payload                 jsonb not null,
  ended_at                timestamptz not null default clock_timestamp()
);
comment on table exemplars is 'One job of each kind that ended well, looked at now and then. What may be personal, or leads to a person, is masked before it is written, so that nothing here has to be forgotten.';
