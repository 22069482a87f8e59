//! Money: none is taken without an order that it pays, or somebody who was told that it does not fit.

use super::{Invariant, Of, When, public_id};

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I19",
        name: "one payment pays an order",
        sentence: "An order has at most one primary payment.",
        when: When::Always,
        of: Of::Order,
        sql: "select order_id, format('%s primary payments', count(*)) from payments where role = 'primary'
               group by order_id having count(*) > 1",
    },
    Invariant {
        id: "I20",
        name: "confirmed is settled",
        sentence: "A paid order has a primary payment that captured its total in its currency, or costs nothing or was promised its money at the door and has none; an order that awaits its money has none.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('%s, total %s %s, primary %s', o.status, o.total_minor, o.currency,
                                 coalesce(p.captured_minor || ' ' || p.currency || ' ' || p.state, 'none'))
                from orders o
                join order_statuses s on s.status = coalesce(o.resume_to, o.status)
                left join (select distinct on (order_id) order_id, state, captured_minor, currency from payments
                            where role = 'primary' order by order_id, attempt_no) p on p.order_id = o.id
               where case when s.is_paid and o.total_minor > 0
                            then (p.state is distinct from 'captured' or p.captured_minor <> o.total_minor or p.currency <> o.currency)
                                 and not (p.order_id is null and exists (
                                       select from payments d where d.order_id = o.id and d.provider = 'cash_on_delivery'
                                          and d.state in ('authorized', 'captured')))
                          when s.is_paid or not s.is_terminal then p.order_id is not null
                          else false end",
    },
    Invariant {
        id: "I21",
        name: "no money without an owner",
        sentence: "Captured money that pays nothing (no primary, or an order that awaits its money or is cancelled) goes back, was taken back by a bank, or an open exception shows it.",
        when: When::Quiescent,
        of: Of::Payment,
        sql: "select p.id, format('%s %s as %s of order %s, which is %s', p.captured_minor, p.currency, p.role, o.id, o.status)
                from payments p join orders o on o.id = p.order_id
               where p.state = 'captured' and p.refund_reserved_minor + p.lost_minor < p.captured_minor
                 and (p.role <> 'primary' or coalesce(o.resume_to, o.status) in ('pending_payment', 'cancelled'))
                 and not exists (select from order_exceptions e where e.order_id = o.id and e.state <> 'resolved')",
    },
    Invariant {
        id: "I22",
        name: "surplus goes back",
        sentence: "A surplus payment is given back in full, by us or by a bank, or an open exception says why not; where a bank took what we had given back, a person was told.",
        when: When::Quiescent,
        of: Of::Payment,
        sql: "select p.id, format('%s of %s %s went back, %s were lost', coalesce(r.back, 0), p.captured_minor, p.currency, p.lost_minor)
                from payments p
                left join (select payment_id, sum(amount_minor) as back from refunds where state in ('pending', 'succeeded')
                            group by payment_id) r on r.payment_id = p.id
               where p.role = 'surplus' and p.captured_minor <> coalesce(r.back, 0) + p.lost_minor
                 and not exists (select from order_exceptions e where e.order_id = p.order_id
                                    and (e.state <> 'resolved'
                                         or (e.type = 'dispute_lost' and p.captured_minor < coalesce(r.back, 0) + p.lost_minor)))",
    },
    Invariant {
        id: "I23",
        name: "no more goes back than came",
        sentence: "Neither a payment nor an order gives back more than was captured.",
        when: When::Always,
        of: Of::Order,
        sql: "select id, format('refunded %s of %s', refunded_minor, captured_minor) from orders
               where refunded_minor not between 0 and captured_minor
              union all
              select p.order_id, format('payment %s: %s of %s set aside for refunds', p.id, r.aside, p.captured_minor)
                from payments p
                join (select payment_id, sum(amount_minor) as aside from refunds where state not in ('cancelled', 'failed')
                       group by payment_id) r on r.payment_id = p.id
               where r.aside > p.captured_minor",
    },
    Invariant {
        id: "I24",
        name: "refunds are counted",
        sentence: "What a payment sets aside for refunds, and what an order gave back in its currency, are the sums of their refunds.",
        when: When::Always,
        of: Of::Order,
        sql: "select p.order_id, format('payment %s: %s set aside, its refunds are %s', p.id, p.refund_reserved_minor, coalesce(r.aside, 0))
                from payments p
                left join (select payment_id, sum(amount_minor) as aside from refunds where state not in ('cancelled', 'failed')
                            group by payment_id) r on r.payment_id = p.id
               where p.refund_reserved_minor <> coalesce(r.aside, 0)
              union all
              select o.id, format('%s refunded, its refunds are %s', o.refunded_minor, coalesce(r.back, 0))
                from orders o
                left join (select order_id, currency, sum(amount_minor) as back from refunds where state = 'succeeded'
                            group by order_id, currency) r on r.order_id = o.id and r.currency = o.currency
               where o.refunded_minor <> coalesce(r.back, 0)",
    },
    Invariant {
        id: "I25",
        name: "refunded is all of it",
        sentence: "An order is refunded exactly when all that it captured went back; one whose refund the bank sent back later stays so, and an open exception says it.",
        when: When::Quiescent,
        of: Of::Order,
        sql: "select id, format('%s, refunded %s of %s', status, refunded_minor, captured_minor) from orders
               where (status = 'refunded') <> (captured_minor > 0 and refunded_minor = captured_minor)
                 and not (status = 'refunded' and exists (
                       select from order_exceptions e
                        where e.order_id = orders.id and e.type = 'refund_failed' and e.state <> 'resolved'))",
    },
    Invariant {
        id: "I41",
        name: "captured is counted",
        sentence: "An order's captured amount is the sum of its captured payments; less only where one came in another currency and an exception says so.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('%s counted, %s captured', o.captured_minor, coalesce(p.captured, 0))
                from orders o
                left join (select order_id, sum(captured_minor) as captured from payments where state = 'captured'
                            group by order_id) p on p.order_id = o.id
               where o.captured_minor > coalesce(p.captured, 0)
                  or (o.captured_minor < coalesce(p.captured, 0) and not exists (
                        select from order_exceptions e where e.order_id = o.id and e.type = 'amount_mismatch'))",
    },
    Invariant {
        id: "I46",
        name: "what is disputed waits",
        sentence: "While a bank wants its money back, an order does not move on towards its parcel.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('%s, but %s is %s', o.status, d.provider_dispute_id, d.state)
                from disputes d join orders o on o.id = d.order_id join order_statuses s on s.status = o.status
               where d.state in ('inquiry', 'open') and not s.is_terminal and not s.has_shipped
                 and o.status not in ('on_hold', 'exception')",
    },
    Invariant {
        id: "I47",
        name: "what banks took is counted",
        sentence: "What a payment counts as lost is the sum of its lost disputes, and none is about more than came.",
        when: When::Always,
        of: Of::Payment,
        sql: "select p.id, format('%s lost, its disputes say %s', p.lost_minor, coalesce(d.lost, 0))
                from payments p
                left join (select payment_id, sum(part_minor) as lost from disputes where state = 'lost' group by payment_id) d
                       on d.payment_id = p.id
               where p.lost_minor <> coalesce(d.lost, 0)
              union all
              select p.id, format('%s of %s disputed by %s', d.part_minor, p.captured_minor, d.provider_dispute_id)
                from disputes d join payments p on p.id = d.payment_id where d.part_minor > p.captured_minor",
    },
    Invariant {
        id: "I48",
        name: "a refund waits for nothing but a dispute",
        sentence: "A refund that was not sent has its job, its dead letter, an open dispute beside it, or an exception.",
        when: When::Quiescent,
        of: Of::Order,
        sql: concat!(
            "select r.order_id, format('refund %s of %s is %s, and nobody sends it', r.id, r.amount_minor, r.state)
                from refunds r
               where r.provider_refund_id is null and r.state in ('requested', 'submitting', 'unknown')
                 and not exists (select from disputes d where d.payment_id = r.payment_id and d.state = 'open')
                 and not exists (select from jobs j where j.kind = 'refund' and j.dedupe_key = 'refund:' || ", public_id!("rfd", "r.id"), ")
                 and not exists (select from order_exceptions e where e.order_id = r.order_id and e.state <> 'resolved')"
        ),
    },
    Invariant {
        id: "I39",
        name: "coupons are not overdrawn",
        sentence: "A coupon is counted as often as orders use it, and no more often than it may be; what it takes off is the order's discount, and an order that was called off uses none.",
        when: When::Always,
        of: Of::Order,
        sql: "select c.code, format('%s counted, %s used, %s by archived orders, at most %s', c.uses, coalesce(u.uses, 0), c.archived_uses,
                                    coalesce(c.max_uses::text, 'any'))
                from coupons c left join (select code, count(*) as uses from coupon_uses where given_back_at is null
                                           group by code) u on u.code = c.code
               where c.uses <> coalesce(u.uses, 0) + c.archived_uses or c.uses > c.max_uses
              union all
              select o.id::text, format('%s off, its coupon takes %s', o.discount_minor, coalesce(u.off, 0))
                from orders o left join (select order_id, sum(discount_minor) as off from coupon_uses group by order_id) u
                     on u.order_id = o.id
               where o.discount_minor <> coalesce(u.off, 0)
              union all
              select o.id::text, format('%s, but it uses %s', o.status, u.code)
                from coupon_uses u join orders o on o.id = u.order_id
               where u.given_back_at is null and o.status in ('cancelled', 'refunded') and o.cancel_reason is not null",
    },
];
