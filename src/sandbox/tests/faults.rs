//! Faults on order: in whose words they come, and what the provider behind them has done and kept.

use super::*;

const FIFTY: &[(&str, &str)] = &[("amount", "5000"), ("currency", "usd")];

impl House {
    /// What goes wrong the next time at one place.
    async fn fault(&self, at: &str, fail: Value) {
        let rule = json!([{"at": at, "what": {"fail": fail}, "next": 1}]);
        self.control(Method::POST, "faults", &rule).await;
    }

    /// A payment opened under this key.
    async fn open(&self, key: &str) -> reqwest::Response {
        self.stripe(Method::POST, "payment_intents", key, FIFTY).await
    }
}

#[tokio::test]
async fn a_gateway_s_page_is_html_and_the_provider_behind_it_keeps_its_own_answer() {
    let house = House::new().await;
    for (after, opened, replayed) in [(false, 0, false), (true, 1, true)] {
        house.control(Method::POST, "reset", &json!({})).await;
        let key = fresh_key();
        house.fault("stripe.create", json!({"status": 502, "html": true, "after": after})).await;
        let page = house.open(&key).await;
        assert_eq!(page.status(), 502);
        assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(!page.headers().contains_key("request-id"), "Stripe did not see it go");
        assert!(page.text().await.unwrap().contains("<h1>502 Bad Gateway</h1>"));
        assert_eq!(house.truth("payments").await.len(), opened, "{after}");
        let again = house.open(&key).await;
        assert_eq!(again.status(), 200);
        assert_eq!(again.headers().contains_key("idempotent-replayed"), replayed, "{after}");
        assert_eq!(house.truth("payments").await.len(), 1);
    }
    house.close().await;
}

#[tokio::test]
async fn easypost_s_gateway_shows_a_page_too() {
    let house = House::new().await;
    house.fault("easypost.retrieve", json!({"status": 502, "html": true})).await;
    let url = format!("{}/v2/shipments/shp_1", house.base);
    let answer = house.client.get(url).basic_auth("EZTK_house", Some("")).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    house.close().await;
}

#[tokio::test]
async fn too_many_requests_are_told_with_the_limit_that_was_met_or_with_a_lock() {
    let house = House::new().await;
    let header = "stripe-rate-limited-reason";
    for reason in
        ["global-rate", "endpoint-rate", "global-concurrency", "endpoint-concurrency", "resource-specific"]
    {
        house.fault("stripe.create", json!({"status": 429, "reason": reason})).await;
        let answer = house.open("").await;
        assert_eq!((answer.status().as_u16(), &answer.headers()[header]), (429, &reason.parse().unwrap()));
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "rate_limit");
    }
    house.fault("stripe.create", json!({"status": 429})).await;
    let answer = house.open("").await;
    assert!(!answer.headers().contains_key(header));
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "lock_timeout");
    house.close().await;
}

/// The same words as where a key really came with other parameters, or is really in use.
#[tokio::test]
async fn quarrels_about_a_key_can_be_ordered_and_leave_it_free() {
    let house = House::new().await;
    let key = fresh_key();
    for (status, ordered, code) in [
        (400_u16, "idempotency_error", Value::Null),
        (409, "idempotency_key_in_use", "idempotency_key_in_use".into()),
    ] {
        house.fault("stripe.create", json!({"status": status, "code": ordered})).await;
        let answer = house.open(&key).await;
        assert_eq!(answer.status(), status);
        let error = &answer.json::<Value>().await.unwrap()["error"];
        assert_eq!((&error["type"], &error["code"]), (&json!("idempotency_error"), &code));
    }
    assert_eq!(house.open(&key).await.status(), 200);
    house.close().await;
}

#[tokio::test]
async fn a_carrier_is_silent_before_and_after_it_has_sold_the_label() {
    let house = House::new().await;
    for (after, sold) in [(false, 0), (true, 1)] {
        let parcel = json!({"shipment": {"to_address": {"street1": "1 St"}, "from_address": {}, "parcel": {"weight": 9}}});
        let (_, made) = house.easypost(Method::POST, "shipments", &parcel).await.unwrap();
        let silence = json!({"status": 422, "code": "SHIPMENT.POSTAGE.NO_RESPONSE", "after": after});
        house.fault("easypost.buy", silence).await;
        let path = format!("shipments/{}/buy", made["id"].as_str().unwrap());
        let buy = json!({"rate": {"id": made["rates"][0]["id"]}});
        let (status, error) = house.easypost(Method::POST, &path, &buy).await.unwrap();
        assert_eq!((status, &error["error"]["code"]), (422, &json!("SHIPMENT.POSTAGE.NO_RESPONSE")));
        assert_eq!(house.truth("labels").await.len(), sold, "{after}");
    }
    house.close().await;
}
