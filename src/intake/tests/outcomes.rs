//! Hearing what became of a wish: asked for, waited for, streamed.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::house::{House, open, problem, wish};
use crate::ids::IntentId;
use crate::queue::Projection;

async fn project(house: &House, intent: &str, version: i64, mut state: Value) {
    state["intent_id"] = json!(intent);
    state["tenant"] = json!("shop");
    state["customer_id"] = json!("cus_7");
    let projection = Projection { intent: intent.parse().unwrap(), version, public: state.to_string() };
    house.queue.project(&[projection]).await.unwrap();
}

fn reserved() -> Value {
    json!({"status": "reserved", "success": true, "order_number": "100001", "amount_cents": 1234, "currency": "USD",
           "client_secret_enc": House::sealed("pi_1_secret_2"), "order_status": "pending_payment"})
}

#[tokio::test]
async fn a_state_is_shown_to_whom_it_belongs_and_the_secret_to_fewer() {
    let house = open().await;
    let id = house.placed("k-1").await;
    let path = format!("/v1/order-intents/{id}");
    let shown: Value = house.get(&path, &house.service).send().await.unwrap().json().await.unwrap();
    assert_eq!((&shown["status"], &shown["success"]), (&json!("queued"), &json!(null)));
    project(&house, &id, 2, reserved()).await;
    for (key, secret) in [
        (&house.service, json!("pi_1_secret_2")),
        (&house.customer, json!("pi_1_secret_2")),
        (&house.viewer, json!(null)),
    ] {
        let shown: Value = house.get(&path, key).send().await.unwrap().json().await.unwrap();
        assert_eq!(shown["client_secret"], secret);
        assert_eq!(shown["amount_cents"], 1234);
        assert_eq!(shown.as_object().unwrap().len(), 15, "{shown}");
    }
    assert_eq!(problem(house.get(&path, &house.vendor).send().await.unwrap()).await.1, "forbidden");
}

#[tokio::test]
async fn another_customers_intent_does_not_exist() {
    let house = open().await;
    let mut others = wish();
    others["customer"]["id"] = json!("cus_8");
    let body: Value = house.intent("k-1", &others).send().await.unwrap().json().await.unwrap();
    let path = body["status_url"].as_str().unwrap();
    assert_eq!(problem(house.get(path, &house.customer).send().await.unwrap()).await.1, "unknown_intent");
    for nonsense in ["int_7", "%FF", "ord_00000000000000000000000000"] {
        let path = format!("/v1/order-intents/{nonsense}");
        let answer = house.get(&path, &house.customer).send().await.unwrap();
        assert_eq!(problem(answer).await.1, "unknown_intent", "{nonsense}");
    }
}

#[tokio::test]
async fn what_neither_can_tell_is_never_called_unknown() {
    let mut house = open().await;
    // Redis does not have it, and Postgres, which might, is away.
    let path = "/v1/order-intents/int_00000000000000000000000000";
    assert_eq!(problem(house.get(path, &house.service).send().await.unwrap()).await.1, "state_unavailable");
    house.redis.kill();
    assert_eq!(problem(house.get(path, &house.service).send().await.unwrap()).await.0, 503);
}

