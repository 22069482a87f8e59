//! Work: whatever was taken in or begun is done, open, or buried where somebody can see it.

use super::{Invariant, Of, When, public_id};

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I26",
        name: "applied is what was applied",
        sentence: "An event that counts as applied left its fact: a signal of its payment, or a scan of its parcel. (What becomes of a mail may change nothing.)",
        when: When::Always,
        of: Of::Name,
        sql: "select i.provider || ' ' || i.event_id, format('%s of %s is applied, but nothing tells what it changed', i.type, i.object_id)
                from inbox i
               where i.state = 'applied' and i.provider = 'easypost'
                 and not exists (select from tracking_events e where e.provider = i.provider and e.event_id = i.event_id)
              union all
              select i.provider || ' ' || i.event_id, format('%s of %s is applied, but nothing tells what it changed', i.type, i.object_id)
                from inbox i
               where i.state = 'applied' and i.provider <> 'easypost' and i.provider not like 'mail:%'
                 and not exists (select from applied_signals s where s.provider = i.provider and s.object_id = i.object_id)",
    },
    Invariant {
        id: "I27",
        name: "no event is left behind",
        sentence: "An event that still waits after five minutes, or was given up, has an open job or a dead letter.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "with carried as (
                select payload ->> 'provider' as provider, payload ->> 'event_id' as event_id from jobs
                 where kind in ('payment-confirmation', 'tracking', 'mail-news')
                union
                select payload ->> 'provider', payload ->> 'event_id' from dead_letters
                 where kind in ('payment-confirmation', 'tracking', 'mail-news'))
              select i.provider || ' ' || i.event_id, format('%s since %s: %s', i.state,
                     to_char(i.received_at, 'YYYY-MM-DD HH24:MI:SSOF'), i.type)
                from inbox i left join carried c on c.provider = i.provider and c.event_id = i.event_id
               where i.state in ('received', 'parked', 'failed') and i.received_at < now() - interval '5 min'
                 and c.event_id is null",
    },
    Invariant {
        id: "I34",
        name: "no effect is stuck",
        sentence: "An outside mutation without an outcome belongs to an open job or a dead letter; a cancellation and a capture may also be overtaken by their payment's end.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "select e.name, format('%s since %s', e.state, to_char(e.created_at, 'YYYY-MM-DD HH24:MI:SSOF'))
                from effects e
               where e.state in ('pending', 'in_flight', 'unknown')
                 and not exists (select from jobs j where j.id = e.job_id)
                 and not exists (select from dead_letters d where d.job_id = e.job_id)
                 and not (e.name like any (array['pay_cancel:%', 'pay_capture:%']) and exists (
                       select from payments p where p.provider_payment_id = e.request ->> 'payment_intent'
                                                and p.state in ('cancelled', 'captured')))",
    },
    Invariant {
        id: "I35",
        name: "every job reaches the queue",
        sentence: "A job row is pushed within 60 seconds of when the queue should know it, a minute before it is due.",
        when: When::Quiescent,
        of: Of::Job,
        sql: "select id, format('%s, due %s', kind, to_char(run_at, 'YYYY-MM-DD HH24:MI:SSOF')) from jobs
               where relayed_at is null and greatest(created_at, run_at - interval '1 min') < now() - interval '60 s'",
    },
    Invariant {
        id: "I40",
        name: "the dead are accounted for",
        sentence: "A job is open or buried, never both; attempts belong to one of these; a notice that was given up has its dead letter.",
        when: When::Always,
        of: Of::Name,
        sql: concat!(
            "with given_up as materialized (
                select id, ", public_id!("msg", "id"), " as public_id from communications where state = 'failed')
              select 'job ' || d.job_id, format('%s is open, and its dead letter was never replayed', d.kind)
                from dead_letters d join jobs j on j.id = d.job_id where d.replayed_at is null
              union all
              select distinct 'job ' || a.job_id, 'attempts of a job that is neither open nor buried'
                from attempts a left join jobs j on j.id = a.job_id left join dead_letters d on d.job_id = a.job_id
               where j.id is null and d.id is null
              union all
              select 'notice ' || g.public_id, 'given up without a dead letter'
                from given_up g left join dead_letters d on d.kind = 'email' and d.payload ->> 'communication' = g.public_id
               where d.id is null"
        ),
    },
    Invariant {
        id: "I42",
        name: "nothing was bought or charged twice",
        sentence: "No second receipt that tells of another payment, refund or label is left unresolved.",
        when: When::Always,
        of: Of::Name,
        sql: "select f.name, format('run %s brought %s, the effect has %s', v.run, v.provider_ref, coalesce(f.provider_ref, 'none'))
                from effect_evidence v join effects f on f.name = v.name
               where v.resolved_at is null and v.provider_ref is distinct from f.provider_ref
                 and (f.name like 'pay_create:%' or f.name like 'refund:%' or f.name like 'label:%:buy')",
    },
    Invariant {
        id: "I43",
        name: "every receipt is booked",
        sentence: "What a receipt proves stands in our tables too: the payment opened, the money given back, the label bought, the notice sent.",
        when: When::Quiescent,
        of: Of::Name,
        sql: "select e.name, format('%s is known to nobody', e.provider_ref)
                from effects e where e.state = 'done' and e.name like 'pay_create:%'
                 and not exists (select from payments p where p.provider_payment_id = e.provider_ref)
              union all
              select e.name, format('%s is known to nobody', e.provider_ref)
                from effects e where e.state = 'done' and e.name like 'refund:%'
                 and not exists (select from refunds r where r.provider_refund_id = e.provider_ref)
              union all
              select e.name, format('%s is known to nobody', e.provider_ref)
                from effects e where e.state = 'done' and e.name like 'label:%:buy'
                 and not exists (select from labels l where l.tracking_code = e.provider_ref)
              union all
              select e.name, format('%s went out, but does not count as sent', e.provider_ref)
                from effects e where e.state = 'done' and e.name like 'mail:%'
                 and not exists (select from communications c where c.message_id = e.provider_ref and c.state = 'sent')",
    },
];
