//! Money of which no webhook tells, and money that is promised and has to be taken.

use serde_json::json;

use crate::house::{self, House};

/// A house that looks at an open payment 1, 5 and 15 seconds after its opening.
async fn that_looks_soon() -> House {
    house::plan().set(|settings| settings.orders.payment_sync_seconds = 1).open().await
}

#[tokio::test]
async fn p14_money_of_which_no_webhook_tells_is_found_by_a_later_look() {
    let house = that_looks_soon().await;
    house.post.keep();
    let bought = house.buy("cart-p14").await;
    // The first look finds nothing.
    house.until_calls("GET", &bought.payment, 1).await;
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    assert_eq!(house.count("jobs where kind = 'payment-sync'").await, 0, "what is paid is not looked at");
    assert_eq!(house.count("inbox").await, 0);
    house.end().await;
}

#[tokio::test]
async fn p14_looks_end_with_the_schedule() {
    let house = that_looks_soon().await;
    let bought = house.buy("cart-p14-unpaid").await;
    house.until_calls("GET", &bought.payment, 3).await;
    house.settled().await;
    assert_eq!(house.calls("GET", &bought.payment).await, 3);
    assert_eq!(house.count("jobs where kind = 'payment-sync'").await, 0);
    house.end().await;
}

#[tokio::test]
async fn a_customer_who_is_back_from_the_payment_page_is_believed_after_a_look() {
    let house = house::open().await;
    house.post.keep();
    let bought = house.buy("cart-refresh").await;
    house.pay(&bought).await;
    futures::future::join_all((0..10).map(|_| house.refresh(bought.intent))).await;
    house.until(bought.intent, "paid").await;
    house.refresh(bought.intent).await;
    house.settled().await;
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 1);
    house.end().await;
}

#[tokio::test]
async fn p03_a_webhook_and_a_refresh_at_once_settle_once() {
    let house = house::plan().workers(2).open().await;
    let bought = house.buy("cart-p03").await;
    house.post.keep();
    house.pay(&bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    tokio::join!(house.deliver(&letter), house.refresh(bought.intent));
    house.until(bought.intent, "paid").await;
    house.settled().await;
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 1);
    assert_eq!(house.calls("POST", "/cancel").await + house.calls("POST", "/refunds").await, 0);
    house.end().await;
}

#[tokio::test]
async fn promised_money_is_taken_at_once() {
    let house = house::open().await;
    let bought = house.buy("cart-authorised").await;
    house.becomes(&bought.payment, "authorised").await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    assert_eq!(house.calls("POST", "/capture").await, 1);
    house.end().await;
}

#[tokio::test]
async fn p18_a_promise_that_lapsed_confirms_nothing() {
    let house = house::open().await;
    let bought = house.buy("cart-p18").await;
    // The capture does not come through before the bank gives up.
    house.faults(json!([{"at": "stripe.capture", "what": {"fail": {"status": 500}}}])).await;
    house.becomes(&bought.payment, "authorised").await;
    house.until_calls("POST", "/capture", 1).await;
    house.becomes(&bought.payment, "lapsed").await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.count("labels").await + house.count("communications").await, 0);
    assert_eq!(house.value("select status from orders").await, "pending_payment");
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}