#[tokio::test]
async fn a_held_answer_comes_with_the_outcome() {
    let house = open().await;
    let id = house.placed("k-1").await;
    let held = tokio::join!(
        house.intent("k-2", &wish()).header("prefer", "wait=20").send(),
        house.intent("k-1", &wish()).header("prefer", "wait=20").send(),
        async {
            // The second intent's name is not known here: it is the one that the queue has next.
            let second = loop {
                let keys: Vec<String> = house.redis.ask(&["KEYS", "*:i:*"]);
                let first = URL_SAFE_NO_PAD.encode(id.parse::<IntentId>().unwrap().uuid());
                if let Some(key) = keys.iter().find(|key| !key.ends_with(&first)) {
                    let name = URL_SAFE_NO_PAD.decode(key.rsplit(':').next().unwrap()).unwrap();
                    break IntentId::from(uuid::Uuid::from_slice(&name).unwrap()).to_string();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            // Reserved without a secret is not what the buyer waits for.
            let mut bare = reserved();
            bare["client_secret_enc"] = json!(null);
            project(&house, &second, 1, bare).await;
            project(&house, &second, 2, reserved()).await;
            project(
                &house,
                &id,
                1,
                json!({"status": "rejected", "success": false, "error": "insufficient_stock"}),
            )
            .await;
        }
    );
    let (new, replayed) = (held.0.unwrap(), held.1.unwrap());
    assert_eq!((new.status(), replayed.status()), (reqwest::StatusCode::CREATED, reqwest::StatusCode::OK));
    assert_eq!(new.headers()["preference-applied"], "wait=20");
    assert_eq!(replayed.headers()["idempotent-replayed"], "true");
    let (new, replayed): (Value, Value) = (new.json().await.unwrap(), replayed.json().await.unwrap());
    assert_eq!((&new["status"], &new["client_secret"]), (&json!("reserved"), &json!("pi_1_secret_2")));
    assert_eq!(replayed["error"], "insufficient_stock");
}

#[tokio::test]
async fn a_held_answer_need_not_wait_for_the_secret() {
    let house = open().await;
    let id = house.placed("k-1").await;
    let mut bare = reserved();
    bare["client_secret_enc"] = json!(null);
    project(&house, &id, 1, bare).await;
    let held = house.intent("k-1", &wish()).header("prefer", "wait=20, until=reserved").send();
    let answer = held.await.unwrap();
    assert_eq!(answer.headers()["preference-applied"], "wait=20, until=reserved");
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["status"], &body["client_secret"]), (&json!("reserved"), &json!(null)));
}

#[tokio::test]
async fn a_held_answer_whose_time_is_up_says_that_it_is_queued() {
    let house = open().await;
    let answer = house.intent("k-1", &wish()).header("prefer", "wait=1").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], "queued");
    assert!(body["events_url"].as_str().unwrap().ends_with("/events"));
}

/// The next event of a stream as (id, state); none at its end.
async fn event(stream: &mut reqwest::Response) -> Option<(i64, Value)> {
    let mut text = String::new();
    loop {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap()?).unwrap());
        if text.ends_with("\n\n") && text.contains("data:") {
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap().to_owned()
            };
            return Some((field("id").parse().unwrap(), serde_json::from_str(&field("data")).unwrap()));
        }
    }
}

#[tokio::test]
async fn a_stream_tells_each_change_and_ends_with_the_last() {
    let house = open().await;
    let id = house.placed("k-1").await;
    let path = format!("/v1/order-intents/{id}/events");
    let mut stream = house.get(&path, &house.customer).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(event(&mut stream).await.unwrap().1["status"], "queued");
    project(&house, &id, 2, reserved()).await;
    let (version, state) = event(&mut stream).await.unwrap();
    assert_eq!((version, &state["client_secret"]), (2, &json!("pi_1_secret_2")));
    project(&house, &id, 5, json!({"status": "paid", "success": true})).await;
    assert_eq!(event(&mut stream).await.unwrap().0, 5);
    assert_eq!(event(&mut stream).await, None);
    let mut resumed = house.get(&path, &house.customer).header("last-event-id", "2").send().await.unwrap();
    assert_eq!(event(&mut resumed).await.unwrap().0, 5);
    assert_eq!(event(&mut resumed).await, None);
}

#[tokio::test]
async fn a_resumed_stream_does_not_repeat_what_was_received() {
    let house = open().await;
    let id = house.placed("k-1").await;
    project(&house, &id, 2, reserved()).await;
    let path = format!("/v1/order-intents/{id}/events");
    let mut stream = house.get(&path, &house.customer).header("last-event-id", "2").send().await.unwrap();
    project(&house, &id, 3, json!({"status": "expired", "success": false})).await;
    assert_eq!(event(&mut stream).await.unwrap().0, 3);
}

