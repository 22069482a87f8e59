//! Webhooks: signed ones are durable before the answer; others leave nothing.

use reqwest::Response;
use ring::hmac;
use serde_json::{Value, json};

use super::house::{EASYPOST_SECRET, House, NOW, STRIPE_SECRET, WALLET_SECRET, open, problem};
use crate::domain::key::hex;
use crate::job::Lane;

fn event(id: &str) -> String {
    json!({"id": id, "object": "event", "type": "payment_intent.succeeded", "data": {"object": {"id": "pi_1"}}}).to_string()
}

fn sign(secret: &str, bytes: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), bytes).as_ref())
}

pub(super) fn stripe_header(body: &str, at: i64) -> String {
    format!("t={at},v1={}", sign(STRIPE_SECRET, format!("{at}.{body}").as_bytes()))
}

async fn send(house: &House, body: String, header: &str) -> Response {
    house.post("/webhooks/stripe").header("stripe-signature", header).body(body).send().await.unwrap()
}

async fn waiting(house: &House, lane: Lane) -> u64 {
    house.queue.depth(lane).await.unwrap().waiting()
}

#[tokio::test]
async fn a_signed_event_is_one_job_however_often_it_comes() {
    let house = open().await;
    for at in [NOW, NOW - 300, NOW + 300] {
        let answer = send(&house, event("evt_1"), &stripe_header(&event("evt_1"), at)).await;
        assert_eq!(answer.status(), 200, "{at}");
    }
    assert_eq!(waiting(&house, Lane::PaymentsIn).await, 1);
    send(&house, event("evt_2"), &stripe_header(&event("evt_2"), NOW)).await;
    assert_eq!(waiting(&house, Lane::PaymentsIn).await, 2);
}

#[tokio::test]
async fn what_is_not_signed_just_now_over_these_bytes_leaves_nothing() {
    let house = open().await;
    let body = event("evt_1");
    let good = stripe_header(&body, NOW);
    let altered = body.replace("pi_1", "pi_2");
    for (body, header, reason) in [
        (body.clone(), stripe_header(&body, NOW - 301), "too_old"),
        (body.clone(), stripe_header(&body, NOW + 301), "too_new"),
        (altered, good.clone(), "mismatch"),
        (body.clone(), format!("t={NOW},v1={}", sign("whsec_other", b"x")), "mismatch"),
        (body.clone(), good.replace("v1=", "v0="), "no_scheme"),
        (body.clone(), "nonsense".to_owned(), "malformed"),
    ] {
        let (status, code, problem) = problem(send(&house, body, &header).await).await;
        assert_eq!((status, code.as_str(), &problem["reason"]), (400, "bad_signature", &json!(reason)));
    }
    let unsigned = house.post("/webhooks/stripe").body(event("evt_1")).send().await.unwrap();
    assert_eq!(problem(unsigned).await.2["reason"], "missing");
    assert_eq!(waiting(&house, Lane::PaymentsIn).await, 0);
}

#[tokio::test]
async fn easypost_s_secret_is_used_in_its_decomposed_form() {
    let house = open().await;
    let body = json!({"id": "evt_1", "object": "Event", "description": "tracker.updated", "result": {"id": "trk_1"}}).to_string();
    let decomposed = "se\u{301}cret";
    assert_ne!(decomposed, EASYPOST_SECRET);
    let header = format!("hmac-sha256-hex={}", sign(decomposed, body.as_bytes()));
    let send = |header: String| {
        house.post("/webhooks/easypost").header("x-hmac-signature", header).body(body.clone()).send()
    };
    assert_eq!(send(header).await.unwrap().status(), 200);
    assert_eq!(waiting(&house, Lane::ShippingIn).await, 1);
    let wrong = format!("hmac-sha256-hex={}", sign("x", body.as_bytes()));
    assert_eq!(problem(send(wrong).await.unwrap()).await.0, 400);
}

