//! What a stale worker's call brought a second time, or too late: nothing of it is dropped.

use orderfleet::auth::Role;
use serde_json::{Value, json};

use crate::house::{self, Bought, House};

/// A second payment that the provider opened for an order's first one, known by its receipt alone.
async fn opened_twice(house: &House, bought: &Bought) -> Bought {
    let name = house.value("select name from effects where name like 'pay_create:%'").await;
    let name = name.as_str().unwrap().to_owned();
    let first = name.trim_start_matches("pay_create:");
    let form = format!(
        "amount={}&currency=usd&automatic_payment_methods[enabled]=true&metadata[payment_id]={first}",
        bought.total
    );
    let made = house.stripe("payment_intents", &form).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let second = Bought { payment: text("id"), secret: text("client_secret"), ..bought.clone() };
    brought(house, &name, &second.payment).await;
    second
}

/// A second receipt of an effect.
async fn brought(house: &House, effect: &str, provider_ref: &str) {
    let row = format!(
        "insert into effect_evidence (name, run, receipt, provider_ref) values ('{effect}', 2, '{{}}', '{provider_ref}')"
    );
    house.execute(&row).await.unwrap();
}

/// What a person is shown.
async fn shown(house: &House) -> Vec<Value> {
    house.rows("select type, severity from order_exceptions where state = 'open'").await
}

fn twice() -> [Value; 1] {
    [json!({"type": "done_twice", "severity": "critical"})]
}

const UNSEEN: &str = "effect_evidence where resolved_at is null";

#[tokio::test]
async fn w02_a_second_payment_that_nobody_asked_for_is_cancelled_at_the_provider() {
    let house = house::open().await;
    let bought = house.buy("cart-opened-twice").await;
    house.settled().await;
    let second = opened_twice(&house, &bought).await;
    house.sweep().await;
    house.until_count("payments where state = 'cancelled' and attempt_no = 2", 1).await;
    house.settled().await;
    assert_ne!(house.pay_with(&second, "pm_card_visa").await, 200, "nobody can pay it");
    assert_eq!(shown(&house).await, twice());
    assert_eq!(house.count(UNSEEN).await, 0);
    house.sweep().await;
    assert_eq!(house.count("payments").await, 2, "seen to once");
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    // At the provider two were opened for one of ours, which the audit would say.
    house.end_with_forged().await;
}

#[tokio::test]
async fn w02_a_second_payment_that_was_paid_as_well_goes_back() {
    let house = house::open().await;
    let bought = house.buy("cart-paid-twice").await;
    house.settled().await;
    let second = opened_twice(&house, &bought).await;
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    house.post.keep();
    house.pay(&second).await;
    house.sweep().await;
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    let refunds = house.rows("select origin, amount_minor from refunds").await;
    assert_eq!(refunds, [json!({"origin": "surplus", "amount_minor": bought.total})]);
    assert_eq!(house.truth("refunds").await.len(), 1);
    assert_eq!(shown(&house).await, twice());
    // At the provider two were opened for one of ours, which the audit would say.
    house.end_with_forged().await;
}

#[tokio::test]
async fn w02_a_second_label_and_a_second_refund_are_shown_to_a_person() {
    let house = house::open().await;
    let bought = house.packed(&house::wish("cart-bought-twice", "SUIT", 1)).await;
    let label = house.value("select name from effects where name like 'label:%:buy'").await;
    brought(&house, label.as_str().unwrap(), "1Z-SECOND").await;
    house.sweep().await;
    assert_eq!(shown(&house).await, twice());
    let detail = house.value("select detail from order_exceptions").await;
    assert!(detail.as_str().unwrap().contains("1Z-SECOND"), "{detail}");
    assert_eq!(house.count(UNSEEN).await, 0);
    assert_eq!(house.timeline(bought.order).await.status, "fulfilled", "the order goes on");
    house.end().await;
}

/// Found by the storm: a worker died while its order was called off, and its purchase arrived when the next one had looked.
#[tokio::test]
async fn s02_a_label_that_is_bought_after_its_order_was_called_off_and_looked_for_goes_back() {
    let house = house::plan().set(|settings| settings.easypost.timeout_ms = 500).open().await;
    house.fault("easypost.buy", json!({"delay": {"ms": 6_000}})).await;
    let bought = house.buy("cart-on-the-way").await;
    house.pay(&bought).await;
    house.until_calls("POST", "/buy", 1).await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, bought.order, ("cancel", ""), &json!({})).await.status, 202);
    let shipment = house.value("select provider_shipment_id from shipments").await;
    house.until_calls("GET", shipment.as_str().unwrap(), 1).await;
    while house.truth("labels").await.is_empty() {
        tokio::time::sleep(house::LOOK).await;
    }
    house.until_count("labels where void_state = 'voided'", 1).await;
    house.settled().await;
    house.end().await;
}
