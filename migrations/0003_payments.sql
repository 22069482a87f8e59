-- Money: one row for each charge that a provider was asked for.

create table payments (
  id                      uuid primary key,
  order_id                uuid not null references orders,
  attempt_no              integer not null check (attempt_no > 0),
  provider                text not null,
  account                 text not null default '',
  provider_payment_id     text,
  amount_minor            bigint not null check (amount_minor > 0),
  currency                text not null references currencies,
  state                   text not null check (state in ('created', 'pending', 'requires_action', 'processing', 'authorized', 'cancelled', 'captured')),
  rank                    smallint not null generated always as (case state
                            when 'created' then 0 when 'pending' then 10 when 'requires_action' then 20
                            when 'processing' then 30 when 'authorized' then 40 when 'cancelled' then 50 else 60 end) stored,
  captured_minor          bigint not null default 0 check (captured_minor >= 0),
  refund_reserved_minor   bigint not null default 0,
  role                    text not null default 'candidate' check (role in ('candidate', 'primary', 'surplus')),
  client_secret_enc       bytea,
  created_at              timestamptz not null default now(),
  opened_at               timestamptz,
  settled_at              timestamptz,
  unique (order_id, attempt_no),
  unique (provider, account, provider_payment_id),
  constraint payments_captured check ((state = 'captured') = (captured_minor > 0)),
  constraint payments_refunds check (refund_reserved_minor between 0 and captured_minor),
  constraint payments_roles check (role = 'candidate' or state = 'captured')
);
comment on column payments.rank is 'Events come in any order: a signal is applied only where its rank is higher. captured wins over cancelled.';
comment on column payments.client_secret_enc is 'AES-256-GCM under a key derived from the installation''s secret: nonce, ciphertext, tag.';
create unique index payments_one_primary on payments (order_id) where role = 'primary';

create table payment_attempts (
  payment_id              uuid not null references payments,
  provider_attempt_id     text not null,
  outcome                 text not null check (outcome in ('failed')),
  code                    text not null,
  at                      timestamptz not null default now(),
  primary key (payment_id, provider_attempt_id)
);
comment on table payment_attempts is 'A declined card does not end a payment: it is kept here and never lowers the rank.';

create table applied_signals (
  provider                text not null,
  object_id               text not null,
  signal                  text not null,
  amount_minor            bigint not null,
  event_id                text not null,
  at                      timestamptz not null default now(),
  primary key (provider, object_id, signal, amount_minor)
);
comment on table applied_signals is 'One fact is applied once, whatever the number of events that tell it.';

create table inbox (
  provider                text not null,
  account                 text not null default '',
  event_id                text not null check (length(event_id) between 1 and 255),
  type                    text not null,
  object_id               text not null,
  payload                 jsonb not null,
  state                   text not null check (state in ('received', 'applied', 'ignored', 'parked', 'failed')),
  note                    text not null default '',
  received_at             timestamptz not null default now(),
  resolved_at             timestamptz,
  primary key (provider, account, event_id),
  constraint inbox_resolved check ((state in ('applied', 'ignored')) = (resolved_at is not null))
);
comment on table inbox is 'Outside events taken in. That a row exists never means that it was applied: only its state does.';
create index inbox_open on inbox (received_at) where state in ('received', 'parked', 'failed');
create index inbox_object on inbox (object_id);
