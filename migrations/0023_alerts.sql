-- What the people on call are written to about, and what they know already; webhooks that were not believed, of which nothing
-- else is kept.

create table ops_alerts (
  rule                    text primary key,
  since                   timestamptz not null,
  told_at                 timestamptz,
  told                    jsonb not null default '{}'
);
comment on table ops_alerts is 'A rule''s row is locked by whoever looks. What happened after since is not told yet; told is what the last mail named, with its figures.';

create table refused_webhooks (
  provider                text not null,
  reason                  text not null,
  refused                 bigint not null check (refused > 0),
  last_at                 timestamptz not null default now(),
  primary key (provider, reason)
);
comment on table refused_webhooks is 'A count for each sender and reason, for ever: what is not believed leaves nothing else.';

-- The newest letters that are still open, among all there ever were.
create index dead_letters_newest on dead_letters (died_at) where replayed_at is null and dropped_at is null;
