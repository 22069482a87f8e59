//! Money that is at a bank for days, and what a shop wants done about a card that is declined.

use orderfleet::config::Declined;
use serde_json::json;

use crate::house::{self, Bought, House};

/// A house whose holds are over at once for a card, and last a week for a bank.
async fn with_settling(seconds: u64) -> House {
    house::plan()
        .set(|settings| {
            settings.orders.reservation_seconds = 2;
            settings.orders.max_hold_seconds = 2;
            settings.orders.settling_seconds = seconds;
        })
        .open()
        .await
}

/// An order whose bank debit is on its way.
async fn debited(house: &House, cart: &str) -> Bought {
    let bought = house.buy(cart).await;
    assert_eq!(house.pay_with(&bought, "pm_usBankAccount_processing").await, 200);
    bought
}

const WAITS: &str = "reservations where state = 'active' and settling_until > created_at + interval '6 days'";

#[tokio::test]
async fn l07_money_that_a_bank_takes_days_over_pays_the_order_when_it_comes() {
    let house = with_settling(7 * 86_400).await;
    let bought = debited(&house, "cart-settled").await;
    house.until_count(WAITS, 1).await;
    let first = house.value("select settling_until from reservations").await;
    house.hurry_hold(bought.order).await;
    house.until_calls("GET", &bought.payment, 2).await;
    assert_eq!(
        house.value("select settling_until from reservations").await,
        first,
        "it counts from the first time"
    );
    assert_eq!(house.state(bought.intent).await["status"], "reserved");
    house.becomes(&bought.payment, "succeeded").await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    assert_eq!(house.count("reservations where state = 'committed' and epoch = 1").await, 1);
    house.end().await;
}

#[tokio::test]
async fn l07_pieces_that_a_bank_refused_to_pay_for_go_back_when_it_is_next_asked() {
    let house = with_settling(7 * 86_400).await;
    let bought = debited(&house, "cart-refused").await;
    house.until_count(WAITS, 1).await;
    house.becomes(&bought.payment, "failed").await;
    house.until_count("payment_attempts where outcome = 'failed'", 1).await;
    house.hurry_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn l07_a_bank_that_never_answers_keeps_the_pieces_no_longer_than_the_shop_says() {
    let house = with_settling(3).await;
    let bought = debited(&house, "cart-silent").await;
    house.until_count("reservations where settling_until is not null", 1).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn l07_a_shop_that_waits_for_no_bank_releases_as_for_a_card() {
    let house = with_settling(0).await;
    let bought = debited(&house, "cart-no-bank").await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.count("reservations where settling_until is not null").await, 0);
    house.end().await;
}

/// An order whose first card is declined, in a shop that wants this done about it.
async fn declined(what: Declined, cart: &str) -> (House, Bought) {
    let house = house::plan().set(|settings| settings.orders.declined = what).open().await;
    let bought = house.buy(cart).await;
    assert_eq!(house.pay_with(&bought, "pm_card_chargeDeclined").await, 402);
    (house, bought)
}

#[tokio::test]
async fn p06_a_decline_gives_the_pieces_back_at_once_where_the_shop_wants_that() {
    let (house, bought) = declined(Declined::Release, "cart-release").await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    assert_eq!(house.count("reservations where state = 'released'").await, 1);
    assert_eq!(house.timeline(bought.order).await.status, "pending_payment", "it can be paid again");
    let again = house.pay_again(bought.intent, true).await;
    assert_eq!(again.status, 202, "{}", again.body);
    house.pay(&house::bought(&again.body)).await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    assert_eq!(house.rows("select kind from communications where kind = 'payment_failed'").await.len(), 1);
    house.end().await;
}

#[tokio::test]
async fn p06_a_decline_calls_the_order_off_where_the_shop_wants_that() {
    let (house, bought) = declined(Declined::Cancel, "cart-cancel").await;
    house.until_order(bought.order, "cancelled").await;
    house.settled().await;
    assert_eq!(
        house.rows("select cancel_reason from orders").await,
        [json!({"cancel_reason": "payment_failed"})]
    );
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    let mails = house.rows("select kind from communications where state = 'sent'").await;
    assert_eq!(mails, [json!({"kind": "cancellation"})]);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn p06_a_decline_that_is_told_after_the_money_came_moves_nothing_whatever_the_shop_wants() {
    let house = house::plan().set(|settings| settings.orders.declined = Declined::Cancel).open().await;
    let bought = house.buy("cart-late-decline").await;
    house.post.keep();
    assert_eq!(house.pay_with(&bought, "pm_card_chargeDeclined").await, 402);
    house.pay(&bought).await;
    let failed = house.letter("payment_intent.payment_failed", &bought.payment).await;
    let paid = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.post.pass_on();
    house.deliver(&paid).await;
    house.until(bought.intent, "paid").await;
    house.deliver(&failed).await;
    house.settled().await;
    assert_eq!(house.count("orders where cancel_requested").await, 0);
    house.end().await;
}
