//! What an event of Stripe is about, told by its type alone, and whose payment that is.

use crate::domain::webhook::WebhookPayload;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A payment that we opened.
    Payment,
    /// Money that goes back: a refund, or a charge with all of its refunds in one sum.
    Refund,
    /// A bank that wants money back.
    Dispute,
    /// A page of Stripe's own, over a payment that may be ours: what it says is an occasion to look at that.
    Checkout,
    /// What a shop does beside its orders.
    Other,
}

impl About {
    pub(super) fn of(webhook: &WebhookPayload) -> Self {
        let kind = webhook.event_type.trim_start_matches("v1.");
        let begins = |with: &str| kind.starts_with(with);
        if begins("payment_intent.") {
            Self::Payment
        } else if begins("refund.") || begins("charge.refund") {
            Self::Refund
        } else if begins("charge.dispute.") {
            Self::Dispute
        } else if begins("checkout.session.") {
            Self::Checkout
        } else {
            Self::Other
        }
    }
}

/// What an event is about, by the provider's id: the payment; where a refund, a dispute or a page does not name it, that itself.
pub(super) fn pays(webhook: &WebhookPayload) -> &str {
    let of = |pointer| webhook.event.pointer(pointer).and_then(serde_json::Value::as_str);
    let named = of("/data/object/payment_intent").or_else(|| of("/data/object/payment_intent/id"));
    let names_another = matches!(About::of(webhook), About::Refund | About::Dispute | About::Checkout);
    named.filter(|_| names_another).unwrap_or(&webhook.object_id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str) -> WebhookPayload {
        WebhookPayload {
            provider: "stripe".into(),
            account: String::new(),
            event_id: "evt_1".into(),
            event_type: kind.into(),
            object_id: "obj_1".into(),
            event: json!({"data": {"object": {"id": "obj_1", "payment_intent": "pi_1"}}}),
        }
    }

    #[test]
    fn the_type_says_what_it_is_about_and_which_payment_that_is() {
        for (kind, about, whose) in [
            ("payment_intent.succeeded", About::Payment, "obj_1"),
            ("payment_intent.payment_failed", About::Payment, "obj_1"),
            ("payment_intent.canceled", About::Payment, "obj_1"),
            ("payment_intent.processing", About::Payment, "obj_1"),
            ("payment_intent.requires_action", About::Payment, "obj_1"),
            ("payment_intent.amount_capturable_updated", About::Payment, "obj_1"),
            ("v1.payment_intent.succeeded", About::Payment, "obj_1"),
            ("payment_intent.partially_funded", About::Payment, "obj_1"),
            ("charge.refunded", About::Refund, "pi_1"),
            ("charge.refund.updated", About::Refund, "pi_1"),
            ("refund.created", About::Refund, "pi_1"),
            ("refund.updated", About::Refund, "pi_1"),
            ("refund.failed", About::Refund, "pi_1"),
            ("charge.dispute.created", About::Dispute, "pi_1"),
            ("charge.dispute.closed", About::Dispute, "pi_1"),
            ("charge.dispute.funds_withdrawn", About::Dispute, "pi_1"),
            ("checkout.session.completed", About::Checkout, "pi_1"),
            ("checkout.session.async_payment_succeeded", About::Checkout, "pi_1"),
            ("checkout.session.async_payment_failed", About::Checkout, "pi_1"),
            ("checkout.session.expired", About::Checkout, "pi_1"),
            ("charge.succeeded", About::Other, "obj_1"),
            ("customer.created", About::Other, "obj_1"),
        ] {
            let event = event(kind);
            assert_eq!((About::of(&event), pays(&event)), (about, whose), "{kind}");
        }
    }
}
