//! Customers with a token of the shop's own log-in: they see and call off what is theirs, and nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use orderfleet::time::Clock;
use ring::hmac;
use serde_json::{Value, json};

use crate::house::{self, House, wish};

const SECRET: &str = "the log-in's secret of forty letters here";

async fn open() -> House {
    let settings = |settings: &mut orderfleet::config::Settings| {
        settings.customer_tokens.hs256_secrets = vec![SECRET.into()];
        "shop".clone_into(&mut settings.customer_tokens.tenant);
        settings.orders.auto_fulfil = false;
    };
    house::plan().set(settings).open().await
}

/// What the log-in signs.
fn token(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A token of this customer that lives for so many seconds more.
fn of(customer: &str, tenant: &str, seconds: i64) -> String {
    token(&json!({"sub": customer, "tenant": tenant, "exp": Clock::real().unix_seconds() + seconds}))
}

#[tokio::test]
async fn a_customer_sees_and_calls_off_their_own_order_and_no_other() {
    let house = open().await;
    let (mine, theirs) = (house.buy("token-mine").await, house.buy("token-theirs").await);
    let me = of("cus-token-mine", "shop", 600);
    let listed = house.read(&me, "/v1/orders").await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    let listed: Vec<&Value> =
        listed.body["orders"].as_array().unwrap().iter().map(|order| &order["order_id"]).collect();
    assert_eq!(listed, [&json!(mine.order)]);
    let seen = house.read(&me, &format!("/v1/orders/{}", mine.order)).await.body;
    assert!(seen["customer"].is_object() && seen["timeline"].is_null(), "{seen}");
    let stranger = of("cus-token-theirs", "another shop", 600);
    for (who, told) in [(&me, (404, json!("unknown_order"))), (&stranger, (401, json!("unauthenticated")))] {
        let hidden = house.read(who, &format!("/v1/orders/{}", theirs.order)).await;
        assert_eq!((hidden.status, &hidden.body["code"]), (told.0, &told.1));
        let refused = house.ask(who, theirs.order, ("cancel", ""), &json!({})).await;
        assert_eq!((refused.status, &refused.body["code"]), (told.0, &told.1));
    }
    assert_eq!(house.ask(&me, mine.order, ("refunds", "k"), &json!({})).await.status, 403);
    assert_eq!(house.put_status(&me, mine.order, None, "on_hold").await.status, 403);
    assert_eq!(house.ask(&me, mine.order, ("cancel", ""), &json!({})).await.status, 202);
    house.until_order(mine.order, "cancelled").await;
    let by = house.value("select actor from order_events where order_id = (select id from orders where cart_id = 'token-mine') order by seq limit 1").await;
    assert!(by.is_string(), "{by}");
    house.end().await;
}

#[tokio::test]
async fn a_token_that_is_not_good_is_told_why_and_opens_nothing() {
    let house = open().await;
    let good = of("cus-token", "shop", 600);
    let (signed, _) = good.rsplit_once('.').unwrap();
    for (token, reason) in [
        (of("cus-token", "shop", -600), "token_expired"),
        (format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0_u8; 32])), "token_signature"),
        ("a.b.c".to_owned(), "token_malformed"),
        (of("cus-token", "another", 600), "token_foreign"),
        (token(&json!({"sub": "cus-token", "exp": 9_999_999_999_i64})), "token_malformed"),
    ] {
        let refused = house.read(&token, "/v1/orders").await;
        assert_eq!((refused.status, &refused.body["code"]), (401, &json!("unauthenticated")), "{token}");
        assert_eq!(refused.body["reason"], reason, "{}", refused.body);
    }
    assert_eq!(house.read(&good, "/v1/orders").await.status, 200);
    let stranger = house.ask_for(&good, &wish("token-other", "SUIT", 1)).await;
    assert_eq!((stranger.status, &stranger.body["code"]), (403, &json!("forbidden")), "{}", stranger.body);
    let own = house.ask_for(&of("cus-token-own", "shop", 600), &wish("token-own", "SUIT", 1)).await;
    assert_eq!(own.status, 202, "{}", own.body);
    house.settled().await;
    house.end().await;
}
