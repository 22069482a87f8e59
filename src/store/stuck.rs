//! What is stuck: orders that do not go on by themselves, and outside facts that nobody took in. One question for the list
//! and for the gauge, over indexes of open things alone, so that a million finished orders cost nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Store, Stored, millis};
use crate::ids::OrderId;

/// A hold or an event that waits longer than this does not only wait its turn: both are done within seconds, and looked at
/// again for minutes.
const LATE: Duration = Duration::from_mins(5);
/// An outside mutation without an outcome: its job looks it up within minutes, and is given up after a day at most.
const UNKNOWN: Duration = Duration::from_mins(30);

/// Something that is stuck.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stuck {
    /// Why: `paid_without_label`, `held_past_its_end`, `event_waits`, `effect_unknown`, `exception`.
    pub reason: String,
    /// What exactly: a state, an exception's type, an event, an effect.
    pub what: String,
    /// The order, where it is known.
    pub order: Option<OrderId>,
    /// Its number.
    pub order_number: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How many are stuck for this reason.
    pub of: i64,
}

impl Store {
    /// The oldest that are stuck, for each reason at most `each`. A paid order without a label is late after `label`; with
    /// `goes_on`, orders go on from their payment to their label by themselves.
    pub async fn stuck(&self, label: Duration, goes_on: bool, each: i64) -> Stored<Vec<Stuck>> {
        let rows = sqlx::query!(
            r#"/* stuck::stuck */
            with stuck as (
              -- Any of its parcels; an order without rows of parcels is one.
              select 'paid_without_label' as reason, o.status || case when p.parcels > 1 then ', parcel ' || p.bare else '' end as what,
                     o.id as order_id, e.at as since
                from orders o join order_events e on e.order_id = o.id and e.seq = o.status_seq
                     cross join lateral (
                       select count(*) as parcels, string_agg(w.parcel_no::text, ', ' order by w.parcel_no) filter (where l.id is null) as bare
                         from (select 1 as parcel_no union select c.parcel_no from parcel_lines c where c.order_id = o.id) w
                         left join labels l on l.order_id = o.id and l.parcel_no = w.parcel_no and l.void_state is null) p
               where o.status in ('payment_confirmed', 'processing', 'packaging') and ($2 or o.status = 'packaging')
                 and e.at < now() - $1::bigint * interval '1 ms' and p.bare is not null
              union all
              -- Packed, and its label was given back: it waits for the next one.
              select 'paid_without_label', 'fulfilled, parcel ' || l.parcel_no, o.id, coalesce(max(l.void_requested_at), max(e.at))
                from labels l join orders o on o.id = l.order_id join order_events e on e.order_id = o.id and e.seq = o.status_seq
               where l.void_state is not null and o.status = 'fulfilled'
                 and not exists (select from labels n where n.order_id = l.order_id and n.parcel_no = l.parcel_no and n.void_state is null)
               group by o.id, l.parcel_no having coalesce(max(l.void_requested_at), max(e.at)) < now() - $1::bigint * interval '1 ms'
              union all
              select 'held_past_its_end', r.quantity || ' × ' || r.sku, r.order_id, r.expires_at
                from reservations r where r.state = 'active' and r.expires_at < now() - $4::bigint * interval '1 ms'
              union all
              select 'event_waits', i.provider || ' ' || i.event_id || ' (' || i.type || ', ' || i.state || ')',
                     (select p.order_id from payments p where p.provider = i.provider and p.account = i.account and p.provider_payment_id = i.object_id), i.received_at
                from inbox i where i.state in ('received', 'parked', 'failed') and i.received_at < now() - $4::bigint * interval '1 ms'
              union all
              select 'effect_unknown', f.name || ' (' || f.state || ')',
                     coalesce((select d.order_id from dead_letters d where d.job_id = f.job_id), (select s.order_id from shipments s where s.reference = f.name)),
                     f.created_at
                from effects f where f.state in ('pending', 'in_flight', 'unknown') and f.created_at < now() - $5::bigint * interval '1 ms'
              union all
              select 'exception', x.type || ' (' || x.severity || ')', x.order_id, x.opened_at
                from order_exceptions x where x.state <> 'resolved'),
            counted as (
              select reason, what, order_id, since, count(*) over (partition by reason) as of, row_number() over (partition by reason order by since, what) as no from stuck)
            select c.reason as "reason!", c.what as "what!", c.order_id, o.order_number as "order_number?", c.since as "since!", c.of as "of!"
              from counted c left join orders o on o.id = c.order_id where c.no <= $3 order by c.reason, c.no"#,
            millis(label),
            goes_on,
            each,
            millis(LATE),
            millis(UNKNOWN)
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Stuck {
                reason: row.reason,
                what: row.what,
                order: row.order_id.map(OrderId::from),
                order_number: row.order_number,
                since: row.since,
                of: row.of,
            })
            .collect())
    }
}

/// Every reason there is.
pub const REASONS: [&str; 5] =
    ["effect_unknown", "event_waits", "exception", "held_past_its_end", "paid_without_label"];
