-- Coupons: what a code takes off, how often it may be used, and which orders use it.

create table coupons (
  code                    text primary key check (code ~ '^[A-Z0-9._-]{1,64}$'),
  basis_points            integer check (basis_points between 1 and 10000),
  max_uses                bigint check (max_uses > 0),
  uses                    bigint not null default 0,
  valid_from              timestamptz,
  valid_until             timestamptz,
  constraint coupons_not_overdrawn check (uses between 0 and coalesce(max_uses, uses))
) with (fillfactor = 50);
comment on column coupons.basis_points is 'The part of the goods that it takes off; null where coupon_terms say an amount.';
comment on column coupons.max_uses is 'Null: without end.';
comment on column coupons.uses is 'Orders that use it now. Kept by the triggers of coupon_uses, so that no code path can forget it.';

create table coupon_terms (
  code                    text not null references coupons,
  currency                text not null references currencies,
  amount_minor            bigint check (amount_minor > 0),
  minimum_minor           bigint not null default 0 check (minimum_minor >= 0),
  primary key (code, currency)
);
comment on column coupon_terms.minimum_minor is 'What the goods must cost.';

create table coupon_uses (
  order_id                uuid not null references orders,
  code                    text not null references coupons,
  discount_minor          bigint not null check (discount_minor >= 0),
  taken_at                timestamptz not null default clock_timestamp(),
  given_back_at           timestamptz,
  primary key (order_id, code)
);
comment on table coupon_uses is 'Taken with the order, given back once where the order is called off: a use is held as pieces are.';
create index coupon_uses_code on coupon_uses (code) where given_back_at is null;

create function coupon_taken() returns trigger language plpgsql as $$
begin
  update coupons c set uses = c.uses + n.uses
    from (select code, count(*) as uses from added group by code) n where c.code = n.code;
  return null;
end $$;
create trigger coupon_uses_taken after insert on coupon_uses referencing new table as added
  for each statement execute function coupon_taken();

create function coupon_given_back() returns trigger language plpgsql as $$
begin
  if exists (select from before_rows o left join after_rows n using (order_id, code)
              where o.given_back_at is not null or n.discount_minor is distinct from o.discount_minor) then
    raise exception 'a coupon''s use is given back once, and nothing else of it changes' using errcode = 'check_violation';
  end if;
  update coupons c set uses = c.uses - n.uses
    from (select code, count(*) as uses from after_rows where given_back_at is not null group by code) n where c.code = n.code;
  return null;
end $$;
create trigger coupon_uses_given_back after update on coupon_uses
  referencing old table as before_rows new table as after_rows
  for each statement execute function coupon_given_back();
create trigger coupon_uses_stay before delete or truncate on coupon_uses
  for each statement execute function refuse_change();
