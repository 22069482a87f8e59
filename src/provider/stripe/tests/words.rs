//! Stripe's words one by one: the states of a payment, its limits, its keys, what it says of a refund, and its own advice
//! on trying again.

use super::*;
use crate::domain::money::Currency;
use crate::domain::refund::State;
use crate::ids::RefundId;

/// The longest key that Stripe takes.
const LONGEST_KEY: usize = 255;

fn with(answer: Prepared, header: (&'static str, &'static str)) -> Prepared {
    let (status, mut headers, body) = answer;
    headers.push(header);
    (status, headers, body)
}

fn refunded(status: &str) -> Prepared {
    let body = json!({
        "id": "re_1", "object": "refund", "amount": 500, "created": 1_790_000_000, "currency": "usd",
        "metadata": {}, "payment_intent": "pi_1", "status": status,
    });
    (200, Vec::new(), body.to_string())
}

fn refund() -> CreateRefund {
    CreateRefund {
        payment_intent: "pi_1".into(),
        amount_minor: 500,
        currency: Currency::USD,
        refund_id: RefundId::new(),
        order_id: OrderId::new(),
    }
}

#[tokio::test]
async fn each_state_of_a_payment_is_known_and_one_of_tomorrow_is_no_money() {
    for (word, status) in [
        ("requires_payment_method", SeenStatus::RequiresPaymentMethod),
        ("requires_confirmation", SeenStatus::RequiresConfirmation),
        ("requires_action", SeenStatus::RequiresAction),
        ("processing", SeenStatus::Processing),
        ("requires_capture", SeenStatus::RequiresCapture),
        ("succeeded", SeenStatus::Succeeded),
        ("canceled", SeenStatus::Canceled),
        ("a_word_of_tomorrow", SeenStatus::Other),
    ] {
        let stripe = Replay::of([intent(word, 500, "usd")]).await;
        let seen = client(&stripe.base).retrieve("pi_1").await.unwrap();
        assert_eq!((seen.status, seen.received_minor), (status, 0), "{word}");
    }
}

/// No limit names a time to come again, and a lock on the object is none of them: each is waited out by our own backoff.
#[tokio::test]
async fn each_limit_and_a_lock_are_waited_out_and_nothing_was_done() {
    for reason in [
        "global-rate",
        "endpoint-rate",
        "global-concurrency",
        "endpoint-concurrency",
        "resource-specific",
        "lock",
    ] {
        let answer = if reason == "lock" {
            error(429, &json!({"code": "lock_timeout"}))
        } else {
            with(error(429, &json!({"code": "rate_limit"})), ("stripe-rate-limited-reason", reason))
        };
        let stripe = Replay::of([answer]).await;
        let refused = client(&stripe.base).create(&payment(500, "USD"), "eff_1.1").await.unwrap_err();
        let failure = Failure::from(refused);
        assert_eq!((failure.class, failure.code), (Class::Retry, "throttled"), "{reason}: {failure}");
    }
}

#[tokio::test]
async fn a_key_is_as_long_as_stripe_takes_it_or_nothing_is_sent() {
    for (length, is_sent) in [(0, false), (1, true), (LONGEST_KEY, true), (LONGEST_KEY + 1, false)] {
        let stripe = Replay::of([intent("requires_payment_method", 500, "usd")]).await;
        let opened = client(&stripe.base).create(&payment(500, "USD"), &"k".repeat(length)).await;
        assert_eq!((opened.is_ok(), stripe.asked().len()), (is_sent, usize::from(is_sent)), "{length}");
    }
}

