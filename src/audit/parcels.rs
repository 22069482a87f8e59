//! Parcels: one label each, none for goods that nobody paid, and none that went backwards.

use super::{Invariant, Of, When};

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I29",
        name: "one live label a parcel",
        sentence: "A parcel has at most one label that is not voided, and a cancelled order's is given back, or was not taken back.",
        when: When::Always,
        of: Of::Order,
        sql: "select order_id, format('parcel %s has %s live labels', parcel_no, count(*)) from labels where voided_at is null
               group by order_id, parcel_no having count(*) > 1
              union all
              select o.id, format('cancelled, but the label of parcel %s lives', l.parcel_no)
                from labels l join orders o on o.id = l.order_id
               where o.status = 'cancelled' and l.void_state is null",
    },
    Invariant {
        id: "I31",
        name: "nothing ships unpaid or unlabelled",
        sentence: "An order whose goods left the house has a label, and its money is captured.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('%s, %s labels, captured %s of %s', o.status, coalesce(l.live, 0), coalesce(p.captured, 0), o.total_minor)
                from orders o
                join order_statuses s on s.status = coalesce(o.resume_to, o.status) and s.has_shipped
                left join (select order_id, count(*) as live from labels where voided_at is null group by order_id) l
                     on l.order_id = o.id
                left join (select order_id, sum(captured_minor) as captured from payments
                            where role = 'primary' and state = 'captured' group by order_id) p on p.order_id = o.id
               where l.live is null or (o.total_minor > 0 and p.captured is null)",
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
];
