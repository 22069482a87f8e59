//! Goods: no piece is sold twice, and every piece that came is still here, held or sold.

use super::{Invariant, Of, When, public_id};

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I1",
        name: "no oversell",
        sentence: "No more is held than is in the house and may be sold beyond it.",
        when: When::Always,
        of: Of::Name,
        sql: "select sku || '/' || location,
                     format('on hand %s, reserved %s, backorder limit %s, owed %s', on_hand, reserved, backorder_limit,
                            backordered)
                from stock where on_hand < 0 or reserved < 0 or backordered < 0
                  or reserved > on_hand + backorder_limit - backordered or (on_hand > 0 and backordered > 0)",
    },
    Invariant {
        id: "I2",
        name: "held is what holds hold",
        sentence: "A stock row's reserved pieces are the sum of its active holds.",
        when: When::Always,
        of: Of::Name,
        sql: "select sku || '/' || location,
                     format('reserved %s, active holds %s', coalesce(s.reserved, 0), coalesce(r.pieces, 0))
                from stock s full join (select sku, location, sum(quantity) as pieces from reservations
                                         where state = 'active' group by sku, location) r using (sku, location)
               where coalesce(s.reserved, 0) <> coalesce(r.pieces, 0)",
    },
    Invariant {
        id: "I3",
        name: "stock is its ledger's sum",
        sentence: "A stock row is the sum of its movements, those of archived orders among them: in the house less what is owed, and held.",
        when: When::Always,
        of: Of::Name,
        sql: "select sku || '/' || location,
                     format('on hand less owed %s, ledger %s; reserved %s, ledger %s', coalesce(s.on_hand - s.backordered, 0),
                            coalesce(m.on_hand, 0), coalesce(s.reserved, 0), coalesce(m.reserved, 0))
                from stock s full join (select sku, location, sum(delta_on_hand) as on_hand, sum(delta_reserved) as reserved
                                          from (select sku, location, delta_on_hand, delta_reserved from stock_movements
                                                union all select sku, location, delta_on_hand, delta_reserved from stock_carried) l
                                         group by sku, location) m using (sku, location)
               where coalesce(s.on_hand - s.backordered, 0) <> coalesce(m.on_hand, 0) or coalesce(s.reserved, 0) <> coalesce(m.reserved, 0)",
    },
    Invariant {
        id: "I4",
        name: "units are conserved",
        sentence: "Each movement changes only what its kind may, by as many pieces as its hold has: with I3, what came less what was sold is in the house.",
        when: When::Always,
        of: Of::Name,
        sql: "select 'movement ' || m.id,
                     format('%s of %s: on hand %s, reserved %s, its hold has %s', m.kind, m.sku, m.delta_on_hand,
                            m.delta_reserved, coalesce(r.quantity::text, 'none'))
                from stock_movements m left join reservations r on r.id = m.reservation_id
               where r.sku <> m.sku or not case
                       when m.kind in ('receipt', 'adjustment') then m.delta_reserved = 0
                       when m.kind = 'reserve' then m.delta_on_hand = 0 and m.delta_reserved > 0
                         and m.delta_reserved = coalesce(r.quantity, m.delta_reserved)
                       when m.kind = 'commit' then m.delta_on_hand < 0 and m.delta_reserved = m.delta_on_hand
                         and -m.delta_on_hand = coalesce(r.quantity, -m.delta_on_hand)
                       when m.kind in ('release', 'expire') then m.delta_on_hand = 0 and m.delta_reserved < 0
                         and -m.delta_reserved = coalesce(r.quantity, -m.delta_reserved)
                       else m.delta_reserved = 0 and m.delta_on_hand between 1 and coalesce(r.quantity, m.delta_on_hand)
                     end",
    },
    Invariant {
        id: "I5",
        name: "a line is held once and in full",
        sentence: "Each hold of an order has its line's pieces, each line was held, and at most one hold of it is active.",
        when: When::Always,
        of: Of::Order,
        sql: "select order_id, format('%s: %s held, %s ordered', sku, coalesce(r.pieces, 0), coalesce(i.pieces, 0))
                from (select order_id, sku, epoch, sum(quantity) as pieces from reservations group by order_id, sku, epoch) r
                full join (select order_id, sku, sum(quantity) as pieces from order_items group by order_id, sku) i
                     using (order_id, sku)
               where r.pieces is distinct from i.pieces
              union all
              select order_id, format('%s: %s active holds', sku, count(*)) from reservations where state = 'active'
               group by order_id, sku, location having count(*) > 1",
    },
    Invariant {
        id: "I6",
        name: "a hold begins and ends once",
        sentence: "A hold has one movement that made it, and exactly the one that its end asks for.",
        when: When::Always,
        of: Of::Reservation,
        sql: "select r.id, format('%s, but %s made and %s ended it', r.state, coalesce(m.made, 0), coalesce(m.ended, 0))
                from reservations r
                left join (select reservation_id, count(*) filter (where kind = 'reserve') as made,
                                  count(*) filter (where kind in ('commit', 'release', 'expire')) as ended,
                                  max(kind) filter (where kind in ('commit', 'release', 'expire')) as how,
                                  bool_or(kind = 'restock') as restocked
                             from stock_movements where reservation_id is not null group by reservation_id) m
                     on m.reservation_id = r.id
               where coalesce(m.made, 0) <> 1
                  or coalesce(m.ended, 0) <> case r.state when 'active' then 0 else 1 end
                  or m.how is distinct from case r.state when 'committed' then 'commit' when 'restocked' then 'commit'
                                                         when 'released' then 'release' when 'expired' then 'expire' end
                  or (r.state = 'restocked' and not m.restocked)",
    },
    Invariant {
        id: "I7",
        name: "no hold is overdue",
        sentence: "A hold whose time has been over for 30 seconds has ended, or an open job is about to end it.",
        when: When::Quiescent,
        of: Of::Reservation,
        sql: concat!(
            "with overdue as materialized (
                select id, expires_at, ", public_id!("ord", "order_id"), " as public_order from reservations
                 where state = 'active' and expires_at < now() - interval '30 s')
              select o.id, format('over since %s', to_char(o.expires_at, 'YYYY-MM-DD HH24:MI:SSOF'))
                from overdue o left join jobs j on j.kind = 'reservation-expiry' and j.payload ->> 'order' = o.public_order
               where j.id is null"
        ),
    },
    Invariant {
        id: "I8",
        name: "a paid order has its goods",
        sentence: "The last hold of each line of a paid order is committed.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('%s: hold %s of %s is %s', o.status, r.epoch, r.sku, r.state)
                from (select distinct on (order_id, sku, location) order_id, sku, epoch, state from reservations
                       order by order_id, sku, location, epoch desc) r
                join orders o on o.id = r.order_id
                join order_statuses s on s.status = coalesce(o.resume_to, o.status)
               where s.is_paid and r.state not in ('committed', 'restocked')",
    },
    Invariant {
        id: "I9",
        name: "an order that is over holds nothing",
        sentence: "A cancelled or refunded order has no active hold, and the sold pieces of a cancelled one came back.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('%s, but %s of %s are held', o.status, r.quantity, r.sku)
                from reservations r join orders o on o.id = r.order_id join order_statuses s on s.status = o.status
               where r.state = 'active' and s.is_terminal and not s.is_paid
              union all
              select o.id, format('called off, but %s of %s stayed sold', r.quantity, r.sku)
                from reservations r join orders o on o.id = r.order_id
               where r.state = 'committed' and o.status in ('cancelled', 'refunded')
                 and exists (select from order_events e where e.order_id = o.id and e.to_status = 'cancelled')",
    },
    Invariant {
        id: "I10",
        name: "sold is what was paid for",
        sentence: "The committed pieces of an SKU are those of paid orders' lines that did not come back.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "with sold as (
                select r.sku, sum(r.quantity) as pieces from reservations r join orders o on o.id = r.order_id
                 where r.state = 'committed' and o.status not in ('cancelled', 'refunded') group by r.sku),
              back as (select distinct order_id, sku from reservations where state = 'restocked'),
              paid as (
                select i.sku, sum(i.quantity) as pieces
                  from order_items i join orders o on o.id = i.order_id
                  join order_statuses s on s.status = coalesce(o.resume_to, o.status) and s.is_paid
                  left join back b on b.order_id = i.order_id and b.sku = i.sku
                 where b.sku is null group by i.sku)
              select sku, format('%s committed, %s paid', coalesce(sold.pieces, 0), coalesce(paid.pieces, 0))
                from sold full join paid using (sku) where coalesce(sold.pieces, 0) <> coalesce(paid.pieces, 0)",
    },
];
