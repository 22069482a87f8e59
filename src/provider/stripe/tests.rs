//! The words that go to Stripe, and what each of its answers becomes.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::job::{Class, Failure};
use crate::provider::replay::{Prepared, Replay};

mod words;

fn client(base: &str) -> Stripe {
    Stripe::new(&StripeSettings {
        secret_key: SecretString::from("sk_test_1"),
        webhook_secrets: Vec::new(),
        api_base: base.to_owned(),
        timeout_ms: 500,
        tolerance_seconds: 300,
    })
    .unwrap()
}

fn payment(minor: i64, currency: &str) -> CreatePayment {
    CreatePayment {
        amount_minor: minor,
        currency: currency.parse().unwrap(),
        order_id: OrderId::new(),
        payment_id: PaymentId::new(),
        order_number: "OF-1001".into(),
        tenant: "main".into(),
        description: "Order OF-1001".into(),
    }
}

fn intent(status: &str, amount: i64, currency: &str) -> Prepared {
    let body = json!({
        "id": "pi_1", "object": "payment_intent", "amount": amount, "amount_capturable": 0, "amount_received": 0,
        "capture_method": "automatic_async", "confirmation_method": "automatic", "created": 1_790_000_000,
        "currency": currency, "livemode": false, "metadata": {}, "payment_method_types": ["card"],
        "client_secret": "pi_1_secret_x", "status": status, "a_field_of_tomorrow": {"x": 1},
    });
    (200, vec![("content-type", "application/json")], body.to_string())
}

fn error(status: u16, codes: &serde_json::Value) -> Prepared {
    (status, vec![("request-id", "req_1")], json!({ "error": codes }).to_string())
}

#[tokio::test]
async fn opening_says_everything_once_and_under_the_key() {
    let stripe = Replay::of([intent("requires_payment_method", 500, "ugx")]).await;
    let seen = client(&stripe.base).create(&payment(5, "UGX"), "eff_1.1").await.unwrap();
    assert_eq!((seen.id.as_str(), seen.status), ("pi_1", SeenStatus::RequiresPaymentMethod));
    assert_eq!((seen.amount_minor, seen.currency.code()), (5, "UGX"), "in our units again");
    assert_eq!(seen.client_secret.unwrap().expose_secret(), "pi_1_secret_x");

    let asked = stripe.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /v1/payment_intents");
    assert_eq!(asked[0].headers["idempotency-key"], "eff_1.1");
    assert_eq!(asked[0].headers["authorization"], "Bearer sk_test_1");
    assert_eq!(asked[0].headers["stripe-version"], stripe_client_core::VERSION.as_str());
    for part in
        ["amount=500", "currency=ugx", "automatic_payment_methods[enabled]=true", "metadata[order_id]=ord_"]
    {
        assert!(asked[0].body.contains(part), "{part} is not in {}", asked[0].body);
    }
}

#[tokio::test]
async fn a_receipt_never_holds_the_client_secret() {
    let stripe = Replay::of([intent("succeeded", 12_900, "usd")]).await;
    let seen = client(&stripe.base).retrieve("pi_1").await.unwrap();
    let receipt = serde_json::to_string(&seen).unwrap();
    assert!(!receipt.contains("secret"), "{receipt}");
    assert!(!format!("{seen:?}").contains("pi_1_secret_x"));
    let read: PaymentSeen = serde_json::from_str(&receipt).unwrap();
    assert_eq!((read.status, read.amount_minor), (SeenStatus::Succeeded, 12_900));
    let asked = stripe.asked();
    assert_eq!(asked[0].line, "GET /v1/payment_intents/pi_1");
    assert!(!asked[0].headers.contains_key("idempotency-key"));
}

