//! What carriers say word by word: of a parcel on its way, and of a label that is given back.

use orderfleet::auth::Role;
use serde_json::json;

use crate::house::{self, wish};

/// What each word makes of one order after the other, and of whom somebody has to look after.
#[tokio::test]
async fn each_word_of_a_carrier_moves_the_order_on_alarms_a_person_or_changes_nothing() {
    let house = house::open().await;
    house.packed(&wish("cart-words", "SUIT", 1)).await;
    let code = house.value("select tracking_code from labels").await;
    house.post.pass_on();
    let mut alarms = Vec::new();
    for (word, order, alarm) in [
        ("unknown", "fulfilled", None),
        ("pre_transit", "fulfilled", None),
        ("in_transit", "shipped", None),
        ("unknown", "shipped", None),
        ("cancelled", "shipped", None),
        ("error", "shipped", None),
        ("failure", "shipped", Some("failure")),
        ("available_for_pickup", "out_for_delivery", None),
        ("out_for_delivery", "out_for_delivery", None),
        ("delivered", "delivered", None),
        ("return_to_sender", "delivered", Some("return_to_sender")),
    ] {
        let before = house.count("tracking_events").await;
        house.scan(code.as_str().unwrap(), word).await;
        house.until_count("tracking_events", before + 1).await;
        house.settled().await;
        alarms.extend(alarm);
        assert_eq!(house.value("select status from orders").await, order, "{word}");
        let open =
            house.rows("select type from order_exceptions where state = 'open' order by opened_at").await;
        let open: Vec<&str> = open.iter().map(|row| row["type"].as_str().unwrap()).collect();
        assert_eq!(open, alarms, "{word}");
    }
    assert_eq!(house.count("communications where kind = 'delivery_confirmation'").await, 1);
    house.end().await;
}

/// The order is called off all the same; its label stays paid for, and a person is shown that.
#[tokio::test]
async fn a_label_that_the_carrier_does_not_take_back_is_shown_to_a_person() {
    let house = house::open().await;
    let mut wish = wish("cart-kept-label", "SUIT", 1);
    wish["shipping_address"]["address_line1"] = json!("1 No Refund Road");
    let bought = house.packed(&wish).await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, bought.order, ("cancel", ""), &json!({})).await.status, 202);
    house.until_count("labels where void_state = 'void_rejected'", 1).await;
    house.post.pass_on();
    for letter in house.post.letters().iter().filter(|letter| letter.provider == "stripe") {
        house.deliver(letter).await;
    }
    house.until_order(bought.order, "refunded").await;
    house.settled().await;
    let shown = house.rows("select type, severity, state from order_exceptions").await;
    assert_eq!(shown, [json!({"type": "label_not_voided", "severity": "warning", "state": "open"})]);
    assert_eq!(house.calls("POST", "/refund").await, 1, "asked for once");
    house.end().await;
}
