//! Orders that nobody paid while they could be paid.

use orderfleet::auth::Role;
use serde_json::json;

use crate::house::{self, signed};

#[tokio::test]
async fn an_order_that_nobody_paid_in_time_is_called_off() {
    let house = house::open().await;
    let bought = house.buy("cart-lapse").await;
    house.end_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.count("jobs where kind = 'order-lapse'").await, 1);
    house.end_payable(bought.order).await;
    house.until(bought.intent, "cancelled").await;
    house.settled().await;
    assert_eq!(house.value("select cancel_reason from orders").await, "expired");
    assert_eq!(house.pay_again(bought.intent, false).await.status, 409);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn an_order_that_was_paid_again_is_not_called_off() {
    let house = house::open().await;
    let bought = house.buy("cart-lapse-paid").await;
    house.end_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    let again = house::bought(&house.pay_again(bought.intent, true).await.body);
    house.pay(&again).await;
    house.until(again.intent, "paid").await;
    house.end_payable(bought.order).await;
    house.settled().await;
    assert_eq!(house.timeline(bought.order).await.status, "shipped");
    house.end().await;
}

#[tokio::test]
async fn an_order_whose_payment_is_still_open_is_called_off_after_it() {
    let house = house::plan().set(|settings| settings.orders.settlement_grace_seconds = 1).open().await;
    let bought = house.buy("cart-lapse-open").await;
    let away = json!({"fail": {"status": 503}});
    house
        .faults(json!([{"at": "stripe.retrieve", "what": away}, {"at": "stripe.cancel", "what": away}]))
        .await;
    house.end_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    house.end_payable(bought.order).await;
    house.until_count("orders where cancel_requested", 1).await;
    assert_eq!(house.timeline(bought.order).await.status, "pending_payment");
    house.mend().await;
    house.until(bought.intent, "cancelled").await;
    house.settled().await;
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    house.end().await;
}

#[tokio::test]
async fn r12_a_cancellation_a_dead_payment_and_the_deadline_at_once_give_the_pieces_back_once() {
    let house = house::plan().workers(3).open().await;
    let bought = house.buy("cart-r12").await;
    house.settled().await;
    let dead = json!({"id": "evt_r12", "type": "payment_intent.canceled", "data": {"object": {
        "id": bought.payment, "status": "canceled", "amount": bought.total, "amount_received": 0, "currency": "usd"}}});
    let mia = house.key(orderfleet::auth::Role::Manager, "mia").await;
    let (nothing, letter) = (json!({}), signed(&dead));
    let (asked, (), ()) = tokio::join!(
        house.ask(&mia, bought.order, ("cancel", ""), &nothing),
        house.hurry_hold(bought.order),
        house.deliver(&letter)
    );
    assert_eq!(asked.status, 202);
    house.until_order(bought.order, "cancelled").await;
    house.settled().await;
    assert_eq!(house.count("stock_movements where kind in ('release', 'expire')").await, 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end_with_forged().await;
}

/// The carrier brought it, and nobody complained.
#[tokio::test]
async fn an_order_that_arrived_is_completed_after_some_days_unless_it_waits_for_a_person() {
    let house = house::open().await;
    let mut orders = Vec::new();
    for cart in ["content", "complains"] {
        let bought = house.buy(cart).await;
        house.pay(&bought).await;
        house.until_order(bought.order, "shipped").await;
        let of_order = format!("select tracking_code from labels where order_id = '{}'", bought.order.uuid());
        house.scan(house.value(&of_order).await.as_str().unwrap(), "delivered").await;
        house.until_order(bought.order, "delivered").await;
        orders.push(bought.order);
    }
    house.settled().await;
    assert_eq!(
        house.count("jobs where kind = 'order-completion' and run_at > now() + interval '29 days'").await,
        2
    );
    let boss = house.key(Role::Manager, "boss").await;
    let version = house.value(&format!("select version from orders where id = '{}'", orders[1].uuid())).await;
    assert_eq!(house.put_status(&boss, orders[1], version.as_i64(), "exception").await.status, 200);
    house.some_days_pass().await;
    house.until_order(orders[0], "completed").await;
    house.settled().await;
    assert_eq!(house.timeline(orders[1]).await.status, "exception");
    assert_eq!(house.count("jobs").await, 0);
    house.end().await;
}
