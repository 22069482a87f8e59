//! What is stuck, why, and what can be done about it without making it worse: the safe thing beside each.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::queues::span;
use crate::config::OrderSettings;
use crate::store::stuck::Stuck;
use crate::store::{Store, Stored};

/// Lines for one reason that a person is shown unless they ask for more.
pub const SHOWN: i64 = 20;

/// One thing that is stuck, with what to do.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What is stuck.
    #[serde(flatten)]
    pub stuck: Stuck,
    /// What can safely be done.
    pub action: String,
    /// What of it can be done about the order from here, the least first.
    pub can: &'static [Can],
}

/// Looks, the oldest of each reason first.
pub async fn look(store: &Store, orders: &OrderSettings, each: i64) -> Stored<Vec<Line>> {
    let label = Duration::from_secs(orders.late_label_seconds);
    let found = store.within(store.stuck(label, orders.auto_fulfil, each)).await?;
    Ok(found.into_iter().map(line).collect())
}

fn line(stuck: Stuck) -> Line {
    let Action(action, can) = action(&stuck);
    Line { can: if stuck.order.is_some() { can } else { &[] }, action, stuck }
}

/// What is safe, in words, and what of it can be done here.
struct Action(String, &'static [Can]);

/// What can be done about an order from a list. All of it can be asked twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Can {
    /// Look how its payments stand at their providers.
    Look,
    /// Replay what died of it, dry first.
    Replay,
    /// Give back what is left of its money.
    Refund,
    /// Call it off: its money goes back, its labels are given back.
    Cancel,
}

fn by_hand(what: impl Into<String>) -> Action {
    Action(what.into(), &[])
}

fn replay(what: impl Into<String>) -> Action {
    Action(what.into(), &[Can::Replay])
}

fn look_again(what: impl Into<String>) -> Action {
    Action(what.into(), &[Can::Look])
}

impl Action {
    /// The same, where this can be done too.
    fn or(self, can: &'static [Can]) -> Self {
        Self(self.0, can)
    }
}

/// What is safe: looks before it does, and can be done twice.
fn action(stuck: &Stuck) -> Action {
    let order = stuck.order.map_or_else(|| "ID".to_owned(), |order| order.to_string());
    let dry = format!("`dead replay --order {order} --dry-run`, then without");
    match stuck.reason.as_str() {
        "paid_without_label" => replay(format!(
            "{dry}; else cancel and refund (POST /v1/orders/{order}/cancel), or ship by hand and set the status"
        ))
        .or(&[Can::Replay, Can::Cancel]),
        "held_past_its_end" => by_hand(format!(
            "`queues`: is the lane expiry paused or away? It ends by itself; until then the pieces are not for sale. `orders show {order}`"
        )),
        "event_waits" if stuck.what.ends_with("failed)") => by_hand(
            "its job was given up: `dead list --kind payment-confirmation` or `tracking`, then `dead replay`",
        ),
        "event_waits" => look_again(
            "it came before what it is about, and is tried again; if that was never ours, it ends by itself as a dead letter to drop",
        ),
        "effect_unknown" => replay(format!(
            "the next attempt looks before it does anything: {dry}; never by hand at the provider first"
        )),
        _ => exception(stuck.what.split(' ').next().unwrap_or_default(), &order),
    }
}

fn exception(kind: &str, order: &str) -> Action {
    match kind {
        "refund_by_hand" => by_hand(format!(
            "send the money back by hand, then POST /v1/orders/{order}/refunds/REFUND/confirm"
        )),
        "refund_failed" | "refund_unknown" | "refunds_not_seen" => replay(format!(
            "look at the refund at the provider; `dead replay --order {order}` asks for it under the same key"
        )),
        "disputed" | "dispute_inquiry" => {
            by_hand("answer the bank at the provider; no refund beside it. It resolves itself")
        }
        "dispute_lost" => {
            by_hand(format!("the money is gone: POST /v1/orders/{order}/cancel, or move it on"))
                .or(&[Can::Cancel])
        }
        "amount_mismatch" => {
            by_hand(format!("`orders show {order}`: refund what came, or complete it by hand"))
                .or(&[Can::Refund])
        }
        "label_not_bought" => replay(format!(
            "correct the address or the parcel, then `dead replay --order {order}`; else cancel"
        ))
        .or(&[Can::Replay, Can::Cancel]),
        "label_not_voided" => by_hand("void it at the carrier: nobody else pays it back"),
        "payment_not_opened" | "payment_not_cancelled" | "payment_not_captured" | "order_not_lapsed" => {
            replay(format!("`dead replay --order {order} --dry-run`, then without"))
        }
        "released_with_open_payment" | "expired_unasked" => look_again(format!(
            "nothing: money that comes is late, and goes back or takes the order up again. `orders show {order}`"
        )),
        _ => by_hand(format!(
            "`orders show {order}`, then decide: on hold, cancel, or PUT …/status back to where it was"
        ))
        .or(&[Can::Cancel]),
    }
}

/// The list for a person; `now` is when.
#[must_use]
pub fn render(lines: &[Line], now: DateTime<Utc>) -> String {
    if lines.is_empty() {
        return "Nothing is stuck.\n".to_owned();
    }
    let (mut text, mut before) = (String::new(), "");
    for Line { stuck, action, .. } in lines {
        // Writing into a text can't fail.
        if stuck.reason != before {
            let blank = if before.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{blank}{}: {}", stuck.reason.replace('_', " "), stuck.of);
            before = &stuck.reason;
        }
        let age = span(u64::try_from((now - stuck.since).num_seconds()).unwrap_or_default());
        let number = stuck.order_number.as_deref().unwrap_or("–");
        let _ = writeln!(text, "  {number:<12} {age:>5}  {}\n  {:<19} → {action}", stuck.what, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OrderId;

    fn made(reason: &str, what: &str) -> Line {
        let stuck = Stuck {
            reason: reason.to_owned(),
            what: what.to_owned(),
            order: Some(OrderId::new()),
            order_number: Some("OF-100001".to_owned()),
            since: DateTime::UNIX_EPOCH,
            of: 7,
        };
        super::line(stuck)
    }

    #[test]
    fn each_has_its_safe_action_and_each_reason_its_count() {
        let unknown = made("effect_unknown", "label:x (unknown)");
        assert!(unknown.action.contains("dead replay") && unknown.can == [Can::Replay]);
        let unasked = made("exception", "expired_unasked (warning)");
        assert_eq!(unasked.can, [Can::Look]);
        assert_eq!(made("exception", "amount_mismatch (critical)").can, [Can::Refund]);
        assert_eq!(made("exception", "label_not_voided (warning)").can, []);
        assert!(made("exception", "refund_by_hand (critical)").action.contains("confirm"));
        assert!(made("exception", "something_new (warning)").action.contains("orders show"));
        let lines = [
            made("exception", "disputed (critical)"),
            made("exception", "x (warning)"),
            made("event_waits", "s e (t, failed)"),
        ];
        let text = render(&lines, DateTime::UNIX_EPOCH + Duration::from_mins(2));
        assert_eq!(text.matches(": 7\n").count(), 2, "{text}");
        assert!(text.contains("  OF-100001       2m  disputed (critical)\n"), "{text}");
        assert_eq!(render(&[], DateTime::UNIX_EPOCH), "Nothing is stuck.\n");
    }
}
