//! What each type of an event says by itself, and which of them say too little.

use serde_json::{Value, json};

use super::*;

fn event(kind: &str, object: &Value) -> StripeEvent {
    let event = json!({"id": "evt_1", "object": "event", "type": kind, "data": {"object": object}});
    StripeEvent::read(event.to_string().as_bytes()).unwrap()
}

fn intent(received: &Value) -> Value {
    json!({"id": "pi_1", "status": "succeeded", "amount": 500, "amount_received": received, "currency": "usd"})
}

#[test]
fn each_type_of_a_payment_s_event_is_one_state_and_only_a_success_is_money() {
    for (kind, state) in [
        ("payment_intent.created", State::Pending),
        ("payment_intent.payment_failed", State::Pending),
        ("payment_intent.partially_funded", State::Pending),
        ("payment_intent.of_tomorrow", State::Pending),
        ("payment_intent.requires_action", State::RequiresAction),
        ("payment_intent.processing", State::Processing),
        ("payment_intent.amount_capturable_updated", State::Authorized),
        ("payment_intent.canceled", State::Cancelled),
        ("payment_intent.succeeded", State::Captured),
        ("v1.payment_intent.succeeded", State::Captured),
    ] {
        // The status that it carries along may be of another moment: the type says what happened.
        let heard = heard(&event(kind, &intent(&json!(300)))).unwrap();
        let money = if state == State::Captured { (300, "USD") } else { (0, "") };
        assert_eq!((heard.state, (heard.received_minor, heard.currency.as_str())), (state, money), "{kind}");
    }
}

#[test]
fn a_success_that_does_not_say_how_much_came_is_looked_up() {
    for received in [Value::Null, json!(0), json!("300"), json!(-1)] {
        assert!(heard(&event("payment_intent.succeeded", &intent(&received))).is_none(), "{received}");
    }
    let thin = json!({"id": "evt_1", "object": "v2.core.event", "type": "v1.payment_intent.succeeded",
                      "related_object": {"id": "pi_1"}});
    assert!(heard(&StripeEvent::read(thin.to_string().as_bytes()).unwrap()).is_none(), "a thin one");
}

#[test]
fn each_state_of_a_dispute_is_told_by_its_event_and_a_new_word_is_looked_up() {
    for (kind, status, state) in [
        ("charge.dispute.created", "needs_response", Some(DisputeState::Open)),
        ("charge.dispute.created", "warning_needs_response", Some(DisputeState::Inquiry)),
        ("charge.dispute.updated", "under_review", Some(DisputeState::Open)),
        ("charge.dispute.updated", "warning_under_review", Some(DisputeState::Inquiry)),
        ("charge.dispute.closed", "won", Some(DisputeState::Won)),
        ("charge.dispute.closed", "lost", Some(DisputeState::Lost)),
        ("charge.dispute.closed", "warning_closed", Some(DisputeState::InquiryClosed)),
        ("charge.dispute.closed", "of_tomorrow", None),
    ] {
        let dispute =
            json!({"id": "dp_1", "amount": 500, "currency": "usd", "status": status, "reason": "fraudulent"});
        let told = wanted_back(&event(kind, &dispute));
        assert_eq!(told.as_ref().map(|told| told.state), state, "{kind} {status}");
        let amount = told.map(|told| (told.amount_minor, told.currency));
        assert_eq!(amount, state.map(|_| (500, "USD".to_owned())), "{kind} {status}");
    }
}

/// Our own commit may be as late as that.
#[test]
fn p04_an_event_that_came_too_early_waits_ten_minutes_and_more_and_spends_no_attempt() {
    assert!(PaymentConfirmation::LIMITS.max_age >= Duration::from_mins(10));
    assert!(!Failure::snooze(Duration::from_secs(1), "parked", "not known here yet").spends_an_attempt());
}
