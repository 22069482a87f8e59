//! The outside world against ours: what the sandbox knows that it did, and what we believe that it did, one to one.
//!
//! The strongest of all checks, because the sandbox keeps its own books and may fail after the work was done. `$1` is the
//! truth as JSON (not JSONB, whose arrays end at 256 MB).

use super::{Invariant, Of, When};

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I28-payments",
        name: "the provider's payments are ours",
        sentence: "Every payment at the provider is one of ours with its amount and currency, captured where it succeeded, and the other way round.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "with theirs as (
                select * from json_to_recordset($1::json -> 'payments')
                           as t (id text, amount bigint, amount_received bigint, currency text, status text)),
              ours as (
                select p.provider_payment_id as id, p.state, p.currency,
                       p.amount_minor * 10 ^ (c.stripe_exponent - c.exponent) as amount,
                       p.captured_minor * 10 ^ (c.stripe_exponent - c.exponent) as captured
                  from payments p join currencies c on c.code = p.currency
                 where p.provider = 'stripe' and p.provider_payment_id is not null)
              select id, case when o.state is null then format('%s of %s %s is not ours', t.status, t.amount, t.currency)
                              when t.status is null then format('ours is %s, the provider has none', o.state)
                              else format('%s: %s of %s %s; ours is %s: %s of %s %s', t.status, t.amount_received, t.amount,
                                          upper(t.currency), o.state, o.captured, o.amount, o.currency) end
                from theirs t full join ours o using (id)
               where o.state is null or t.status is null or t.amount <> o.amount or upper(t.currency) <> o.currency
                  or (t.status = 'succeeded') <> (o.state = 'captured')
                  or (o.state = 'captured' and t.amount_received <> o.captured)
                  or (o.state = 'cancelled' and t.status <> 'canceled')",
    },
    Invariant {
        id: "I28-twins",
        name: "no payment was opened twice",
        sentence: "No two payments at the provider were opened for the same one of ours.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "select t.metadata ->> 'payment_id', string_agg(t.id, ', ' order by t.id)
                from json_to_recordset($1::json -> 'payments') as t (id text, metadata json)
               where t.metadata ->> 'payment_id' is not null group by 1 having count(*) > 1",
    },
    Invariant {
        id: "I28-refunds",
        name: "the provider's refunds are ours",
        sentence: "Every refund at the provider is one of ours, of the same payment and amount and as far as ours, and the other way round; one that somebody made over there and that failed before we looked gave nothing back.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "with theirs as (
                select * from json_to_recordset($1::json -> 'refunds')
                           as t (id text, payment_id text, amount bigint, currency text, status text)),
              ours as (
                select r.provider_refund_id as id, r.state, p.provider_payment_id as payment_id, r.currency,
                       r.amount_minor * 10 ^ (c.stripe_exponent - c.exponent) as amount
                  from refunds r join payments p on p.id = r.payment_id join currencies c on c.code = r.currency
                 where r.provider = 'stripe' and r.provider_refund_id is not null)
              select id, case when o.state is null then format('%s %s of %s is not ours', t.amount, upper(t.currency), t.payment_id)
                              when t.status is null then format('ours is %s, the provider has none', o.state)
                              else format('%s: %s %s of %s; ours is %s: %s %s of %s', t.status, t.amount, upper(t.currency), t.payment_id,
                                          o.state, o.amount, o.currency, o.payment_id) end
                from theirs t full join ours o using (id)
               where not (o.state is null and t.status in ('failed', 'canceled'))
                 and (o.state is null or t.status is null or t.payment_id is distinct from o.payment_id or t.amount <> o.amount
                      or upper(t.currency) <> o.currency or (t.status = 'succeeded') <> (o.state = 'succeeded'))
              union all
              select t.metadata ->> 'refund_id', string_agg(t.id, ', ' order by t.id)
                from json_to_recordset($1::json -> 'refunds') as t (id text, metadata json)
               where t.metadata ->> 'refund_id' is not null group by 1 having count(*) > 1",
    },
    Invariant {
        id: "I28-disputes",
        name: "the provider's disputes are ours",
        sentence: "Every dispute at the provider is one of ours, of the same payment and amount and as far as ours, and the other way round.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "with theirs as (
                select id, payment_id, amount, currency, status,
                       case status when 'won' then 'won' when 'lost' then 'lost'
                                   when 'needs_response' then 'open' when 'under_review' then 'open'
                                   when 'warning_closed' then 'inquiry_closed' else 'inquiry' end as state
                  from json_to_recordset($1::json -> 'disputes')
                    as t (id text, payment_id text, amount bigint, currency text, status text)),
              ours as (
                select d.provider_dispute_id as id, d.state, p.provider_payment_id as payment_id, d.currency,
                       d.amount_minor * 10 ^ (c.stripe_exponent - c.exponent) as amount
                  from disputes d join payments p on p.id = d.payment_id join currencies c on c.code = d.currency
                 where d.provider = 'stripe')
              select id, case when o.state is null then format('%s %s of %s is not ours', t.amount, upper(t.currency), t.payment_id)
                              when t.status is null then format('ours is %s, the provider has none', o.state)
                              else format('%s: %s %s of %s; ours is %s: %s %s of %s', t.status, t.amount, upper(t.currency), t.payment_id,
                                          o.state, o.amount, o.currency, o.payment_id) end
                from theirs t full join ours o using (id)
               where o.state is null or t.status is null or t.state <> o.state or t.payment_id is distinct from o.payment_id
                  or t.amount <> o.amount or upper(t.currency) <> o.currency",
    },
    Invariant {
        id: "I28-mails",
        name: "the mail server's mails are ours",
        sentence: "Every accepted mail is a notice of ours, no more often than possible duplicates were counted, and every sent notice arrived.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "with theirs as (
                select coalesce(t.message_id, 'without Message-ID') as message_id, count(*) as n
                  from json_to_recordset($1::json -> 'mails') as t (message_id text) group by 1),
              ours as (select message_id, state, possible_duplicates from communications where message_id is not null)
              select message_id, case when o.state is null then format('%s accepted, none is ours', t.n)
                                      else format('%s accepted, ours is %s, possible duplicates %s', coalesce(t.n, 0), o.state,
                                                  o.possible_duplicates) end
                from theirs t full join ours o using (message_id)
               where o.state is null or t.n > 1 + o.possible_duplicates or (o.state = 'sent' and t.n is null)",
    },
    Invariant {
        id: "I30",
        name: "the provider's labels are ours",
        sentence: "Every label at the provider is one of ours with its parcel and price, one for each reference, and the other way round.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "with theirs as (
                select * from json_to_recordset($1::json -> 'labels')
                           as t (tracking_code text, reference text, amount_cents bigint)),
              ours as (
                select l.tracking_code, s.reference, l.cost_minor, l.currency
                  from labels l join shipments s on s.id = l.shipment_id)
              select tracking_code, case when o.reference is null then format('bought for %s, not ours', coalesce(t.reference, 'nobody'))
                                         when t.amount_cents is null then 'ours, unknown to the provider'
                                         else format('%s for %s; ours says %s %s for %s', t.amount_cents, coalesce(t.reference, 'nobody'),
                                                     o.cost_minor, o.currency, o.reference) end
                from theirs t full join ours o using (tracking_code)
               where o.reference is null or t.amount_cents is null or t.reference is distinct from o.reference
                  or (o.currency = 'USD' and t.amount_cents <> o.cost_minor)
              union all
              select reference, format('%s labels bought: %s', count(*), string_agg(tracking_code, ', ' order by tracking_code))
                from theirs where reference is not null group by reference having count(*) > 1",
    },
];