#[tokio::test]
async fn every_answer_has_its_class() {
    let away = Class::Unavailable(Dependency::Stripe);
    let html = (502, vec![("content-type", "text/html")], "<html>bad gateway</html>".to_owned());
    let cases = [
        (error(401, &json!({"type": "invalid_request_error"})), away, "credentials_refused"),
        (error(402, &json!({"type": "card_error", "code": "card_declined"})), Class::Permanent, "refused"),
        (error(400, &json!({"type": "idempotency_error"})), Class::Unknown, "key_reused"),
        (error(400, &json!({"code": UNEXPECTED_STATE})), Class::Unknown, "unexpected_state"),
        (error(409, &json!({"code": "idempotency_key_in_use"})), Class::Retry, "not_now"),
        (error(409, &json!({"type": "idempotency_error"})), Class::Retry, "not_now"),
        (error(429, &json!({"code": "rate_limit"})), Class::Retry, "throttled"),
        (
            (429, vec![("retry-after", "7")], String::new()),
            Class::RetryAfter(Duration::from_secs(7)),
            "throttled",
        ),
        (error(403, &json!({"type": "invalid_request_error"})), away, "credentials_refused"),
        (error(404, &json!({"code": "resource_missing"})), Class::Permanent, "refused"),
        (error(400, &json!({"code": "charge_already_refunded"})), Class::Permanent, "refused"),
        (error(400, &json!({"code": "amount_too_small"})), Class::Permanent, "refused"),
        (error(400, &json!({"code": "amount_too_large"})), Class::Permanent, "refused"),
        (error(400, &json!({"code": "charge_disputed"})), Class::Unknown, "charge_disputed"),
        (error(408, &json!({"type": "api_error"})), Class::Unknown, "provider_broken"),
        (error(424, &json!({"type": "api_error"})), Class::Unknown, "provider_broken"),
        (error(429, &json!({"code": "lock_timeout"})), Class::Retry, "throttled"),
        (error(500, &json!({"type": "api_error"})), Class::Unknown, "provider_broken"),
        (error(501, &json!({"type": "api_error"})), Class::Unknown, "provider_broken"),
        (error(503, &json!({"type": "api_error"})), Class::Unknown, "provider_away"),
        (error(504, &json!({"type": "api_error"})), Class::Unknown, "provider_away"),
        // The failure of an earlier call, kept under its key.
        ((500, vec![("idempotent-replayed", "true")], "{}".to_owned()), Class::Unknown, "failed_before"),
        (html, Class::Unknown, "provider_away"),
        ((200, Vec::new(), "<html>hello</html>".to_owned()), Class::Unknown, "unreadable_answer"),
        (
            (307, vec![("location", "http://127.0.0.1:1/")], String::new()),
            Class::Unknown,
            "unreadable_answer",
        ),
    ];
    for (answer, class, code) in cases {
        let stripe = Replay::of([answer.clone()]).await;
        let failure = Failure::from(client(&stripe.base).cancel("pi_1", "eff_1.1").await.unwrap_err());
        assert_eq!((failure.class, failure.code), (class, code), "{answer:?}: {failure}");
        assert_eq!(stripe.asked().len(), 1, "sent once: {answer:?}");
    }
}

#[tokio::test]
async fn a_page_of_a_look_that_was_lost_is_asked_for_again_and_no_look_begins_anew_for_it() {
    let page = |has_more: bool| {
        let (_, _, body) = intent("requires_payment_method", 500, "usd");
        let listed: serde_json::Value = serde_json::from_str(&body).unwrap();
        let list =
            json!({"object": "list", "url": "/v1/payment_intents", "has_more": has_more, "data": [listed]});
        (200, Vec::new(), list.to_string())
    };
    let lost = || error(500, &json!({"type": "api_error"}));
    let stripe = Replay::of([page(true), lost(), lost(), page(false)]).await;
    assert!(client(&stripe.base).find(PaymentId::new(), 0).await.unwrap().is_none(), "looked through");
    let asked: Vec<String> = stripe.asked().into_iter().map(|asked| asked.line).collect();
    assert!(asked[1].contains("starting_after") && asked[1] == asked[2] && asked[2] == asked[3], "{asked:?}");
    let stripe = Replay::of([page(true), lost(), lost(), lost(), page(false)]).await;
    let failure = Failure::from(client(&stripe.base).find(PaymentId::new(), 0).await.unwrap_err());
    assert_eq!((failure.class, failure.code), (Class::Retry, "provider_broken"), "three times are enough");
}

#[tokio::test]
async fn a_page_that_was_lost_by_its_time_out_is_not_waited_for_again() {
    let tries = AtomicUsize::new(0);
    let slow = || async {
        tries.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(SOON).await;
        Err::<(), _>(Cause::NoAnswer("timed out".into()))
    };
    assert!(not_lost(slow).await.is_err());
    assert_eq!(tries.into_inner(), 1, "the job's deadline has no room for more");
}

