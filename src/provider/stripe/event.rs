//! Stripe's own list of what happened: to be compared with the webhooks that came.
//!
//! Read leniently, as webhooks are: what an event means is its job's to say, so that it is handed on as it is.

use serde_json::Value;

use super::{CallError, Cause, Stripe, refusal};
use crate::job::Dependency;
use crate::provider::Call;

/// Events on one page: Stripe's largest.
const PAGE: &str = "100";
/// The types that decide something here; Stripe takes twenty at most. What a shop does beside its orders is of no concern.
const TYPES: [&str; 20] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.amount_capturable_updated",
    "payment_intent.partially_funded",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.closed",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
];

/// Which events are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSpan {
    /// Made at this second or later, in unix seconds.
    pub from: i64,
    /// Made before this second.
    pub to: i64,
    /// The last event of the page before; none for the first page.
    pub after: Option<String>,
}

/// One page of events, the newest first.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The events, as a webhook would have brought them.
    pub events: Vec<Value>,
    /// Whether another page follows.
    pub has_more: bool,
}

impl EventPage {
    /// The event that the next page comes after; none where there is no next page, or nothing to go on by.
    #[must_use]
    pub fn next_after(&self) -> Option<&str> {
        self.events.last().filter(|_| self.has_more)?.get("id")?.as_str()
    }
}

impl Stripe {
    /// Lists a page of what happened.
    pub async fn events(&self, span: &EventSpan) -> Result<EventPage, CallError> {
        let page = self.page_of_events(span).await;
        page.map_err(|cause| CallError { to: Dependency::Stripe, call: Call::Look, cause })
    }

    async fn page_of_events(&self, span: &EventSpan) -> Result<EventPage, Cause> {
        let mut url = self.wire.http.below(["v1", "events"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", PAGE);
            query.append_pair("created[gte]", &span.from.to_string());
            query.append_pair("created[lt]", &span.to.to_string());
            span.after.iter().for_each(|after| {
                query.append_pair("starting_after", after);
            });
            for (at, kind) in TYPES.iter().enumerate() {
                query.append_pair(&format!("types[{at}]"), kind);
            }
        }
        let answer = self.wire.http.send(self.wire.signed(self.wire.http.client().get(url))).await?;
        if !answer.is_success() {
            return Err(refusal(&answer));
        }
        let page: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| Cause::Unreadable("the list of events is not JSON".to_owned()))?;
        let Some(Value::Array(events)) = page.get("data") else {
            return Err(Cause::Unreadable("the list of events has no data".to_owned()));
        };
        let has_more = page.get("has_more").and_then(Value::as_bool).unwrap_or_default();
        Ok(EventPage { events: events.clone(), has_more })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is not asked for can not be missed, so each type that decides something is on the list, and on no other.
    #[test]
    fn each_type_that_decides_something_for_an_order_is_asked_for() {
        for kind in [
            "payment_intent.succeeded",
            "payment_intent.payment_failed",
            "payment_intent.canceled",
            "payment_intent.processing",
            "payment_intent.requires_action",
            "payment_intent.partially_funded",
            "payment_intent.amount_capturable_updated",
            "charge.refunded",
            "refund.created",
            "refund.updated",
            "refund.failed",
            "charge.refund.updated",
            "charge.dispute.created",
            "charge.dispute.closed",
            "checkout.session.completed",
            "checkout.session.async_payment_succeeded",
            "checkout.session.async_payment_failed",
            "checkout.session.expired",
        ] {
            assert_eq!(TYPES.iter().filter(|asked| **asked == kind).count(), 1, "{kind}");
        }
    }

    #[test]
    fn the_next_page_follows_the_last_event_whether_or_not_it_can_be_read() {
        let page = |events: Value, has_more| {
            let page = EventPage { events: events.as_array().unwrap().clone(), has_more };
            page.next_after().map(str::to_owned)
        };
        assert_eq!(
            page(json!([{"id": "evt_2", "type": "a"}, {"id": "evt_1"}]), true).as_deref(),
            Some("evt_1")
        );
        assert_eq!(page(json!([{"id": "evt_1"}]), false), None);
        assert_eq!(page(json!([]), true), None);
        assert_eq!(page(json!([{"type": "a"}]), true), None);
    }
}
