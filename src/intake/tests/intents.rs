//! Sending a wish: once, again, wrongly, too much, and while Redis is away.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use super::house::{open, open_with, problem, wish};
use crate::job::Lane;

#[tokio::test]
async fn fifty_at_once_under_one_key_are_one_intent() {
    let house = open().await;
    let answers = join_all((0..50).map(|_| house.intent("k-1", &wish()).send())).await;
    let (mut ids, mut replayed) = (Vec::new(), 0);
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 202);
        replayed += usize::from(answer.headers().contains_key("idempotent-replayed"));
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["status"], "queued");
        assert_eq!(body["status_url"], location);
        ids.push(body["intent_id"].as_str().unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!((ids.len(), replayed), (1, 49));
    assert_eq!(house.queue.depth(Lane::Intents).await.unwrap().waiting(), 1);
}

#[tokio::test]
async fn another_body_under_the_key_is_refused_and_defaults_are_no_other_body() {
    let house = open().await;
    house.placed("k-1").await;
    let mut other = wish();
    other["lines"][0]["quantity"] = json!(2);
    let answer = house.intent("k-1", &other).send().await.unwrap();
    let (status, code, body) = problem(answer).await;
    assert_eq!((status, code.as_str()), (422, "idempotency_key_reused"));
    assert_eq!(body["retryable"], false);
    let mut same = wish();
    same["priority"] = json!("normal");
    assert_eq!(house.intent("k-1", &same).send().await.unwrap().status(), 202);
}

