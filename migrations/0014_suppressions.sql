-- Addresses that get no more mail, what is heard of mails after they were sent, and what became of each.

create table suppressions (
  recipient_hash          bytea primary key check (length(recipient_hash) = 32),
  reason                  text not null check (reason in ('bounced', 'complained', 'asked')),
  source                  text not null,
  created_at              timestamptz not null default clock_timestamp()
);
comment on table suppressions is 'Who gets no more mail. An address stands here by its SHA-256 alone, as in communications.recipient_hash.';
comment on column suppressions.source is 'The event or the operator that put it here.';

alter table communications
  add column outcome      text,
  add column outcome_at   timestamptz,
  add constraint communications_outcome check (outcome in ('delivered', 'deferred', 'bounced', 'complained', 'suppressed')) not valid,
  add constraint communications_outcome_at check ((outcome is null) = (outcome_at is null)) not valid;
alter table communications validate constraint communications_outcome;
alter table communications validate constraint communications_outcome_at;
comment on column communications.outcome is 'What was heard of it after it was handed over; suppressed: it never was, because its address gets no mail.';
create index communications_recipient on communications (recipient_hash);
