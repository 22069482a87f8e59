-- Orders that ended years ago leave, by deletion: unique keys are not given up for partitions. History is never changed; it is
-- shortened from its old end alone, and by a year at the least, which the triggers below insist on.

-- What the movements of orders that left came to. Without it the ledger's sums would not be the stock any more (I3).
create table stock_carried (
  sku                     text not null,
  location                text not null,
  delta_on_hand           bigint not null,
  delta_reserved          bigint not null check (delta_reserved = 0),
  primary key (sku, location)
);
comment on table stock_carried is 'The sums of the movements of orders that were archived: what the ledger begins with.';

alter table coupons add column archived_uses bigint not null default 0;
comment on column coupons.archived_uses is 'Uses by orders that were archived: they count against max_uses as before.';

-- What is looked for, oldest first. Only orders and wishes that have ended are in them. Some seconds for a million rows, in
-- which these tables are not written; the jobs that write them wait and try again.
create index orders_ended on orders (updated_at) where status in ('completed', 'cancelled', 'refunded');
create index order_intents_ended on order_intents (created_at) where state in ('rejected', 'failed');
-- Whoever deletes a shipment looks for its labels.
create index labels_shipment on labels (shipment_id);

create function order_ends() returns trigger language plpgsql as $$
begin
  if old.updated_at > now() - interval '365 days' or old.status not in ('completed', 'cancelled', 'refunded') then
    raise exception 'orders: DELETE of what is open or younger than a year refused' using errcode = 'restrict_violation';
  end if;
  return old;
end $$;
create trigger orders_end before delete on orders for each row execute function order_ends();
create trigger orders_stay before truncate on orders for each statement execute function refuse_change();

-- What hangs on an order goes with it, and never before.
create function order_part_ends() returns trigger language plpgsql as $$
begin
  if exists (select from orders where id = old.order_id and (updated_at > now() - interval '365 days'
                                                          or status not in ('completed', 'cancelled', 'refunded'))) then
    raise exception '% is append-only: DELETE of what is open or younger than a year refused', tg_table_name
      using errcode = 'restrict_violation';
  end if;
  return old;
end $$;

drop trigger order_events_append_only on order_events;
create trigger order_events_append_only before update or truncate on order_events
  for each statement execute function refuse_change();
create trigger order_events_end before delete on order_events for each row execute function order_part_ends();

drop trigger order_items_frozen on order_items;
create trigger order_items_frozen before truncate on order_items for each statement execute function refuse_change();
create trigger order_items_end before delete on order_items for each row execute function order_part_ends();

drop trigger parcel_lines_frozen on parcel_lines;
create trigger parcel_lines_frozen before update or truncate on parcel_lines
  for each statement execute function refuse_change();
create trigger parcel_lines_end before delete on parcel_lines for each row execute function order_part_ends();

drop trigger coupon_uses_stay on coupon_uses;
create trigger coupon_uses_stay before truncate on coupon_uses for each statement execute function refuse_change();
create trigger coupon_uses_end before delete on coupon_uses for each row execute function order_part_ends();

drop trigger refunds_stay on refunds;
drop function refunds_stay();
create trigger refunds_stay before truncate on refunds for each statement execute function refuse_change();
create trigger refunds_end before delete on refunds for each row execute function order_part_ends();

-- A movement goes with its hold; what came, and what was counted, stays.
create function stock_movement_ends() returns trigger language plpgsql as $$
begin
  if old.reservation_id is null or old.at > now() - interval '365 days' then
    raise exception 'stock_movements is append-only: DELETE of what is no hold''s or younger than a year refused'
      using errcode = 'restrict_violation';
  end if;
  return old;
end $$;
drop trigger stock_movements_append_only on stock_movements;
create trigger stock_movements_append_only before update or truncate on stock_movements
  for each statement execute function refuse_change();
create trigger stock_movements_end before delete on stock_movements for each row execute function stock_movement_ends();
