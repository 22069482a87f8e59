-- What can be bought, what it costs, and how much of it there is.

create table currencies (
  code                    text primary key check (code ~ '^[A-Z]{3}$'),
  exponent                smallint not null check (exponent in (0, 2, 3)),
  stripe_exponent         smallint not null check (stripe_exponent in (0, 2, 3)),
  must_be_divisible_by    integer not null default 1 check (must_be_divisible_by > 0)
);
comment on table currencies is 'ISO 4217 codes that the shop sells in; exponents as ISO and as Stripe count them.';
insert into currencies (code, exponent, stripe_exponent, must_be_divisible_by) values
  ('USD', 2, 2, 1), ('EUR', 2, 2, 1), ('GBP', 2, 2, 1), ('NPR', 2, 2, 1), ('ETB', 2, 2, 1), ('INR', 2, 2, 1),
  ('JPY', 0, 0, 1), ('KWD', 3, 3, 10), ('HUF', 2, 2, 1), ('TWD', 2, 2, 1), ('ISK', 0, 2, 100), ('UGX', 0, 2, 100);

create table skus (
  sku                     text primary key check (length(sku) between 1 and 64),
  name                    text not null,
  weight_g                integer not null check (weight_g > 0),
  length_mm               integer not null check (length_mm > 0),
  width_mm                integer not null check (width_mm > 0),
  height_mm               integer not null check (height_mm > 0),
  tax_class               text not null default 'standard',
  vendor                  text not null default '',
  hs_code                 text not null,
  origin                  text not null check (origin ~ '^[A-Z]{2}$'),
  customs_description     text not null,
  is_sold                 boolean not null default true
);
comment on column skus.hs_code is 'Harmonised System code, for customs forms of parcels that leave the country.';

create table prices (
  sku                     text not null references skus,
  currency                text not null references currencies,
  unit_minor              bigint not null check (unit_minor >= 0),
  primary key (sku, currency)
);

create table tax_rates (
  country                 text not null check (country ~ '^([A-Z]{2}|\*)$'),
  tax_class               text not null,
  basis_points            integer not null check (basis_points between 0 and 10000),
  primary key (country, tax_class)
);
comment on table tax_rates is 'Tax added to the net price, by destination; "*" is every other country. 100 basis points are one per cent.';
insert into tax_rates (country, tax_class, basis_points) values
  ('*', 'standard', 0), ('US', 'standard', 0), ('NP', 'standard', 1300), ('ET', 'standard', 1500);

create table shipping_rates (
  method                  text not null,
  country                 text not null check (country ~ '^([A-Z]{2}|\*)$'),
  currency                text not null references currencies,
  amount_minor            bigint not null check (amount_minor >= 0),
  max_days                integer not null check (max_days > 0),
  primary key (method, country, currency)
);
comment on table shipping_rates is 'What the customer pays for shipping, and how many days it may take; "*" is every other country.';
insert into shipping_rates (method, country, currency, amount_minor, max_days) values
  ('standard', 'US', 'USD', 900, 10), ('standard', '*', 'USD', 2900, 30),
  ('express', 'US', 'USD', 2400, 3), ('express', '*', 'USD', 5900, 7),
  ('standard', 'NP', 'NPR', 45000, 30), ('standard', '*', 'NPR', 390000, 30),
  ('express', '*', 'NPR', 790000, 7),
  ('standard', 'ET', 'ETB', 35000, 30), ('standard', '*', 'ETB', 360000, 30),
  ('express', '*', 'ETB', 730000, 7);

create table package_templates (
  name                    text primary key,
  length_mm               integer not null check (length_mm > 0),
  width_mm                integer not null check (width_mm > 0),
  height_mm               integer not null check (height_mm > 0),
  tare_g                  integer not null check (tare_g >= 0),
  max_weight_g            integer not null check (max_weight_g > 0)
);
insert into package_templates (name, length_mm, width_mm, height_mm, tare_g, max_weight_g) values
  ('mailer', 350, 250, 40, 60, 1000), ('box-s', 350, 300, 100, 180, 4000),
  ('box-m', 600, 450, 150, 450, 10000), ('box-l', 700, 500, 350, 900, 30000);

-- One row a SKU and location. HOT updates need the free half of each page and no index beside the key.
create table stock (
  sku                     text not null references skus,
  location                text not null default 'main',
  on_hand                 bigint not null check (on_hand >= 0),
  reserved                bigint not null default 0,
  backorder_limit         bigint not null default 0 check (backorder_limit >= 0),
  backordered             bigint not null default 0 check (backordered >= 0),
  version                 bigint not null default 1,
  primary key (sku, location),
  constraint stock_never_oversold check (reserved between 0 and on_hand + backorder_limit)
) with (fillfactor = 50);
comment on column stock.reserved is 'Held by active reservations; available is on_hand + backorder_limit - reserved.';

-- Every change of a stock row, for ever: the sums of its deltas are the row (invariant I3).
create table stock_movements (
  id                      bigint generated always as identity primary key,
  sku                     text not null,
  location                text not null,
  kind                    text not null check (kind in ('receipt', 'adjustment', 'reserve', 'commit', 'release', 'expire', 'restock')),
  reservation_id          uuid,
  source                  text not null default '',
  delta_on_hand           bigint not null,
  delta_reserved          bigint not null,
  at                      timestamptz not null default now(),
  constraint stock_movements_reservation check ((reservation_id is not null) = (kind in ('reserve', 'commit', 'release', 'expire', 'restock'))),
  constraint stock_movements_once unique (reservation_id, kind, source)
);
comment on column stock_movements.source is 'What caused it: empty for a hold''s own life, the return''s id for a restock, the request''s key for receipts and adjustments.';
create unique index stock_movements_source on stock_movements (sku, location, kind, source) where reservation_id is null;
create index stock_movements_sku on stock_movements (sku, location);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only: % refused', tg_table_name, tg_op using errcode = 'restrict_violation';
end $$;
create trigger stock_movements_append_only before update or delete or truncate on stock_movements
  for each statement execute function refuse_change();