/// What was kept is told again with a header: a success and a refusal are what they were, a failure is looked into.
#[tokio::test]
async fn an_answer_that_was_kept_under_the_key_means_what_it_meant_at_first() {
    let kept = ("idempotent-replayed", "true");
    let stripe = Replay::of([with(intent("canceled", 500, "usd"), kept)]).await;
    let seen = client(&stripe.base).cancel("pi_1", "eff_1.1").await.unwrap();
    assert_eq!(seen.status, SeenStatus::Canceled);
    for (status, class, code) in [
        (400, Class::Permanent, "refused"),
        (402, Class::Permanent, "refused"),
        (500, Class::Unknown, "failed_before"),
        (503, Class::Unknown, "failed_before"),
    ] {
        let stripe = Replay::of([with(error(status, &json!({"type": "api_error"})), kept)]).await;
        let failure = Failure::from(client(&stripe.base).cancel("pi_1", "eff_1.1").await.unwrap_err());
        assert_eq!((failure.class, failure.code), (class, code), "{status}: {failure}");
    }
}

#[tokio::test]
async fn each_word_on_a_refund_is_final_open_or_to_be_looked_into() {
    for (word, state) in [
        ("pending", State::Pending),
        ("requires_action", State::Pending),
        ("succeeded", State::Succeeded),
        ("failed", State::Failed),
        ("canceled", State::Cancelled),
    ] {
        let stripe = Replay::of([refunded(word)]).await;
        assert_eq!(client(&stripe.base).refund(&refund(), "eff_1.1").await.unwrap().state, state, "{word}");
    }
    for (status, word, class, code) in [
        (400, "charge_already_refunded", Class::Permanent, "refused"),
        (400, "payment_intent_unexpected_state", Class::Permanent, "refused"),
        (400, "amount_too_large", Class::Permanent, "refused"),
        (404, "resource_missing", Class::Permanent, "refused"),
        (400, "charge_disputed", Class::Unknown, "charge_disputed"),
        (409, "idempotency_key_in_use", Class::Retry, "not_now"),
        (429, "lock_timeout", Class::Retry, "throttled"),
        (500, "api_error", Class::Unknown, "provider_broken"),
    ] {
        let stripe = Replay::of([error(status, &json!({"code": word}))]).await;
        let failure = Failure::from(client(&stripe.base).refund(&refund(), "eff_1.1").await.unwrap_err());
        assert_eq!((failure.class, failure.code), (class, code), "{word}: {failure}");
    }
}

/// A yes says that a refusal is none for good. It can't make a lost outcome known, and neither can a no; and a no takes
/// nothing from what is free to be tried again.
#[tokio::test]
async fn stripe_s_own_word_on_trying_again_saves_what_would_be_given_up_and_settles_no_doubt() {
    let away = Class::Unavailable(Dependency::Stripe);
    for (status, word, class, code) in [
        (400, "true", Class::Retry, "not_now"),
        (402, "true", Class::Retry, "not_now"),
        (404, "true", Class::Retry, "not_now"),
        (401, "true", away, "credentials_refused"),
        (403, "true", away, "credentials_refused"),
        (409, "true", Class::Retry, "not_now"),
        (429, "true", Class::Retry, "throttled"),
        (424, "true", Class::Unknown, "provider_broken"),
        (500, "true", Class::Unknown, "provider_broken"),
        (503, "true", Class::Unknown, "provider_away"),
        (400, "false", Class::Permanent, "refused"),
        (409, "false", Class::Retry, "not_now"),
        (429, "false", Class::Retry, "throttled"),
        (500, "false", Class::Unknown, "provider_broken"),
        (503, "false", Class::Unknown, "provider_away"),
        (400, "perhaps", Class::Permanent, "refused"),
    ] {
        let answer = with(error(status, &json!({"type": "api_error"})), ("stripe-should-retry", word));
        let stripe = Replay::of([answer]).await;
        let failure = Failure::from(client(&stripe.base).cancel("pi_1", "eff_1.1").await.unwrap_err());
        assert_eq!((failure.class, failure.code), (class, code), "{status} {word}: {failure}");
        assert_eq!(stripe.asked().len(), 1, "the queue tries again, not the client: {status} {word}");
    }
}
