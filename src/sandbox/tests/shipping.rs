//! EasyPost: labels are bought once, creates are not idempotent, parcels move.

use super::*;

fn shipment(street: &str, country: &str) -> Value {
    json!({"shipment": {
        "to_address": {"name": "A", "street1": street, "city": "X", "zip": "1", "country": country},
        "from_address": {"name": "B", "street1": "1 Way", "city": "Y", "zip": "2", "country": "US"},
        "parcel": {"weight": 15.4}, "reference": "label:ord_1:1",
    }})
}

async fn created(house: &House) -> (String, String) {
    let (status, body) = house.easypost(Method::POST, "shipments", &shipment("1 St", "US")).await.unwrap();
    assert_eq!(status, 201, "{body}");
    (body["id"].as_str().unwrap().to_owned(), body["rates"][0]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_label_is_bought_once_and_its_parcel_moves() {
    let mut house = House::new().await;
    let (id, rate) = created(&house).await;
    let buy = json!({"rate": {"id": rate}});
    let (status, bought) = house.easypost(Method::POST, &format!("shipments/{id}/buy"), &buy).await.unwrap();
    assert_eq!(status, 200);
    let code = bought["tracking_code"].as_str().unwrap();
    assert_eq!(bought["selected_rate"]["rate"], "6.09");
    assert_eq!(bought["fees"][1]["amount"], "6.09000");
    assert!(bought["postage_label"]["label_url"].is_string());
    let (status, error) = house.easypost(Method::POST, &format!("shipments/{id}/buy"), &buy).await.unwrap();
    assert_eq!((status, error["error"]["code"].as_str()), (422, Some("SHIPMENT.POSTAGE.EXISTS")));
    for (kind, status) in [("tracker.created", "pre_transit"), ("tracker.updated", "in_transit")] {
        let (headers, body, event) = house.webhook().await;
        assert_eq!(
            (event["description"].as_str(), event["result"]["status"].as_str()),
            (Some(kind), Some(status))
        );
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, "se\u{301}cret".as_bytes());
        let signed = world::hex("hmac-sha256-hex=", ring::hmac::sign(&key, body.as_bytes()).as_ref());
        assert_eq!(headers["x-hmac-signature"], signed.as_str());
    }
    house.control(Method::POST, &format!("trackers/{code}/delivered"), &json!({})).await;
    let event = house.webhook().await.2;
    assert_eq!(event["result"]["status"], "delivered");
    assert_eq!(event["previous_attributes"]["status"], "in_transit");
    let labels = house.truth("labels").await;
    assert_eq!(labels.len(), 1);
    assert_eq!((&labels[0]["reference"], &labels[0]["amount_cents"]), (&json!("label:ord_1:1"), &json!(609)));
    house.close().await;
}

#[tokio::test]
async fn a_dropped_answer_hides_a_bought_label_and_a_look_finds_it() {
    let house = House::new().await;
    let (id, rate) = created(&house).await;
    let drop = json!([{"at": "easypost.buy", "what": "drop_after", "next": 1}]);
    house.control(Method::POST, "faults", &drop).await;
    let buy = json!({"rate": {"id": rate}});
    let lost = house.easypost(Method::POST, &format!("shipments/{id}/buy"), &buy).await;
    assert!(lost.is_err_and(|error| error.status().is_none()), "no answer at all");
    let (_, found) = house.easypost(Method::GET, &format!("shipments/{id}"), &json!({})).await.unwrap();
    assert!(found["postage_label"].is_object());
    assert_eq!(house.truth("labels").await.len(), 1);
    assert_eq!(house.control(Method::GET, "faults", &json!({})).await[0]["hits"], 1);
    house.close().await;
}

#[tokio::test]
async fn a_drop_before_does_nothing_but_is_counted() {
    let house = House::new().await;
    let drop = json!([{"at": "easypost.create", "what": "drop_before", "next": 1}]);
    house.control(Method::POST, "faults", &drop).await;
    assert!(house.easypost(Method::POST, "shipments", &shipment("1 St", "US")).await.is_err());
    assert!(house.truth("shipments").await.is_empty());
    created(&house).await;
    created(&house).await;
    assert_eq!(house.truth("shipments").await.len(), 2, "creates are never idempotent");
    let counts = house.control(Method::GET, "requests", &json!({})).await;
    assert_eq!(counts["easypost"]["POST /v2/shipments"], 3);
    house.close().await;
}

#[tokio::test]
async fn a_parcel_may_be_in_every_state_that_easypost_has_and_in_no_other() {
    let mut house = House::new().await;
    let (id, rate) = created(&house).await;
    let buy = json!({"rate": {"id": rate}});
    let (_, bought) = house.easypost(Method::POST, &format!("shipments/{id}/buy"), &buy).await.unwrap();
    let code = bought["tracking_code"].as_str().unwrap();
    for _ in 0..2 {
        house.webhook().await;
    }
    for status in [
        "unknown",
        "pre_transit",
        "in_transit",
        "out_for_delivery",
        "delivered",
        "available_for_pickup",
        "return_to_sender",
        "failure",
        "cancelled",
        "error",
    ] {
        house.control(Method::POST, &format!("trackers/{code}/{status}"), &json!({})).await;
        assert_eq!(house.webhook().await.2["result"]["status"], status);
    }
    let strange = house.client.post(format!("{}/_sandbox/trackers/{code}/lost", house.base));
    assert_eq!(strange.send().await.unwrap().status(), 422);
    house.close().await;
}

#[tokio::test]
async fn the_money_of_a_label_is_asked_for_and_its_street_says_what_the_carrier_answers() {
    let house = House::new().await;
    for (street, word) in
        [("1 St", "refunded"), ("2 No Refund St", "rejected"), ("3 Paid When Scanned St", "not_applicable")]
    {
        let (_, made) = house.easypost(Method::POST, "shipments", &shipment(street, "US")).await.unwrap();
        let path = format!("shipments/{}", made["id"].as_str().unwrap());
        let (status, error) =
            house.easypost(Method::POST, &format!("{path}/refund"), &json!({})).await.unwrap();
        assert_eq!((status, &error["error"]["code"]), (422, &json!("SHIPMENT.REFUND.UNAVAILABLE")));
        let buy = json!({"rate": {"id": made["rates"][0]["id"]}});
        house.easypost(Method::POST, &format!("{path}/buy"), &buy).await.unwrap();
        let (_, asked) = house.easypost(Method::POST, &format!("{path}/refund"), &json!({})).await.unwrap();
        assert_eq!(asked["refund_status"], "submitted");
        let (_, answered) = house.easypost(Method::GET, &path, &json!({})).await.unwrap();
        assert_eq!(answered["refund_status"], word);
    }
    house.close().await;
}

/// Names what the recorded answer has and ours has not, or has in another type; a null on either side has no type.
fn differences(path: &str, recorded: &Value, ours: &Value, found: &mut Vec<String>) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (name, value) in recorded {
                let path = format!("{path}.{name}");
                match ours.get(name) {
                    Some(ours) => differences(&path, value, ours, found),
                    None => found.push(format!("{path} is missing")),
                }
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            if let (Some(recorded), Some(ours)) = (recorded.first(), ours.first()) {
                differences(&format!("{path}[0]"), recorded, ours, found);
            }
        }
        (Value::Null, _)
        | (_, Value::Null)
        | (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => found.push(format!("{path} is {ours}, recorded was {recorded}")),
    }
}

