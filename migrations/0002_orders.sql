-- Intents, orders, their history, and holds on stock.

create table order_intents (
  id                      uuid primary key,
  tenant                  text not null,
  customer_id             text not null,
  cart_id                 text not null,
  fingerprint             bytea not null check (length(fingerprint) = 32),
  state                   text not null check (state in ('accepted', 'rejected', 'failed')),
  order_id                uuid unique,
  reject_code             text,
  reject_details          jsonb,
  payload                 jsonb not null,
  version                 bigint not null default 1,
  created_at              timestamptz not null default now(),
  constraint order_intents_accepted check ((state = 'accepted') = (order_id is not null)),
  constraint order_intents_refused check ((state = 'accepted') = (reject_code is null))
);
comment on column order_intents.id is 'HMAC of tenant, customer and idempotency key: the same after Redis forgot the key.';
create index order_intents_created on order_intents (created_at);

create table order_statuses (
  status                  text primary key,
  is_terminal             boolean not null,
  is_paid                 boolean not null,
  has_shipped             boolean not null
);
comment on table order_statuses is 'The 16 states. is_paid: money was settled to get here; has_shipped: the goods left the house.';
insert into order_statuses (status, is_terminal, is_paid, has_shipped) values
  ('pending_payment', false, false, false), ('payment_confirmed', false, true, false), ('confirmed', false, true, false),
  ('processing', false, true, false), ('in_production', false, true, false), ('quality_check', false, true, false),
  ('packaging', false, true, false), ('fulfilled', false, true, false), ('shipped', false, true, true),
  ('out_for_delivery', false, true, true), ('delivered', false, true, true), ('completed', true, true, true),
  ('on_hold', false, false, false), ('exception', false, false, false), ('cancelled', true, false, false),
  ('refunded', true, false, false);

create table legal_transitions (
  from_status             text not null references order_statuses,
  to_status               text not null references order_statuses,
  primary key (from_status, to_status)
);
comment on table legal_transitions is 'Every move that an order may make: order_events refers to it, so that no other can be written.';
insert into legal_transitions (from_status, to_status) values
  ('pending_payment', 'payment_confirmed'), ('pending_payment', 'cancelled'),
  ('payment_confirmed', 'confirmed'), ('payment_confirmed', 'processing'),
  ('confirmed', 'processing'),
  ('processing', 'in_production'), ('processing', 'quality_check'), ('processing', 'packaging'),
  ('in_production', 'quality_check'),
  ('quality_check', 'packaging'), ('quality_check', 'in_production'),
  ('packaging', 'fulfilled'), ('packaging', 'shipped'),
  ('fulfilled', 'shipped'),
  ('shipped', 'out_for_delivery'), ('shipped', 'delivered'),
  ('out_for_delivery', 'delivered'), ('out_for_delivery', 'shipped'),
  ('delivered', 'completed'), ('completed', 'refunded'), ('delivered', 'refunded'), ('out_for_delivery', 'refunded'),
  ('shipped', 'refunded'), ('cancelled', 'refunded'), ('exception', 'refunded'), ('on_hold', 'refunded'),
  ('exception', 'on_hold'), ('on_hold', 'exception'), ('exception', 'cancelled'), ('on_hold', 'cancelled'),
  ('delivered', 'exception'), ('out_for_delivery', 'exception'), ('shipped', 'exception'), ('exception', 'delivered'),
  ('exception', 'out_for_delivery'), ('exception', 'shipped');
-- What every state before the hand-over may do: be held, become an exception and resume; once paid, be cancelled and refunded.
insert into legal_transitions (from_status, to_status)
  select s, t from unnest(array['pending_payment', 'payment_confirmed', 'confirmed', 'processing', 'in_production',
                                'quality_check', 'packaging', 'fulfilled']) s, unnest(array['on_hold', 'exception']) t
  union select t, s from unnest(array['pending_payment', 'payment_confirmed', 'confirmed', 'processing', 'in_production',
                                      'quality_check', 'packaging', 'fulfilled']) s, unnest(array['on_hold', 'exception']) t
  union select s, t from unnest(array['payment_confirmed', 'confirmed', 'processing', 'in_production', 'quality_check',
                                      'packaging', 'fulfilled']) s, unnest(array['cancelled', 'refunded']) t;

create sequence order_numbers start 100001;