#[tokio::test]
async fn one_answer_names_every_fault() {
    let house = open().await;
    let body = json!({
        "cart_id": "cart_42",
        "customer": {"id": "cus_7", "email": "nobody", "name": "A. Buyer"},
        "currency": "XTS",
        "lines": [{"sku": "NOPE", "quantity": 0}, {"sku": "SUIT-42R", "quantity": 1_000_000_000_000_i64, "colour": "blue"}],
        "shipping_address": {"name": "A. Buyer", "address_line1": "123 Main St", "country": "XX"},
        "priority": "asap",
        "expected_total": -1
    });
    let (status, code, problem) = problem(house.intent("k-1", &body).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (422, "invalid_body"));
    let errors: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| format!("{} {}", fault["field"].as_str().unwrap(), fault["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        errors,
        [
            "customer.email bad_email",
            "currency unknown_currency",
            "lines[0].sku unknown_sku",
            "lines[0].quantity out_of_range",
            "lines[1].quantity out_of_range",
            "lines[1].colour unknown_field",
            "shipping_address.city missing",
            "shipping_address.country unknown_country",
            "priority unknown_value",
            "expected_total out_of_range",
        ]
    );
    assert!(!problem.to_string().contains("nobody"), "a value came back");
    // Refused is not remembered: the mended body may use the key.
    house.placed("k-1").await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_its_reason() {
    let house = open().await;
    let send = |key: Option<&str>, body: String| {
        let request = house.post("/v1/order-intents").bearer_auth(&house.service).body(body);
        key.map_or_else(
            || request.try_clone().unwrap(),
            |key| request.try_clone().unwrap().header("idempotency-key", key),
        )
        .send()
    };
    let broken = "{\n  \"cart_id\": \"a\",,\n}".to_owned();
    let (status, code, body) = problem(send(Some("k"), broken).await.unwrap()).await;
    assert_eq!((status, code.as_str()), (400, "malformed_json"));
    assert!(body["detail"].as_str().unwrap().contains("line 2 column 18"), "{body}");
    for (key, body, wanted) in [
        (None, wish().to_string(), (400, "idempotency_key_missing")),
        (Some("k".repeat(256)), wish().to_string(), (400, "idempotency_key_invalid")),
        (Some("k k".to_owned()), wish().to_string(), (400, "idempotency_key_invalid")),
        (Some("k".to_owned()), "x".repeat(65_537), (413, "body_too_large")),
    ] {
        let (status, code, _) = problem(send(key.as_deref(), body).await.unwrap()).await;
        assert_eq!((status, code.as_str()), wanted);
    }
    // `headers` replaces, where `header` would send two.
    let plain = reqwest::header::HeaderMap::from_iter([(
        reqwest::header::CONTENT_TYPE,
        reqwest::header::HeaderValue::from_static("text/plain"),
    )]);
    let said = house.intent("k", &wish()).headers(plain).send().await.unwrap();
    assert_eq!(problem(said).await.1, "unsupported_media_type");
}

#[tokio::test]
async fn only_who_may_gets_in() {
    let house = open().await;
    let send = |key: &str| {
        let request = house.post("/v1/order-intents").header("idempotency-key", "k").body(wish().to_string());
        if key.is_empty() { request.send() } else { request.bearer_auth(key).send() }
    };
    for key in ["", "of_live_nonsense", "of_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let answer = send(key).await.unwrap();
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        assert_eq!(problem(answer).await.1, "unauthenticated", "{key:?}");
    }
    for key in [&house.vendor, &house.viewer] {
        assert_eq!(problem(send(key).await.unwrap()).await.1, "forbidden");
    }
    assert_eq!(send(&house.customer).await.unwrap().status(), 202);
    let mut others = wish();
    others["customer"]["id"] = json!("cus_8");
    let foreign =
        house.post("/v1/order-intents").header("idempotency-key", "k2").bearer_auth(&house.customer);
    assert_eq!(problem(foreign.body(others.to_string()).send().await.unwrap()).await.1, "forbidden");
    house.clock.advance(Duration::from_hours(1));
    assert_eq!(problem(send(&house.service).await.unwrap()).await.1, "unauthenticated");
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_and_the_process_is_not_ready() {
    let house = open_with(100, false).await;
    let answer = house.intent("k", &wish()).send().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(problem(answer).await.1, "keys_unavailable");
    let ready: Value = house.get("/readyz", "").send().await.unwrap().json().await.unwrap();
    assert!(ready["obstacles"].as_array().unwrap().contains(&json!("keys_not_read")));
    assert_eq!(house.get("/healthz", "").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_full_lane_refuses_new_wishes_and_keeps_old_ones() {
    let house = open_with(1, true).await;
    let id = house.placed("k-1").await;
    let answer = house.intent("k-3", &wish()).send().await.unwrap();
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let (status, code, body) = problem(answer).await;
    assert_eq!((status, code.as_str(), &body["retryable"]), (503, "over_capacity", &json!(true)));
    assert_eq!(house.placed("k-1").await, id);
}

#[tokio::test]
async fn n09_of_a_flood_the_lane_takes_its_depth_and_the_rest_is_told_when_to_come_back() {
    const DEPTH: u64 = 50;
    let house = open_with(DEPTH, true).await;
    let keys: Vec<String> = (0..1_000).map(|at| format!("k-{at}")).collect();
    let answers = join_all(keys.iter().map(|key| house.intent(key, &wish()).send())).await;
    let mut accepted = Vec::new();
    for (key, answer) in keys.iter().zip(answers) {
        let answer = answer.unwrap();
        if answer.status() == 202 {
            accepted.push(key);
        } else {
            assert_eq!(answer.status(), 503, "{key}");
            assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
        }
    }
    let depth = house.queue.depth(Lane::Intents).await.unwrap().waiting();
    // The door looks twice a second, and the gate is passed in the push: not one more, and none lost.
    assert_eq!(depth, u64::try_from(accepted.len()).unwrap());
    assert!((1..=DEPTH).contains(&depth), "{depth}");
    for key in accepted {
        let again = house.intent(key, &wish()).send().await.unwrap();
        assert!(again.headers().contains_key("idempotent-replayed"), "{key}");
    }
    assert_eq!(house.queue.depth(Lane::Intents).await.unwrap().waiting(), depth);
}

#[tokio::test]
async fn n04_while_redis_is_away_nothing_is_promised_and_the_same_key_works_later() {
    let mut house = open().await;
    house.redis.kill();
    let answer = house.intent("k-1", &wish()).send().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    let (status, code, body) = problem(answer).await;
    assert_eq!((status, code.as_str(), &body["retryable"]), (503, "queue_unavailable", &json!(true)));
    assert!(body["detail"].as_str().unwrap().contains("unknown"));
    house.redis.run(&[]).await;
    for _ in 0..100 {
        let answer = house.intent("k-1", &wish()).send().await.unwrap();
        if answer.status() == 202 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the same key never worked again");
}

#[tokio::test]
async fn a_request_keeps_its_name() {
    let house = open().await;
    let named = house.intent("k-1", &wish()).header("x-request-id", "req-7").send().await.unwrap();
    assert_eq!(named.headers()["x-request-id"], "req-7");
    let unnamed = house.intent("k-1", &wish()).send().await.unwrap();
    assert!(unnamed.headers()["x-request-id"].to_str().unwrap().starts_with("req_"));
}

#[tokio::test]
async fn from_four_fifths_of_the_memory_on_only_known_wishes_and_webhooks_are_taken_in() {
    let house = open().await;
    let id = house.placed("k-1").await;
    let used: String = house.redis.ask(&["INFO", "memory"]);
    let used: u64 = used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().parse().unwrap();
    house.redis.ask::<String>(&["CONFIG", "SET", "maxmemory", &(used * 10 / 9).to_string()]);
    let refused = house.refused("k-2").await;
    let taken = house.queue.depth(Lane::Intents).await.unwrap().waiting();
    assert_eq!(
        (refused["code"].as_str(), refused["reason"].as_str()),
        (Some("over_capacity"), Some("memory"))
    );
    assert_eq!(house.placed("k-1").await, id);
    assert_eq!(house.event("evt_1").await, 200);
    // At the limit webhooks too: their provider repeats them.
    house.redis.ask::<String>(&["CONFIG", "SET", "maxmemory", &(used / 2).to_string()]);
    assert_eq!(house.event("evt_2").await, 503);
    assert_eq!(house.placed("k-1").await, id);
    assert_eq!(house.queue.depth(Lane::Intents).await.unwrap().waiting(), taken);
    // Room again: in by themselves.
    house.redis.ask::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(house.event("evt_2").await, 200);
    for _ in 0..200 {
        if house.intent("k-3", &wish()).send().await.unwrap().status() == 202 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("nothing came in any more");
}