/// Sends what was sent when the answers were recorded, and compares the shapes of the answers.
#[tokio::test]
async fn the_shapes_are_those_that_easypost_gave() {
    let house = House::new().await;
    let recorded = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let create = recorded(include_str!("../../../tests/data/easypost/01-shipment-create.json"));
    let bought = recorded(include_str!("../../../tests/data/easypost/02-shipment-buy.json"));
    let tracker = recorded(include_str!("../../../tests/data/easypost/08-tracker-create.json"));
    let mut found = Vec::new();
    let (_, ours) = house.easypost(Method::POST, "shipments", &create["request"]["body"]).await.unwrap();
    differences("create", &create["response"]["body"], &ours, &mut found);
    let buy = json!({"rate": {"id": ours["rates"][0]["id"]}});
    let path = format!("shipments/{}/buy", ours["id"].as_str().unwrap());
    let (_, ours) = house.easypost(Method::POST, &path, &buy).await.unwrap();
    differences("buy", &bought["response"]["body"], &ours, &mut found);
    let (_, ours) = house.easypost(Method::POST, "trackers", &tracker["request"]["body"]).await.unwrap();
    differences("tracker", &tracker["response"]["body"], &ours, &mut found);
    assert!(found.is_empty(), "{found:#?}");
    house.close().await;
}

