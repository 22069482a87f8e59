//! Intents and orders: each wish has one outcome, and an order's history explains where it stands.

use super::{Invariant, Of, When, public_id};

/// I15, I16 and I17 in one scan of the biggest table. Sorting it, to look at each event beside the one before, takes three
/// times as long as everything here. So an order's way is written as a number instead: each status is five bits, and the
/// event `seq` has its place in it. Where the events say that they came to must be where they say that they left, moved by
/// one place, with the last status on top. Twelve places fit, which is more than an order ever had; a longer way is sorted.
const EVENTS: &str = "with codes as (select status, row_number() over (order by status) as code from order_statuses),
    moves as (
      select l.from_status, l.to_status, f.code as from_code, t.code as to_code
        from legal_transitions l join codes f on f.status = l.from_status join codes t on t.status = l.to_status
      union all select '', status, null, code from codes where status = 'pending_payment'),
    walked as (
      select e.order_id, count(*) as n, min(e.seq) as first, max(e.seq) as last,
             bit_or(m.from_code << 5 * (e.seq - 2)) filter (where e.seq between 2 and 12) as left_from,
             bit_or(m.to_code << 5 * (e.seq - 1)) filter (where e.seq <= 12) as came_to,
             min(format('event %s: from %s to %s', e.seq, coalesce(e.from_status, 'nothing'), e.to_status))
               filter (where m.to_code is null) as illegal
        from order_events e left join moves m on m.from_status = coalesce(e.from_status, '') and m.to_status = e.to_status
       group by e.order_id),
    stands as (
      select w.*, case when last <= 12 then came_to >> 5 * (last - 1) & 31
                       else (select c.code from order_events e join codes c on c.status = e.to_status
                              where e.order_id = w.order_id and e.seq = w.last) end as at
        from walked w),
    judged as (
      select o.id, o.status, o.status_seq, s.n, s.first, s.last, s.illegal, c.status as at,
             o.status is distinct from c.status as is_elsewhere,
             s.n is distinct from o.status_seq or s.first <> 1 or s.last <> o.status_seq as is_gapped,
             case when s.last <= 12 then coalesce(s.left_from, 0) | (s.at << 5 * (s.last - 1)) <> s.came_to
                  else exists (select from (select from_status, lag(to_status) over (order by seq) as before from order_events
                                             where order_id = o.id) as e where from_status is distinct from before) end as is_broken
        from orders o left join stands s on s.order_id = o.id left join codes c on c.code = s.at),
    odd as materialized (select * from judged where is_elsewhere or is_gapped or is_broken or illegal is not null)
    select id, format('%s, but the last event says %s', status, coalesce(at, 'nothing')), 'I15' from odd where is_elsewhere
    union all
    select id, format('at %s, with %s events from %s to %s', status_seq, coalesce(n, 0), first, last), 'I16' from odd where is_gapped
    union all
    select id, coalesce(illegal, 'an event does not begin where the one before ended'), 'I17' from odd
     where illegal is not null or is_broken and not is_gapped";

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I11",
        name: "one order an intent",
        sentence: "An order and its intent name each other and nobody else.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('made by intent %s, which names order %s', o.intent_id, coalesce(i.order_id::text, 'none'))
                from orders o left join order_intents i on i.id = o.intent_id where i.order_id is distinct from o.id
              union all
              select o.id, format('named by intent %s, made by %s', i.id, o.intent_id)
                from order_intents i join orders o on o.id = i.order_id where o.intent_id <> i.id",
    },
    Invariant {
        id: "I12",
        name: "every intent has its outcome",
        sentence: "An accepted intent's order exists; any other has a code and no order.",
        when: When::Always,
        of: Of::Intent,
        sql: "select i.id, format('%s, code %s, order %s', i.state, coalesce(i.reject_code, 'none'),
                                 case when i.order_id is null then 'none' when o.id is null then 'missing' else 'there' end)
                from order_intents i left join orders o on o.id = i.order_id
               where case i.state when 'accepted' then o.id is null
                                  else i.reject_code is null or i.order_id is not null end",
    },
    Invariant {
        id: "I13",
        name: "no intent waits for ever",
        sentence: "No intent has been waiting for its outcome for five minutes.",
        when: When::Quiescent,
        of: Of::Job,
        sql: "select id, format('open since %s, %s attempts', to_char(created_at, 'YYYY-MM-DD HH24:MI:SSOF'), attempts)
                from jobs where kind = 'order-intent' and created_at < now() - interval '5 min'",
    },
    Invariant {
        id: "I14",
        name: "totals add up",
        sentence: "An order has lines, its subtotal is their sum, and its total is what the parts add up to.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('lines %s; %s - %s + %s + %s, total %s', coalesce(i.lines::text, 'none'), o.subtotal_minor,
                                 o.discount_minor, o.shipping_minor, o.tax_minor, o.total_minor)
                from orders o
                left join (select order_id, sum(total_minor) as lines, bool_and(total_minor = quantity * unit_minor) as right
                             from order_items group by order_id) i on i.order_id = o.id
               where i.lines is distinct from o.subtotal_minor or not i.right
                  or o.subtotal_minor - o.discount_minor + o.shipping_minor + o.tax_minor <> o.total_minor",
    },
    Invariant {
        id: "I15",
        name: "status is the last event's",
        sentence: "An order stands where its last event took it.",
        when: When::Always,
        of: Of::Order,
        sql: EVENTS,
    },
    Invariant {
        id: "I16",
        name: "no event is missing",
        sentence: "An order's events are numbered from 1 without a gap, up to the number that the order has.",
        when: When::Always,
        of: Of::Order,
        sql: EVENTS,
    },
    Invariant {
        id: "I17",
        name: "only legal moves",
        sentence: "An order began by awaiting its payment, and each later event begins where the last ended and is legal.",
        when: When::Always,
        of: Of::Order,
        sql: EVENTS,
    },
    Invariant {
        id: "I18",
        name: "history can't be rewritten",
        sentence: "The triggers that write the history, and those that refuse to change it, are there and enabled.",
        when: When::Always,
        of: Of::Name,
        sql: "select w.owner || '.' || w.guard, case when g.tgname is null then 'missing' else 'disabled' end
                from (values ('stock_movements', 'stock_movements_append_only'), ('stock_movements', 'stock_movements_end'),
                             ('order_items', 'order_items_frozen'), ('order_items', 'order_items_end'), ('order_items', 'order_items_emptied'),
                             ('order_events', 'order_events_append_only'), ('order_events', 'order_events_end'),
                             ('orders', 'orders_version'), ('orders', 'orders_created'), ('orders', 'orders_moved'), ('orders', 'orders_end'),
                             ('reservations', 'reservations_moves')) as w (owner, guard)
                left join pg_trigger g on g.tgrelid = to_regclass(w.owner) and g.tgname = w.guard
               where coalesce(g.tgenabled, 'D') not in ('O', 'A')",
    },
    Invariant {
        id: "I45",
        name: "what is over can't be paid",
        sentence: "A cancelled or refunded order has no payment left that a customer may pay, or its cancellation is on its way, or an open exception says so.",
        when: When::Quiescent,
        of: Of::Payment,
        sql: concat!(
            "with payable as materialized (
                select p.id, p.order_id, format('%s, and the order is %s', p.state, o.status) as detail,
                       ", public_id!("pay", "p.id"), " as public_id
                  from payments p join orders o on o.id = p.order_id
                 where o.status in ('cancelled', 'refunded') and p.state not in ('cancelled', 'captured')
                   and p.provider_payment_id is not null)
              select p.id, p.detail from payable p
                left join jobs j on j.kind = 'payment-cancel' and j.payload ->> 'payment' = p.public_id
                left join order_exceptions e on e.order_id = p.order_id and e.state <> 'resolved'
               where j.id is null and e.id is null"
        ),
    },
    Invariant {
        id: "I36",
        name: "what waits aside says why",
        sentence: "Only an order that is held or an exception has a state to resume to, and an exception is shown to somebody.",
        when: When::Always,
        of: Of::Order,
        sql: "select o.id, format('%s, resumes to %s', o.status, coalesce(o.resume_to, 'nothing'))
                from orders o
               where (o.status in ('on_hold', 'exception')) <> (o.resume_to is not null)
                  or (o.status = 'exception' and not exists (
                        select from order_exceptions e where e.order_id = o.id and e.state <> 'resolved'))",
    },
];
