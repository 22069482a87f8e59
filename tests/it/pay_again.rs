//! Orders that are paid again: after their hold ran out, or after their payment died.

use orderfleet::store::stock::Change;
use serde_json::json;

use crate::house::{self, Bought, House};

/// An order whose hold is over.
async fn expired(house: &House, cart: &str) -> Bought {
    let bought = house.buy(cart).await;
    house.end_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    bought
}

#[tokio::test]
async fn an_expired_order_is_reserved_again_and_paid() {
    let house = house::open().await;
    let first = expired(&house, "again").await;
    let answer = house.pay_again(first.intent, true).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("reserved")), "{}", answer.body);
    let second = house::bought(&answer.body);
    assert_ne!(second.payment, first.payment);
    assert_ne!(house.pay_with(&first, "pm_card_visa").await, 200, "the old payment is cancelled");
    house.pay(&second).await;
    house.until(second.intent, "paid").await;
    let holds = house.rows("select epoch, state from reservations order by epoch").await;
    assert_eq!(holds, [json!({"epoch": 1, "state": "expired"}), json!({"epoch": 2, "state": "committed"})]);
    let roles = house.rows("select attempt_no as no, state, role from payments order by 1").await;
    assert_eq!(
        roles,
        [
            json!({"no": 1, "state": "cancelled", "role": "candidate"}),
            json!({"no": 2, "state": "captured", "role": "primary"})
        ]
    );
    house.end().await;
}

#[tokio::test]
async fn asked_many_times_at_once_one_payment_is_opened() {
    let house = house::plan().workers(2).open().await;
    let first = expired(&house, "again-many").await;
    let answers = futures::future::join_all((0..10).map(|_| house.pay_again(first.intent, true))).await;
    assert!(answers.iter().all(|answer| answer.status == 202), "{answers:#?}");
    assert_eq!(
        house.pay_again(first.intent, true).await.body["client_secret"],
        answers[0].body["client_secret"]
    );
    house.settled().await;
    assert_eq!(house.count("reservations where state = 'active' and epoch = 2").await, 1);
    assert_eq!(house.count("payments").await, 2);
    assert_eq!(house.truth("payments").await.len(), 2);
    // And again, after the second hold.
    house.end_hold(first.order).await;
    house.until(first.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.pay_again(first.intent, true).await.body["status"], "reserved");
    assert_eq!(house.count("reservations where state = 'active' and epoch = 3").await, 1);
    house.end().await;
}

#[tokio::test]
async fn an_open_payment_is_not_opened_again() {
    let house = house::open().await;
    let bought = house.buy("again-open").await;
    let answer = house.pay_again(bought.intent, true).await;
    assert_eq!((answer.status, &answer.body["payment_intent_id"]), (202, &json!(bought.payment)));
    house.settled().await;
    assert_eq!(house.count("payments").await, 1);
    house.end().await;
}

#[tokio::test]
async fn what_others_bought_meanwhile_is_told_and_nothing_is_held() {
    let house = house::open().await;
    let bought = expired(&house, "again-short").await;
    house.store.change_stock("SUIT", Change::Set(0), "short").await.unwrap();
    let answer = house.pay_again(bought.intent, false).await;
    assert_eq!((answer.status, &answer.body["code"]), (409, &json!("insufficient_stock")));
    assert_eq!(answer.body["details"], json!([{"sku": "SUIT", "requested": 1, "available": 0}]));
    assert_eq!(house.count("reservations").await, 1);
    assert_eq!(house.state(bought.intent).await["status"], "expired");
    house.end().await;
}

#[tokio::test]
async fn what_is_paid_over_or_too_late_is_not_paid_again() {
    let house = house::open().await;
    let paid = house.buy("again-paid").await;
    house.pay(&paid).await;
    house.until_order(paid.order, "shipped").await;
    let answer = house.pay_again(paid.intent, false).await;
    assert_eq!(
        (answer.status, &answer.body["code"], &answer.body["reason"]),
        (409, &json!("not_payable"), &json!("shipped"))
    );
    let late = expired(&house, "again-late").await;
    house
        .execute(&format!("update orders set payable_until = now() where id = '{}'", late.order.uuid()))
        .await
        .unwrap();
    let answer = house.pay_again(late.intent, false).await;
    assert_eq!((answer.status, &answer.body["reason"]), (409, &json!("too_late")));
    assert_eq!(house.count("reservations where epoch > 1").await, 0);
    house.end().await;
}