#[tokio::test]
async fn what_cannot_be_delivered_is_refused_or_not_rated() {
    let house = House::new().await;
    let strict = json!({"address": {"street1": "UNDELIVERABLE 1"}, "verify_strict": true});
    let (status, error) = house.easypost(Method::POST, "addresses", &strict).await.unwrap();
    assert_eq!((status, error["error"]["code"].as_str()), (422, Some("ADDRESS.VERIFY.FAILURE")));
    for (street, is_sentence) in [("UNDELIVERABLE 1", false), ("9 NOWHERE", true)] {
        let soft = json!({"address": {"street1": street}, "verify": true});
        let (status, address) = house.easypost(Method::POST, "addresses", &soft).await.unwrap();
        let verdict = &address["verifications"]["delivery"];
        assert_eq!((status, &verdict["success"]), (201, &json!(false)));
        assert_eq!(verdict["errors"][0].is_string(), is_sentence, "{verdict}");
    }
    let (_, none) =
        house.easypost(Method::POST, "shipments", &shipment("undeliverable", "US")).await.unwrap();
    assert_eq!((none["rates"].as_array().unwrap().len(), none["messages"].as_array().unwrap().len()), (0, 1));
    let (_, abroad) = house.easypost(Method::POST, "shipments", &shipment("1 St", "NP")).await.unwrap();
    assert_eq!(abroad["rates"][0]["service"], "FirstClassPackageInternationalService");
    house.close().await;
}

#[tokio::test]
async fn each_test_code_of_a_tracker_tells_its_own_word_and_asked_for_twice_it_is_one_tracker() {
    let house = House::new().await;
    for (code, status) in [
        ("EZ1000000001", "pre_transit"),
        ("EZ2000000002", "in_transit"),
        ("EZ3000000003", "out_for_delivery"),
        ("EZ4000000004", "delivered"),
        ("EZ5000000005", "return_to_sender"),
        ("EZ6000000006", "failure"),
        ("EZ7000000007", "unknown"),
    ] {
        let wanted = json!({"tracker": {"tracking_code": code, "carrier": "USPS"}});
        let (answer, tracker) = house.easypost(Method::POST, "trackers", &wanted).await.unwrap();
        assert_eq!((answer, tracker["status"].as_str()), (200, Some(status)), "{code}");
        let signed_by = if status == "delivered" { json!("John Tester") } else { Value::Null };
        assert_eq!(tracker["signed_by"], signed_by, "{code}");
        let (_, again) = house.easypost(Method::POST, "trackers", &wanted).await.unwrap();
        assert_eq!(again["id"], tracker["id"], "{code}");
        let path = format!("trackers/{}", tracker["id"].as_str().unwrap());
        let (_, seen) = house.easypost(Method::GET, &path, &json!({})).await.unwrap();
        assert_eq!(seen, tracker, "{code}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_parcel_goes_to_each_word_of_the_list_and_its_webhook_tells_which_it_left() {
    let mut house = House::new().await;
    let wanted = json!({"tracker": {"tracking_code": "EZ1000000001", "carrier": "USPS"}});
    house.easypost(Method::POST, "trackers", &wanted).await.unwrap();
    assert_eq!(house.webhook().await.2["description"], "tracker.created");
    let mut before = "pre_transit";
    for (status, detail) in [
        ("unknown", "unknown"),
        ("in_transit", "arrived_at_facility"),
        ("out_for_delivery", "out_for_delivery"),
        ("available_for_pickup", "available_for_pickup"),
        ("delivered", "arrived_at_destination"),
        ("return_to_sender", "return"),
        ("failure", "unable_to_deliver"),
        ("cancelled", "cancelled"),
        ("error", "error"),
        ("pre_transit", "label_created"),
    ] {
        house.control(Method::POST, &format!("trackers/EZ1000000001/{status}"), &json!({})).await;
        let event = house.webhook().await.2;
        let told = (&event["result"]["status"], &event["result"]["status_detail"]);
        assert_eq!(told, (&json!(status), &json!(detail)));
        assert_eq!(event["previous_attributes"]["status"], before, "{status}");
        before = status;
    }
    let none = format!("{}/_sandbox/trackers/EZ1000000001/beamed_up", house.base);
    assert_eq!(house.client.post(none).send().await.unwrap().status(), 422);
    house.close().await;
}