#[tokio::test]
async fn the_provider_s_sentence_is_not_repeated() {
    let message =
        json!({"code": "email_invalid", "message": "Invalid email address: a@example.com", "param": "x"});
    let stripe = Replay::of([error(400, &message)]).await;
    let failure = Failure::from(client(&stripe.base).retrieve("pi_1").await.unwrap_err());
    assert_eq!(failure.detail, "stripe: refused: 400 email_invalid x (request req_1)");
}

#[tokio::test]
async fn the_limit_that_was_met_is_told_and_a_lock_is_told_by_its_code() {
    let limited = (
        429,
        vec![("stripe-rate-limited-reason", "global-concurrency")],
        json!({"error": {"type": "invalid_request_error", "code": "rate_limit"}}).to_string(),
    );
    for (answer, told) in [
        (limited, "429 invalid_request_error rate_limit global-concurrency (request unknown)"),
        (error(429, &json!({"code": "lock_timeout"})), "429 lock_timeout (request req_1)"),
    ] {
        let stripe = Replay::of([answer]).await;
        let failure = Failure::from(client(&stripe.base).retrieve("pi_1").await.unwrap_err());
        assert_eq!((failure.class, failure.code), (Class::Retry, "throttled"));
        assert_eq!(failure.detail, format!("stripe: throttled: {told}"));
    }
}

/// What changes nothing is asked again, and what counts is looked up.
#[tokio::test]
async fn a_gateway_s_page_says_that_stripe_is_away_and_nothing_of_what_was_done() {
    let page =
        || (502, vec![("content-type", "text/html")], "<html><h1>502 Bad Gateway</h1></html>".to_owned());
    let stripe = Replay::of([page(), page()]).await;
    let look = Failure::from(client(&stripe.base).retrieve("pi_1").await.unwrap_err());
    assert_eq!((look.class, look.code), (Class::Unavailable(Dependency::Stripe), "provider_away"));
    let open = Failure::from(client(&stripe.base).create(&payment(500, "USD"), "eff_1.1").await.unwrap_err());
    assert_eq!((open.class, open.code), (Class::Unknown, "provider_away"));
}

#[tokio::test]
async fn nobody_there_is_an_outage_and_silence_is_unknown() {
    let _replay = Replay::of([]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    // The kernel accepts the connection; nobody ever answers.
    let silent = client(&base);
    let failure = Failure::from(silent.create(&payment(12_900, "USD"), "eff_1.1").await.unwrap_err());
    assert_eq!((failure.class, failure.code), (Class::Unknown, "no_answer"), "{failure}");
    let failure = Failure::from(silent.retrieve("pi_1").await.unwrap_err());
    assert_eq!((failure.class, failure.code), (Class::Retry, "no_answer"), "{failure}");

    drop(listener);
    let failure = Failure::from(client(&base).cancel("pi_1", "eff_1.1").await.unwrap_err());
    assert_eq!(failure.class, Class::Unavailable(Dependency::Stripe), "{failure}");
}

#[tokio::test]
async fn what_can_t_be_charged_is_never_sent() {
    let stripe = Replay::of([]).await;
    for (minor, currency) in [(0, "USD"), (49, "USD"), (5_124, "KWD")] {
        let error = client(&stripe.base).create(&payment(minor, currency), "eff_1.1").await.unwrap_err();
        assert_eq!(Failure::from(error).class, Class::Permanent);
    }
    assert!(client(&stripe.base).create(&payment(500, "USD"), "").await.is_err(), "a mutation needs a key");
    assert!(stripe.asked().is_empty());
}

#[tokio::test]
async fn bad_settings_are_named_and_no_secret_is_shown() {
    let _replay = Replay::of([]).await;
    let settings = |key: &str, base: &str| StripeSettings {
        secret_key: SecretString::from(key),
        webhook_secrets: Vec::new(),
        api_base: base.to_owned(),
        timeout_ms: 500,
        tolerance_seconds: 300,
    };
    for (key, base, setting) in [
        (" ", "https://api.stripe.com/", "stripe.secret_key"),
        ("sk_\nx", "https://api.stripe.com/", "stripe.secret_key"),
        ("sk_x", "api.stripe.com", "stripe.api_base"),
    ] {
        let error = Stripe::new(&settings(key, base)).unwrap_err();
        assert_eq!(error.setting, setting);
        assert!(!error.to_string().contains("sk_"), "{error}");
    }
    assert!(!format!("{:?}", client("https://api.stripe.com")).contains("sk_test_1"));
}