create table orders (
  id                      uuid primary key,
  order_number            text not null unique,
  intent_id               uuid not null unique,
  tenant                  text not null,
  cart_id                 text not null,
  customer_id             text not null,
  customer                jsonb not null,
  shipping_address        jsonb not null,
  billing_address         jsonb,
  shipping_method         text not null,
  payment_provider        text not null,
  currency                text not null references currencies,
  subtotal_minor          bigint not null check (subtotal_minor >= 0),
  discount_minor          bigint not null default 0 check (discount_minor >= 0),
  shipping_minor          bigint not null check (shipping_minor >= 0),
  tax_minor               bigint not null check (tax_minor >= 0),
  total_minor             bigint not null check (total_minor >= 0),
  captured_minor          bigint not null default 0,
  refunded_minor          bigint not null default 0,
  status                  text not null references order_statuses,
  resume_to               text references order_statuses,
  cancel_reason           text check (cancel_reason in ('customer', 'admin', 'payment_failed', 'expired', 'out_of_stock', 'fraud', 'duplicate')),
  cancel_requested        boolean not null default false,
  priority                text not null,
  score                   smallint not null,
  metadata                jsonb not null default '{}',
  version                 bigint not null default 1,
  status_seq              integer not null default 1,
  actor                   text not null,
  cause                   text not null,
  created_at              timestamptz not null default now(),
  updated_at              timestamptz not null default now(),
  payable_until           timestamptz not null,
  constraint orders_totals_add_up check (subtotal_minor - discount_minor + shipping_minor + tax_minor = total_minor),
  constraint orders_refunds check (refunded_minor between 0 and captured_minor),
  constraint orders_resume check ((status in ('on_hold', 'exception')) = (resume_to is not null)),
  constraint orders_cancelled check (status <> 'cancelled' or cancel_reason is not null)
) with (fillfactor = 80);
comment on column orders.payable_until is 'Until then an expired order can be paid again; then it is cancelled.';
comment on column orders.actor is 'Who made the last change: system, a role and id. Read by the trigger that writes order_events.';
comment on column orders.cause is 'What caused the last change: a job, event or request id. Read by the trigger that writes order_events.';
-- Open: not paid yet and not over. A cart has one such order, so that two tabs can't buy it twice.
create unique index orders_open_cart on orders (tenant, cart_id)
  where captured_minor = 0 and status in ('pending_payment', 'on_hold', 'exception');
create index orders_customer on orders (customer_id, id desc);
create index orders_work on orders (status, score desc, created_at)
  where status not in ('completed', 'cancelled', 'refunded', 'delivered');

create table order_items (
  order_id                uuid not null references orders,
  line_no                 integer not null check (line_no > 0),
  sku                     text not null,
  name                    text not null,
  quantity                bigint not null check (quantity > 0),
  unit_minor              bigint not null check (unit_minor >= 0),
  total_minor             bigint not null,
  weight_g                integer not null,
  vendor                  text not null default '',
  attributes              jsonb not null default '{}',
  primary key (order_id, line_no),
  constraint order_items_total check (total_minor = quantity * unit_minor)
);
comment on table order_items is 'The cart as it was: prices and names are copied at acceptance and never change.';
create trigger order_items_frozen before update or delete or truncate on order_items
  for each statement execute function refuse_change();

-- The history of an order's status. Written by the trigger below, so that no code path can skip it.
create table order_events (
  order_id                uuid not null references orders,
  seq                     integer not null check (seq > 0),
  from_status             text,
  to_status               text not null,
  actor                   text not null,
  cause                   text not null,
  at                      timestamptz not null default clock_timestamp(),
  primary key (order_id, seq),
  foreign key (from_status, to_status) references legal_transitions,
  constraint order_events_first check ((seq = 1) = (from_status is null))
);
create trigger order_events_append_only before update or delete or truncate on order_events
  for each statement execute function refuse_change();

create function order_changes() returns trigger language plpgsql as $$
begin
  new.version := old.version + 1;
  new.updated_at := clock_timestamp();
  if new.status <> old.status then
    new.status_seq := old.status_seq + 1;
  end if;
  return new;
end $$;
create trigger orders_version before update on orders for each row execute function order_changes();

create function order_created_event() returns trigger language plpgsql as $$
begin
  insert into order_events (order_id, seq, from_status, to_status, actor, cause)
    select id, status_seq, null, status, actor, cause from added;
  return null;
end $$;
create trigger orders_created after insert on orders referencing new table as added
  for each statement execute function order_created_event();

create function order_moved_event() returns trigger language plpgsql as $$
begin
  insert into order_events (order_id, seq, from_status, to_status, actor, cause)
    select n.id, n.status_seq, o.status, n.status, n.actor, n.cause
      from after_rows n join before_rows o on o.id = n.id where n.status <> o.status;
  return null;
end $$;
create trigger orders_moved after update on orders referencing old table as before_rows new table as after_rows
  for each statement execute function order_moved_event();

create table reservations (
  id                      uuid primary key,
  order_id                uuid not null references orders,
  sku                     text not null,
  location                text not null default 'main',
  epoch                   integer not null default 1 check (epoch > 0),
  quantity                bigint not null check (quantity > 0),
  state                   text not null check (state in ('active', 'committed', 'released', 'expired', 'restocked')),
  expires_at              timestamptz not null,
  max_until               timestamptz not null,
  extensions              integer not null default 0,
  max_extensions          integer not null,
  closing_at              timestamptz,
  resolved_at             timestamptz,
  created_at              timestamptz not null default clock_timestamp(),
  unique (order_id, sku, location, epoch),
  constraint reservations_extensions check (extensions between 0 and max_extensions),
  constraint reservations_end check (expires_at <= max_until),
  constraint reservations_resolved check ((state = 'active') = (resolved_at is null)),
  constraint reservations_closing check (closing_at is null or state = 'active')
) with (fillfactor = 80);
comment on column reservations.closing_at is 'The provider is being asked at the deadline: no payment may be opened meanwhile.';
create unique index reservations_one_active on reservations (order_id, sku, location) where state = 'active';
create index reservations_due on reservations (expires_at) where state = 'active';

create function reservation_moves() returns trigger language plpgsql as $$
begin
  if new.state <> old.state and not (
       (old.state = 'active' and new.state in ('committed', 'released', 'expired'))
    or (old.state = 'committed' and new.state = 'restocked')) then
    raise exception 'a reservation can not go from % to %', old.state, new.state using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger reservations_moves before update of state on reservations
  for each row execute function reservation_moves();
