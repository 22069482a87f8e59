-- Parcels, labels, and what carriers say of them.

create table shipments (
  id                      uuid primary key,
  order_id                uuid not null references orders,
  parcel_no               integer not null check (parcel_no > 0),
  epoch                   integer not null default 1 check (epoch > 0),
  reference               text not null unique,
  provider                text not null,
  provider_shipment_id    text unique,
  state                   text not null check (state in ('draft', 'rated', 'purchasing', 'label_purchased', 'address_failed', 'rate_failed', 'purchase_failed', 'cancelled')),
  rate_id                 text,
  template                text not null,
  weight_g                integer not null check (weight_g > 0),
  tracking_status         text not null default 'unknown',
  tracking_rank           smallint not null default 0,
  created_at              timestamptz not null default now(),
  unique (order_id, parcel_no, epoch),
  constraint shipments_known check (state in ('draft', 'address_failed', 'rate_failed', 'cancelled') or provider_shipment_id is not null),
  constraint shipments_rate check (state not in ('purchasing', 'label_purchased') or rate_id is not null)
);

create table labels (
  id                      uuid primary key,
  shipment_id             uuid not null references shipments,
  order_id                uuid not null references orders,
  parcel_no               integer not null,
  carrier                 text not null,
  service                 text not null,
  tracking_code           text not null,
  tracker_id              text,
  label_url               text not null,
  cost_minor              bigint not null check (cost_minor >= 0),
  currency                text not null,
  void_state              text check (void_state in ('void_requested', 'voided', 'void_rejected')),
  purchased_at            timestamptz not null default now(),
  voided_at               timestamptz,
  unique (carrier, tracking_code),
  constraint labels_voided check ((voided_at is not null) = (void_state is not null and void_state = 'voided'))
);
create unique index labels_one_live on labels (order_id, parcel_no) where voided_at is null;
create index labels_tracking on labels (tracking_code);

create table tracking_events (
  provider                text not null,
  event_id                text not null,
  shipment_id             uuid not null references shipments,
  status                  text not null,
  rank                    smallint not null,
  occurred_at             timestamptz,
  received_at             timestamptz not null default now(),
  primary key (provider, event_id)
);
create index tracking_events_shipment on tracking_events (shipment_id);

create table order_exceptions (
  id                      uuid primary key,
  order_id                uuid not null references orders,
  type                    text not null,
  severity                text not null check (severity in ('info', 'warning', 'critical')),
  state                   text not null default 'open' check (state in ('open', 'acknowledged', 'resolved')),
  detail                  text not null,
  customer_notified       boolean not null default false,
  opened_at               timestamptz not null default now(),
  resolved_at             timestamptz,
  constraint order_exceptions_resolved check ((state = 'resolved') = (resolved_at is not null))
);
comment on table order_exceptions is 'What a person must see. detail holds ids, codes and amounts, never personal data.';
create unique index order_exceptions_one_open on order_exceptions (order_id, type) where state <> 'resolved';

create table communications (
  id                      uuid primary key,
  order_id                uuid references orders,
  kind                    text not null,
  dedupe_key              text not null,
  channel                 text not null default 'email' check (channel in ('email')),
  recipient               text not null,
  recipient_hash          bytea not null,
  locale                  text not null default 'en',
  facts                   jsonb not null default '{}',
  state                   text not null check (state in ('queued', 'sending', 'sent', 'failed', 'suppressed')),
  message_id              text unique,
  possible_duplicates     integer not null default 0,
  created_at              timestamptz not null default now(),
  sent_at                 timestamptz,
  unique (kind, dedupe_key, recipient_hash),
  constraint communications_sent check ((state = 'sent') = (sent_at is not null))
);
comment on column communications.possible_duplicates is 'Sends whose outcome nobody knows: the worker died, or the line broke after DATA.';
create index communications_order on communications (order_id);
