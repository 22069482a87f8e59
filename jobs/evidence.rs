//! Sees to second receipts: a stale worker's call that opened another payment, gave money back or bought a label once more.
//!
//! None should ever come: a provider that keeps keys answers the same twice. Where one does not (a key that it forgot after
//! a day, a worker that was stopped for longer), what it did is money taken and nobody told, so nothing is dropped. A second
//! payment gets a row of its own and is let go: cancelled, or, where it was paid, surplus that goes back. Refunds are looked
//! at, which finds the second one by its own id. A second label hangs on the shipment of the first, which only a person can
//! tell apart. Mails and cancellations can't be undone and take no money.

use std::collections::HashMap;

use super::payment_cancel;
use super::refund_sync::RefundSync;
use crate::ids::{OrderId, PaymentId, RefundId};
use crate::job::{Failure, NewJob};
use crate::store::effects::evidence::{self, Second};
use crate::store::exceptions::{self, Severity};
use crate::store::{Tx, jobs, orders, payments, refunds};

/// Receipts of one sweep: each locks an order, and a sweep ends within its time.
const AT_ONCE: i64 = 32;
/// What a person is shown.
const SHOWN: &str = "done_twice";

/// What was done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Payment(PaymentId),
    Refund(RefundId),
    Label(OrderId),
}

impl Subject {
    /// By the effect's name; none where nothing can be undone.
    fn of(effect: &str) -> Option<Self> {
        let (kind, rest) = effect.split_once(':')?;
        match (kind, rest.split_once(':')) {
            ("pay_create", None) => rest.parse().ok().map(Self::Payment),
            ("refund", None) => rest.parse().ok().map(Self::Refund),
            ("label", Some((order, step))) if step.ends_with(":buy") => order.parse().ok().map(Self::Label),
            _ => None,
        }
    }
}

/// Whose order it is, and which payment.
#[derive(Clone, Copy, Debug)]
struct Whose {
    order: OrderId,
    payment: Option<PaymentId>,
}

/// Sees to what came twice.
pub(super) async fn sweep(tx: &mut Tx) -> Result<(), Failure> {
    let seconds = evidence::take(tx, AT_ONCE).await?;
    if seconds.is_empty() {
        return Ok(());
    }
    let whose = whose(tx, &seconds).await?;
    // All at once and in one order, as every transaction locks them.
    orders::lock(tx, &whose.values().map(|of| of.order).collect::<Vec<_>>()).await?;
    payments::lock(tx, &whose.values().filter_map(|of| of.payment).collect::<Vec<_>>()).await?;
    for second in &seconds {
        if let (Some(subject), Some(of)) = (Subject::of(&second.effect), whose.get(&second.id)) {
            see_to(tx, second, subject, *of).await?;
        }
    }
    Ok(evidence::resolve(tx, &seconds).await?)
}

/// The orders and payments behind them, by the receipts' rows.
async fn whose(tx: &mut Tx, seconds: &[Second]) -> Result<HashMap<i64, Whose>, Failure> {
    let mut found = HashMap::with_capacity(seconds.len());
    for second in seconds {
        let of = match Subject::of(&second.effect) {
            Some(Subject::Payment(payment)) => {
                payments::order_of(tx, payment).await?.map(|order| Whose { order, payment: Some(payment) })
            }
            Some(Subject::Refund(refund)) => refunds::whose(tx, refund)
                .await?
                .map(|(order, payment)| Whose { order, payment: Some(payment) }),
            Some(Subject::Label(order)) => Some(Whose { order, payment: None }),
            None => None,
        };
        if let Some(of) = of {
            found.insert(second.id, of);
        }
    }
    Ok(found)
}

async fn see_to(tx: &mut Tx, second: &Second, subject: Subject, of: Whose) -> Result<(), Failure> {
    let cause = format!("evidence:{}", second.id);
    match (subject, of.payment) {
        (Subject::Payment(payment), _) => {
            if let Some(adopted) = payments::adopt(tx, payment, &second.provider_ref).await? {
                payment_cancel::let_go(tx, &[adopted], &cause).await?;
            }
        }
        (Subject::Refund(_), Some(payment)) => {
            let look = NewJob::of(&RefundSync { order: of.order, payment }, &cause);
            jobs::insert(tx, vec![look.once(cause.clone())]).await?;
        }
        (Subject::Refund(_) | Subject::Label(_), _) => {}
    }
    let first = second.first_ref.as_deref().unwrap_or("nothing");
    let detail = format!(
        "run {} of {} brought {}, the first brought {first}",
        second.run, second.effect, second.provider_ref
    );
    exceptions::open(tx, of.order, SHOWN, Severity::Critical, &detail).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_twice_is_read_from_the_effect_s_name() {
        let (order, payment, refund) = (OrderId::new(), PaymentId::new(), RefundId::new());
        for (effect, subject) in [
            (format!("pay_create:{payment}"), Some(Subject::Payment(payment))),
            (format!("refund:{refund}"), Some(Subject::Refund(refund))),
            (format!("label:{order}:1:1:buy"), Some(Subject::Label(order))),
            (format!("label:{order}:1:1:create"), None),
            (format!("pay_cancel:{payment}"), None),
            (format!("refund:{payment}"), None),
            ("mail:x".to_owned(), None),
            ("refund".to_owned(), None),
        ] {
            assert_eq!(Subject::of(&effect), subject, "{effect}");
        }
    }
}
