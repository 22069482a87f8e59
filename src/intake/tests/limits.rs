//! Trying too often: refused at every door, for a while, and never where one holds an intent.

use reqwest::Response;
use serde_json::{Value, json};

use super::house::{House, open_limited, problem, wish};

/// What the visitor's address is told in.
const SAID: &str = "x-client-address";

fn wish_of(customer: &str) -> Value {
    let mut wish = wish();
    wish["customer"]["id"] = json!(customer);
    wish
}

async fn tries(house: &House, customer: &str, key: &str, address: &str) -> Response {
    house.intent(key, &wish_of(customer)).header(SAID, address).send().await.unwrap()
}

#[tokio::test]
async fn who_tries_too_often_is_sent_away_at_every_door_and_who_holds_an_intent_never_is() {
    let house = open_limited(3, 0).await;
    let second = house.second_door(3, 0).await;
    let at_second = async |key: &str| house.intent_at(&second, key, &wish()).send().await.unwrap();
    let mut held = Vec::new();
    for key in ["k-1", "k-2", "k-3"] {
        held.push(house.placed(key).await);
    }
    let refused = house.intent("k-4", &wish()).send().await.unwrap();
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    let (status, code, body) = problem(refused).await;
    assert_eq!((status, code.as_str(), &body["reason"]), (429, "rate_limited", &json!("customer")));
    assert_eq!(body["retryable"], true);
    for (key, intent) in ["k-1", "k-2", "k-3"].iter().zip(&held) {
        assert_eq!(&house.placed(key).await, intent);
        assert_eq!(at_second(key).await.status(), 202);
    }
    // The first try at a door is taken for the only one; the next is counted with all that Redis knows.
    assert_eq!(at_second("k-5").await.status(), 429);
    assert_eq!(house.intent("k-1", &wish_of("cus_8")).send().await.unwrap().status(), 202);
    // Nothing of it says who it is, and it ends by itself.
    let keys: Vec<String> = house.redis.ask(&["KEYS", "*visits*"]);
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(house.redis.ask::<i64>(&["PTTL", &keys[0]]) > 0 && !keys[0].contains("cus"), "{keys:?}");
}

#[tokio::test]
async fn repeating_a_wish_is_no_try() {
    let house = open_limited(2, 0).await;
    let first = house.placed("k-1").await;
    for _ in 0..10 {
        assert_eq!(house.placed("k-1").await, first);
    }
    house.placed("k-2").await;
    assert_eq!(house.intent("k-3", &wish()).send().await.unwrap().status(), 429);
}

#[tokio::test]
async fn an_address_is_what_the_web_tier_says_and_its_own_is_nobodys() {
    let house = open_limited(0, 2).await;
    for at in 0..4 {
        house.placed(&format!("k-{at}")).await;
    }
    for (customer, status) in [("a", 202), ("b", 202), ("c", 429)] {
        assert_eq!(tries(&house, customer, "k", "203.0.113.7").await.status(), status, "{customer}");
    }
    let (_, code, body) = problem(tries(&house, "d", "k", "203.0.113.7").await).await;
    assert_eq!((code.as_str(), &body["reason"]), ("rate_limited", &json!("address")));
    assert_eq!(tries(&house, "e", "k", "203.0.113.8").await.status(), 202);
    // A customer's own word for it counts for nothing: it is where the connection comes from.
    for (key, status) in [("o-1", 202), ("o-2", 202), ("o-3", 429)] {
        let direct =
            house.post("/v1/order-intents").bearer_auth(&house.customer).header("idempotency-key", key);
        let direct = direct.header(SAID, format!("198.51.100.{status}")).body(wish().to_string());
        assert_eq!(direct.send().await.unwrap().status(), status, "{key}");
    }
}