#[tokio::test]
async fn a_stop_ends_streams_and_the_process() {
    let house = open().await;
    let id = house.placed("k-1").await;
    let mut stream =
        house.get(&format!("/v1/order-intents/{id}/events"), &house.customer).send().await.unwrap();
    event(&mut stream).await.unwrap();
    house.stop.cancel();
    assert_eq!(event(&mut stream).await, None);
    tokio::time::timeout(Duration::from_secs(10), house.intake.finished()).await.unwrap();
}

#[tokio::test]
async fn a_browser_follows_with_a_token_of_a_minute_and_one_intent() {
    let house = open().await;
    let (id, other) = (house.placed("k-1").await, house.placed("k-2").await);
    project(&house, &id, 7, json!({"status": "paid", "success": true})).await;
    let ask = async |key: &str, id: &str| {
        let asked = house.post(&format!("/v1/order-intents/{id}/stream-token")).bearer_auth(key);
        asked.send().await.unwrap()
    };
    let answer = ask(&house.customer, &id).await;
    assert_eq!(answer.status(), 201);
    let ticket: Value = answer.json().await.unwrap();
    let (events, token) = (ticket["events_url"].as_str().unwrap(), ticket["token"].as_str().unwrap());
    assert!(events.ends_with(token) && !token.contains("cus_7"));
    // No header at all.
    let follow = async |path: &str| reqwest::get(house.url(path)).await.unwrap();
    let stream = follow(events).await;
    assert_eq!(stream.status(), 200);
    assert!(stream.text().await.unwrap().contains("\"status\":\"paid\""));
    let elsewhere = format!("/v1/order-intents/{other}/events?token={token}");
    let torn = format!("/v1/order-intents/{id}/events?token={}", &token[1..]);
    for path in [&elsewhere, &torn] {
        assert_eq!(problem(follow(path).await).await.1, "unauthenticated", "{path}");
    }
    assert_eq!(follow(&format!("/v1/order-intents/{id}?token={token}")).await.status(), 401);
    house.clock.advance(Duration::from_mins(1));
    assert_eq!(follow(events).await.status(), 401);
    assert_eq!(problem(ask(&house.vendor, &id).await).await.1, "forbidden");
}

#[tokio::test]
async fn who_waits_is_told_how_many_are_before_it() {
    let house = open().await;
    let mut ids = Vec::new();
    for key in ["k-1", "k-2", "k-3"] {
        ids.push(house.placed(key).await);
    }
    for (at, id) in (1..).zip(&ids) {
        let path = format!("/v1/order-intents/{id}");
        let shown: Value = house.get(&path, &house.service).send().await.unwrap().json().await.unwrap();
        // Nobody has seen the fleet at work: there is no speed to promise a time by.
        assert_eq!((&shown["position"], &shown["eta_seconds"]), (&json!(at), &json!(null)), "{shown}");
    }
    project(&house, &ids[1], 2, reserved()).await;
    let path = format!("/v1/order-intents/{}", ids[1]);
    let shown: Value = house.get(&path, &house.service).send().await.unwrap().json().await.unwrap();
    assert_eq!((&shown["status"], &shown["position"]), (&json!("reserved"), &json!(null)));
}

#[tokio::test]
async fn a_configured_provider_s_page_is_made_of_the_settings_for_whom_may_pay() {
    let house = open().await;
    let id = house.placed("k-1").await;
    let path = format!("/v1/order-intents/{id}");
    let state = json!({"status": "reserved", "success": true, "order_number": "OF-100001", "amount_cents": 1234,
                       "currency": "USD", "payment_intent_id": "pay01", "payment_provider": "wallet"});
    project(&house, &id, 2, state.clone()).await;
    let page = json!({"method": "GET", "url": "https://pay.example.com/pay01?amount=12%2E34", "fields": {}});
    for (key, page) in [(&house.service, page), (&house.viewer, json!(null))] {
        let shown: Value = house.get(&path, key).send().await.unwrap().json().await.unwrap();
        assert_eq!(shown["payment_page"], page);
        assert_eq!(shown["client_secret"], json!(null));
    }
    let mut expired = state;
    expired["status"] = json!("expired");
    project(&house, &id, 3, expired).await;
    let shown: Value = house.get(&path, &house.service).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["payment_page"], json!(null), "nothing is held any more");
}
