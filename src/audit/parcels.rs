//! Parcels: one label each, none for goods that nobody paid, and none that went backwards.

use super::{Invariant, Of, When};

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I29",
        name: "one live label a parcel",
        sentence: "A parcel has at most one label that is neither given back nor about to be, and a cancelled order's is given back, or was not taken back.",
        when: When::Always,
        of: Of::Order,
        sql: "select order_id, format('parcel %s has %s live labels', parcel_no, count(*)) from labels where void_state is null
               group by order_id, parcel_no having count(*) > 1
              union all
              select o.id, format('called off, but the label of parcel %s lives', l.parcel_no)
                from labels l join orders o on o.id = l.order_id
               where l.void_state is null and o.status in ('cancelled', 'refunded')
                 and exists (select from order_events e where e.order_id = o.id and e.to_status = 'cancelled')",
    },
    Invariant {
        id: "I31",
        name: "nothing ships unpaid or unlabelled",
        sentence: "An order whose goods left the house has a label for each parcel, and its money is captured or was promised at the door; completed, it is captured.",
        when: When::Always,
        of: Of::Order,
        sql: "with shipped as (
                select o.id, o.status, o.total_minor from orders o
                  join order_statuses s on s.status = coalesce(o.resume_to, o.status) and s.has_shipped)
              select o.id, format('%s, without a live label', o.status) from shipped o
               where not exists (select from labels l where l.order_id = o.id and l.voided_at is null)
              union all
              select o.id, format('%s, and its parcel %s has no live label', o.status, p.parcel_no) from shipped o
                join (select distinct order_id, parcel_no from parcel_lines) p on p.order_id = o.id
               where not exists (select from labels l where l.order_id = o.id and l.parcel_no = p.parcel_no and l.voided_at is null)
              union all
              select o.id, format('%s, and none of %s is captured', o.status, o.total_minor) from shipped o
               where o.total_minor > 0 and not exists (
                       select from payments p where p.order_id = o.id
                          and ((p.role = 'primary' and p.state = 'captured')
                               or (p.provider = 'cash_on_delivery' and p.state in ('authorized', 'captured')
                                   and o.status <> 'completed')))",
    },
    Invariant {
        id: "I37",
        name: "tracking never goes back",
        sentence: "A parcel is as far as the furthest scan of it.",
        when: When::Always,
        of: Of::Shipment,
        sql: "select s.id, format('at rank %s, the furthest scan is %s', s.tracking_rank, coalesce(e.furthest, 0))
                from shipments s
                left join (select shipment_id, max(rank) as furthest from tracking_events group by shipment_id) e
                     on e.shipment_id = s.id
               where s.tracking_rank <> greatest(coalesce(e.furthest, 0), 0)",
    },
    Invariant {
        id: "I49",
        name: "every piece lies in one parcel",
        sentence: "The parcels of an order that leaves in several hold all of its pieces, and no more.",
        when: When::Always,
        of: Of::Order,
        sql: "select i.order_id, format('line %s: %s pieces, %s in parcels', i.line_no, i.quantity, coalesce(p.pieces, 0))
                from (select distinct order_id from parcel_lines) o
                join order_items i on i.order_id = o.order_id
                left join (select order_id, line_no, sum(quantity) as pieces from parcel_lines group by order_id, line_no) p
                     on p.order_id = i.order_id and p.line_no = i.line_no
               where coalesce(p.pieces, 0) <> i.quantity",
    },
];
