//! Labels that are bought once whatever happens to the answer, and parcels that are followed.

use orderfleet::auth::Role;
use serde_json::{Value, json};

use crate::house::{self, Bought, House};

/// An order whose label is bought while this goes wrong at the carriers' broker, once each.
async fn labelled_despite(faults: &[(&str, Value)]) -> (House, Bought) {
    let house = house::open().await;
    for (at, what) in faults {
        house.fault(at, what.clone()).await;
    }
    let bought = house.buy("cart-label").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!((house.truth("labels").await.len(), house.count("labels").await), (1, 1));
    assert_eq!(house.count("order_exceptions").await, 0);
    (house, bought)
}

/// Its parcel's number.
async fn tracking_code(house: &House, bought: &Bought) -> String {
    let code = house
        .value(&format!("select tracking_code from labels where order_id = '{}'", bought.order.uuid()))
        .await;
    code.as_str().unwrap().to_owned()
}

/// An order that is on its way.
async fn shipped() -> (House, Bought, String) {
    let (house, bought) = labelled_despite(&[]).await;
    let code = tracking_code(&house, &bought).await;
    (house, bought, code)
}

/// Waits until so many scans of parcels are kept.
async fn scans(house: &House, count: i64) {
    for _ in 0..400 {
        if house.count("tracking_events").await >= count {
            return house.settled().await;
        }
        tokio::time::sleep(house::LOOK).await;
    }
    panic!("{} scans", house.count("tracking_events").await);
}

#[tokio::test]
async fn s02_a_label_that_was_bought_though_the_answer_was_lost_is_adopted() {
    let (house, _) = labelled_despite(&[("easypost.buy", json!("drop_after"))]).await;
    assert_eq!(house.calls("POST", "/buy").await, 1, "looked up, never bought again");
    house.end().await;
}

#[tokio::test]
async fn s03_a_label_that_was_not_bought_is_bought_for_the_same_shipment() {
    let (house, _) = labelled_despite(&[("easypost.buy", json!("drop_before"))]).await;
    assert_eq!(house.calls("POST", "/buy").await, 2);
    assert_eq!(house.truth("shipments").await.len(), 1);
    house.end().await;
}

#[tokio::test]
async fn s02_a_broker_that_says_500_after_it_has_bought_is_looked_up() {
    let hidden = json!({"fail": {"status": 500, "after": true}});
    let (house, _) = labelled_despite(&[("easypost.buy", hidden)]).await;
    assert_eq!(house.calls("POST", "/buy").await, 1);
    house.end().await;
}

#[tokio::test]
async fn a_shipment_that_was_made_though_the_answer_was_lost_costs_nothing() {
    let (house, _) = labelled_despite(&[("easypost.create", json!("drop_after"))]).await;
    let bought = house.truth("shipments").await.iter().filter(|shipment| shipment["bought"] == true).count();
    assert_eq!(bought, 1);
    house.end().await;
}

#[tokio::test]
async fn s07_scans_that_come_twice_and_backwards_deliver_once() {
    let (house, bought, code) = shipped().await;
    let before = house.count("tracking_events").await;
    house.scan(&code, "delivered").await;
    house.until_order(bought.order, "delivered").await;
    house.scan(&code, "in_transit").await;
    house.scan(&code, "delivered").await;
    scans(&house, before + 3).await;
    assert_eq!(house.timeline(bought.order).await.status, "delivered");
    assert_eq!(house.count("order_events where to_status = 'delivered'").await, 1);
    assert_eq!(
        house.count("communications where kind = 'delivery_confirmation' and state = 'sent'").await,
        1
    );
    assert_eq!(house.value("select tracking_status from shipments").await, "delivered");
    house.end().await;
}

#[tokio::test]
async fn s07_a_parcel_goes_out_for_delivery_and_arrives() {
    let (house, bought, code) = shipped().await;
    for status in ["out_for_delivery", "delivered"] {
        house.scan(&code, status).await;
        house.until_order(bought.order, status).await;
    }
    house.settled().await;
    house.end().await;
}

#[tokio::test]
async fn s08_a_parcel_that_comes_back_is_shown_to_a_person_and_rewrites_nothing() {
    let (house, bought, code) = shipped().await;
    let before = house.count("tracking_events").await;
    house.scan(&code, "return_to_sender").await;
    scans(&house, before + 1).await;
    assert_eq!(
        house.value("select type from order_exceptions where state = 'open'").await,
        "return_to_sender"
    );
    assert_eq!(house.timeline(bought.order).await.status, "shipped");
    house.end().await;
}

#[tokio::test]
async fn a_label_that_nobody_wants_any_more_leaves_no_question_open() {
    let house = house::open().await;
    let late = json!({"fail": {"status": 500}});
    house
        .faults(json!([{"at": "easypost.create", "what": late, "next": 2},
                        {"at": "easypost.create", "what": {"delay": {"ms": 700}}}]))
        .await;
    let bought = house.buy("cart-unwanted").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "packaging").await;
    house.until_calls("POST", "/v2/shipments", 1).await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, bought.order, ("cancel", ""), &json!({})).await.status, 202);
    house.until_order(bought.order, "refunded").await;
    house.settled().await;
    assert_eq!(house.count("effects where name like 'label:%' and state = 'failed'").await, 1);
    assert_eq!(house.count("attempts").await, 0);
    house.end().await;
}
