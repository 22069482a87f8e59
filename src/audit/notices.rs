//! Notices: everybody is told what they must know, once, and none is forgotten on its way.

use super::{Invariant, Of, When, public_id};

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I32",
        name: "a notice is sent once",
        sentence: "At most one notice was sent for a kind, a key and a recipient.",
        when: When::Always,
        of: Of::Name,
        sql: "with alike as (
                select hashtextextended(dedupe_key, hashtext(kind)) as hash from communications where state = 'sent'
                 group by hash having count(*) > 1)
              select kind || ' ' || dedupe_key, format('%s sent to one recipient', count(*)) from communications
               where state = 'sent' and hashtextextended(dedupe_key, hashtext(kind)) in (select hash from alike)
               group by kind, dedupe_key, recipient_hash having count(*) > 1",
    },
    Invariant {
        id: "I33",
        name: "who paid is told",
        sentence: "A paid order has its confirmation, and so has money that went back; I44 says that it is on its way, I40 that it is not lost.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('%s, but no confirmation was ever written', o.status)
                from orders o
                join order_statuses s on s.status = coalesce(o.resume_to, o.status) and s.is_paid
               where not exists (select from communications c where c.order_id = o.id and c.kind = 'order_confirmation')
              union all
              select r.order_id, format('%s went back, and nobody was told', r.id)
                from refunds r
                left join communications c on c.kind = 'refund_confirmation' and c.dedupe_key = 'refund:' || r.id
               where r.state = 'succeeded' and c.id is null",
    },
    Invariant {
        id: "I44",
        name: "no notice is forgotten",
        sentence: "A notice that is still to be sent has an open job.",
        when: When::Always,
        of: Of::Communication,
        sql: concat!(
            "with waiting as materialized (
                select id, kind, state, ", public_id!("msg", "id"), " as public_id from communications
                 where state in ('queued', 'sending'))
              select w.id, format('%s is %s without a job', w.kind, w.state)
                from waiting w left join jobs j on j.kind = 'email' and j.payload ->> 'communication' = w.public_id
               where j.id is null"
        ),
    },
];
