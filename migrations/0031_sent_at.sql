-- A worker that dies leaves its request on the way: a look that finds nothing proves nothing until it can no longer arrive.
alter table effects add column sent_at timestamptz;
comment on column effects.sent_at is
  'When its last call was begun. It may be carried out for a while after that, whoever still waits for the answer.';
