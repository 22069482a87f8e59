//! 3-D Secure: the bank wants to see the buyer, who passes, fails, or never comes back.

use serde_json::json;

use crate::house::{self, Bought, House};

/// A card whose bank wants to see its owner.
const SEEN: &str = "pm_card_threeDSecure2Required";
/// The same, and then the bank refuses the money.
const SEEN_AND_REFUSED: &str = "pm_card_threeDSecureRequiredChargeDeclined";

/// An order whose buyer is at the bank's page.
async fn at_the_bank(house: &House, cart: &str, method: &str) -> Bought {
    let bought = house.buy(cart).await;
    assert_eq!(house.pay_with(&bought, method).await, 200);
    house.until_count("payments where state = 'requires_action'", 1).await;
    bought
}

#[tokio::test]
async fn a_buyer_whom_the_bank_knows_has_paid() {
    let house = house::open().await;
    let bought = at_the_bank(&house, "secure-known", SEEN).await;
    assert_eq!(house.state(bought.intent).await["status"], "reserved", "nothing is paid yet");
    house.becomes(&bought.payment, "authenticated").await;
    house.until(bought.intent, "paid").await;
    house.until_order(bought.order, "shipped").await;
    house.end().await;
}

#[tokio::test]
async fn a_buyer_whom_the_bank_does_not_believe_may_pay_with_another_card() {
    let house = house::open().await;
    let bought = at_the_bank(&house, "secure-unknown", SEEN).await;
    house.becomes(&bought.payment, "unauthenticated").await;
    house.until_count("payment_attempts where code = 'payment_intent_authentication_failure'", 1).await;
    house.settled().await;
    assert_eq!(house.state(bought.intent).await["status"], "reserved", "the pieces are still held");
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    house.end().await;
}

#[tokio::test]
async fn a_buyer_who_was_seen_and_is_refused_gets_no_more_time_than_anybody() {
    let house = house::open().await;
    let bought = at_the_bank(&house, "secure-refused", SEEN_AND_REFUSED).await;
    house.becomes(&bought.payment, "authenticated").await;
    house.until_count("payment_attempts where code = 'generic_decline'", 1).await;
    house.end_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.value("select extensions from reservations").await, 0, "nobody is at the bank any more");
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    house.end().await;
}

/// L07, then L01, then L03.
#[tokio::test]
async fn l07_a_buyer_who_never_comes_back_keeps_the_pieces_once_longer_and_later_money_is_late() {
    let house = house::plan().set(|settings| settings.orders.reservation_seconds = 6).open().await;
    let bought = at_the_bank(&house, "secure-left", SEEN).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    assert_ne!(house.pay_with(&bought, SEEN).await, 200, "the bank's page leads nowhere any more");
    // Money that the provider took all the same, by a payment that it had not cancelled.
    let late = house.second_payment(&bought).await;
    assert_eq!(house.pay_with(&late, SEEN).await, 200);
    house.becomes(&late.payment, "authenticated").await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    let holds = house.rows("select epoch, state, extensions from reservations order by epoch").await;
    let hold = |epoch: u8, state: &str, extensions: u8| json!({"epoch": epoch, "state": state, "extensions": extensions});
    assert_eq!(holds, [hold(1, "expired", 1), hold(2, "committed", 0)]);
    house.end().await;
}
