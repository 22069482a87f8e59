//! Webhooks that never come: Stripe's own list tells of them, and each is done once.

use serde_json::json;

use crate::house::{self, Bought, House, LOOK, PATIENCE, signed};
use crate::twice::KEEP_ROWS;

/// A house that compares events as soon as they are a second old.
async fn open() -> House {
    let house = house::plan().set(|settings| settings.orders.event_sync_seconds = 1).open().await;
    house.execute(KEEP_ROWS).await.unwrap();
    house
}

/// Sweeps until this holds.
async fn swept_until(house: &House, holds: &str) {
    for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
        if house.value(&format!("select {holds}")).await == true {
            return;
        }
        house.sweep().await;
        tokio::time::sleep(LOOK).await;
    }
    panic!("never {holds}");
}

/// Jobs that were inserted because their webhooks were missed.
const MISSED: &str = "met where kind = 'payment-confirmation' and caused_by <> 'intake'";

async fn end(house: House) {
    house.execute("drop table met cascade").await.unwrap();
    house.end().await;
}

/// An order that was paid, of which no webhook tells.
async fn paid_in_silence(house: &House, cart: &str) -> Bought {
    let bought = house.buy(cart).await;
    house.post.keep();
    house.pay(&bought).await;
    bought
}

#[tokio::test]
async fn an_event_whose_webhook_was_lost_is_found_in_the_list_and_done_once() {
    let house = open().await;
    let bought = paid_in_silence(&house, "cart-lost").await;
    swept_until(&house, "exists (select from orders where status = 'fulfilled')").await;
    assert!(house.count(MISSED).await >= 1);
    house.post.pass_on();
    for letter in house.post.letters() {
        house.deliver(&letter).await;
    }
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 1);
    assert_eq!(house.count("communications where kind = 'order_confirmation'").await, 1);
    end(house).await;
}

#[tokio::test]
async fn an_event_that_came_is_not_taken_in_again() {
    let house = open().await;
    let bought = house.buy("cart-came").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    let last = "(select max(received_at) from inbox where provider = 'stripe')";
    swept_until(&house, &format!("compared_to > {last} from event_windows")).await;
    house.settled().await;
    assert_eq!(house.count(MISSED).await, 0);
    end(house).await;
}

/// More than one page of them, and a list that fails at first.
#[tokio::test]
async fn many_lost_events_are_read_page_by_page() {
    let house = open().await;
    let bought = house.buy("cart-pages").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    house.post.keep();
    for _ in 0..55 {
        house.stripe("refunds", &format!("payment_intent={}&amount=1", bought.payment)).await;
    }
    house.fault("stripe.events", json!({"fail": {"status": 500}})).await;
    swept_until(&house, &format!("count(*) = 110 from {MISSED}")).await;
    house.settled().await;
    assert!(house.calls("GET", "/v1/events").await >= 3, "one that failed, and two pages");
    assert_eq!(house.value("select refunded_minor from orders").await, 55);
    end(house).await;
}

/// What it says of itself proves nothing: the payment is looked at.
#[tokio::test]
async fn a_word_of_stripe_s_own_page_is_an_occasion_to_look_at_our_payment() {
    let house = open().await;
    let bought = paid_in_silence(&house, "cart-session").await;
    house.post.pass_on();
    let session = |id: &str, payment: &str| {
        json!({"id": id, "type": "checkout.session.completed", "data": {"object": {
            "id": "cs_1", "object": "checkout.session", "payment_status": "unpaid", "payment_intent": payment}}})
    };
    house.deliver(&signed(&session("evt_ours", &bought.payment))).await;
    house.until(bought.intent, "paid").await;
    house.deliver(&signed(&session("evt_theirs", "pi_of_another_shop"))).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    let told = "select string_agg(state, ' ' order by event_id) from inbox where event_id in ('evt_ours', 'evt_theirs')";
    assert_eq!(house.value(told).await, "applied ignored");
    end(house).await;
}
