//! Jobs that were given up, with everything that a person needs to take them up again.
//!
//! A dead letter is open until it is replayed or dropped, and stays after that: attempts, effects, events and notices that
//! were given up belong to it. What is done with it stands here too, in the commit that does it.

use serde_json::Value;
use uuid::Uuid;

use super::{Stored, Tx, exactly};
use crate::ids::{CommunicationId, DeadLetterId, IntentId, JobId, OrderId, PaymentId};
use crate::job::{Failure, ProviderCode};
use crate::telemetry::TraceContext;

mod actions;
mod list;
mod one;
mod transfer;

pub use actions::{Open, drop_all, edit, open, replay};
pub use list::{Group, Head, Selection, State};
pub use one::{Attempt, Edited, Letter};
pub use transfer::{Carried, bring_in};

/// A job that is being given up.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// Its lane.
    pub lane: String,
    /// Its band.
    pub band: i16,
    /// Its fields.
    pub payload: Value,
    /// Outcomes that counted.
    pub attempts: i32,
    /// What caused it, where it has no row that says so.
    pub caused_by: String,
    /// The trace that it belongs to, where it has no row that says so.
    pub traceparent: Option<TraceContext>,
}

/// Buries a job: its dead letter stands in the same commit in which its row goes. Once.
pub async fn bury(tx: &mut Tx, dead: &Dead, failure: &Failure) -> Stored<()> {
    let order = order_of(tx, &dead.payload).await?;
    let written = sqlx::query_scalar!(
        r#"/* dead_letters::bury */
        insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, order_id, caused_by, traceparent)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce((select caused_by from jobs where id = $2), $12),
                coalesce((select traceparent from jobs where id = $2), $13))
        on conflict (job_id) do nothing
        returning traceparent"#,
        DeadLetterId::new().uuid(),
        dead.job.uuid(),
        dead.kind,
        dead.lane,
        dead.band,
        dead.payload,
        dead.attempts,
        failure.code,
        failure.detail,
        fingerprint(&dead.kind, failure.code, failure.provider_code.as_ref()),
        order,
        dead.caused_by,
        dead.traceparent.map(|trace| trace.to_string())
    )
    .fetch_optional(tx.conn())
    .await?;
    sqlx::query!("/* dead_letters::bury */ delete from jobs where id = $1", dead.job.uuid())
        .execute(tx.conn())
        .await?;
    let trace = super::jobs::read(written.flatten().as_deref()).map(|trace| trace.trace_id().to_string());
    let order = order.map(|order| OrderId::from(order).to_string());
    tracing::error!(job = %dead.job, kind = dead.kind, order, trace, code = failure.code, detail = failure.detail, "job buried");
    Ok(())
}

/// What letters that died of the same have in common: the kind, our code, and the provider's where it gave one.
fn fingerprint(kind: &str, code: &str, provider_code: Option<&ProviderCode>) -> String {
    let theirs = provider_code.map(|code| format!(":{code}")).unwrap_or_default();
    format!("{kind}:{code}{theirs}")
}

/// The provider's code in a fingerprint of this kind and our code.
fn provider_code(fingerprint: &str, kind: &str, code: &str) -> Option<String> {
    fingerprint
        .strip_prefix(kind)?
        .strip_prefix(':')?
        .strip_prefix(code)?
        .strip_prefix(':')
        .map(str::to_owned)
}

/// Remembers how an attempt ended that did not end well.
pub async fn attempted(
    tx: &mut Tx,
    job: JobId,
    no: i32,
    worker: &str,
    failure: &Failure,
    took_ms: i64,
) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* dead_letters::attempted */
        insert into attempts (job_id, no, worker, class, code, detail, duration_ms) values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (job_id, no) do update set worker = excluded.worker, class = excluded.class, code = excluded.code,
          detail = excluded.detail, duration_ms = excluded.duration_ms, at = excluded.at"#,
        job.uuid(),
        no,
        worker,
        format!("{:?}", failure.class),
        failure.code,
        failure.detail,
        took_ms
    )
    .execute(tx.conn())
    .await?;
    exactly("dead_letters::attempted", 1, done.rows_affected())
}

/// What a payload says of whom the job is about.
#[derive(Default)]
pub(super) struct About {
    pub(super) order: Option<Uuid>,
    pub(super) notice: Option<Uuid>,
    pub(super) payment: Option<Uuid>,
    intent: Option<Uuid>,
    /// A provider, and its name of the thing; of an event that names the payment behind the thing, of that.
    object: Option<(String, String)>,
    /// A carrier's name of a parcel.
    tracking_code: Option<String>,
}

impl About {
    pub(super) fn of(payload: &Value) -> Self {
        let text = |field: &str| payload.get(field).and_then(Value::as_str);
        let told = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
        let pays = told("/event/data/object/payment_intent")
            .or_else(|| told("/event/data/object/payment_intent/id"));
        Self {
            order: text("order").and_then(|id| id.parse().ok()).map(OrderId::uuid),
            notice: text("communication").and_then(|id| id.parse().ok()).map(CommunicationId::uuid),
            payment: text("payment").and_then(|id| id.parse().ok()).map(PaymentId::uuid),
            intent: text("intent_id").and_then(|id| id.parse().ok()).map(IntentId::uuid),
            object: text("provider")
                .zip(pays.or_else(|| text("object_id")))
                .map(|(who, what)| (who.to_owned(), what.to_owned())),
            tracking_code: told("/event/result/tracking_code").map(str::to_owned),
        }
    }
}

/// The order that a payload is about, where anything in it leads to one.
async fn order_of(tx: &mut Tx, payload: &Value) -> Stored<Option<Uuid>> {
    let about = About::of(payload);
    if about.order.is_some() {
        return Ok(about.order);
    }
    let (provider, object) = about.object.unzip();
    let found = sqlx::query_scalar!(
        r#"/* dead_letters::order_of */
        select coalesce((select order_id from communications where id = $1), (select order_id from payments where id = $2),
                        (select order_id from order_intents where id = $3),
                        (select order_id from payments where provider = $4 and provider_payment_id = $5),
                        (select order_id from labels where tracking_code = $6 limit 1)) as "order""#,
        about.notice,
        about.payment,
        about.intent,
        provider,
        object,
        about.tracking_code
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_kind_our_code_and_the_providers_where_it_gave_one() {
        let theirs = ProviderCode::read("ADDRESS.VERIFY.FAILURE");
        let whole = fingerprint("shipping-label", "refused", theirs.as_ref());
        assert_eq!(whole, "shipping-label:refused:ADDRESS.VERIFY.FAILURE");
        assert_eq!(
            provider_code(&whole, "shipping-label", "refused").as_deref(),
            Some("ADDRESS.VERIFY.FAILURE")
        );
        let ours = fingerprint("shipping-label", "refused", None);
        assert_eq!(
            (ours.as_str(), provider_code(&ours, "shipping-label", "refused")),
            ("shipping-label:refused", None)
        );
        assert_eq!(provider_code("other", "shipping-label", "refused"), None);
    }
}