#[tokio::test]
async fn an_unknown_type_is_taken_in_and_a_body_that_is_no_event_is_not() {
    let house = open().await;
    let unknown = json!({"id": "evt_9", "type": "moon.risen"}).to_string();
    assert_eq!(send(&house, unknown.clone(), &stripe_header(&unknown, NOW)).await.status(), 200);
    let none = json!({"type": "moon.risen"}).to_string();
    let answer = send(&house, none.clone(), &stripe_header(&none, NOW)).await;
    assert_eq!(problem(answer).await.1, "no_event");
    assert_eq!(waiting(&house, Lane::PaymentsIn).await, 1);
}

#[tokio::test]
async fn too_large_is_413_and_redis_away_is_503() {
    let mut house = open().await;
    let large = "x".repeat(1_048_577);
    let answer = send(&house, large.clone(), &stripe_header(&large, NOW)).await;
    assert_eq!(problem(answer).await.0, 413);
    house.redis.kill();
    let answer = send(&house, event("evt_1"), &stripe_header(&event("evt_1"), NOW)).await;
    let (status, code, _): (u16, String, Value) = problem(answer).await;
    assert_eq!((status, code.as_str()), (503, "queue_unavailable"));
}

async fn send_wallet(house: &House, body: &str, signature: &str) -> Response {
    let post = house.post("/webhooks/payments/wallet").header("x-signature", signature);
    post.body(body.to_owned()).send().await.unwrap()
}

#[tokio::test]
async fn a_configured_provider_s_event_is_one_job_and_others_leave_nothing() {
    let house = open().await;
    let body = json!({"reference": "pay1", "status": "SUCCESS", "amount": "12.90"}).to_string();
    let signature = sign(WALLET_SECRET, body.as_bytes());
    for _ in 0..20 {
        assert_eq!(send_wallet(&house, &body, &signature).await.status(), 200);
    }
    assert_eq!(waiting(&house, Lane::PaymentsIn).await, 1);

    let altered = body.replace("12.90", "0.90");
    let (status, code, told) = problem(send_wallet(&house, &altered, &signature).await).await;
    assert_eq!((status, code.as_str(), &told["reason"]), (400, "bad_signature", &json!("mismatch")));
    let silent = r#"{"status": "SUCCESS"}"#;
    let refused = send_wallet(&house, silent, &sign(WALLET_SECRET, silent.as_bytes())).await;
    assert_eq!(problem(refused).await.1, "no_event");
    for name in ["other", "stripe", "any", "manual", "%FF"] {
        let path = format!("/webhooks/payments/{name}");
        let refused = house.post(&path).header("x-signature", &signature).body(body.clone()).send().await;
        assert_eq!(problem(refused.unwrap()).await.1, "not_found", "{name}");
    }
    assert_eq!(waiting(&house, Lane::PaymentsIn).await, 1);
}

async fn send_post(house: &House, body: &str, signature: &str) -> Response {
    let post = house.post("/webhooks/mail/post").header("x-signature", signature);
    post.body(body.to_owned()).send().await.unwrap()
}

#[tokio::test]
async fn what_a_mail_service_tells_is_one_job_and_a_stranger_s_word_is_none() {
    let house = open().await;
    let body = json!([{"event": "bounce", "recipient": "a@example.com"}, {"event": "opened"}]).to_string();
    let signature = sign(WALLET_SECRET, body.as_bytes());
    for _ in 0..20 {
        assert_eq!(send_post(&house, &body, &signature).await.status(), 200);
    }
    assert_eq!(waiting(&house, Lane::Housekeeping).await, 1);
    let (_, code, told) = problem(send_post(&house, &body, &sign("other", body.as_bytes())).await).await;
    assert_eq!((code.as_str(), &told["reason"]), ("bad_signature", &json!("mismatch")));
    let opened = json!([{"event": "opened", "recipient": "a@example.com"}]).to_string();
    let silent = send_post(&house, &opened, &sign(WALLET_SECRET, opened.as_bytes())).await;
    assert_eq!(problem(silent).await.1, "no_event");
    let unknown =
        house.post("/webhooks/mail/wallet").header("x-signature", &signature).body(body).send().await;
    assert_eq!(problem(unknown.unwrap()).await.1, "not_found");
}
