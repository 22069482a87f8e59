//! Payments that are opened once, and mails that are sent once, whatever happens to the answers.

use serde_json::{Value, json};

use crate::house::{self, House};

/// An order that is placed while this goes wrong, once, at the opening of its payment: reserved with a secret, one payment.
async fn opened_despite(what: Value) {
    let house = house::open().await;
    house.fault("stripe.create", what).await;
    let bought = house.buy("cart-open").await;
    let payments = house.truth("payments").await;
    assert_eq!(payments.len(), 1, "{payments:?}");
    assert_eq!(payments[0]["id"], bought.payment.as_str());
    assert_eq!(house.calls("POST", "/v1/payment_intents").await, 2);
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.end().await;
}

#[tokio::test]
async fn a_payment_whose_opening_was_done_but_not_answered_is_one_payment() {
    opened_despite(json!("drop_after")).await;
}

#[tokio::test]
async fn a_payment_whose_opening_never_arrived_is_one_payment() {
    opened_despite(json!("drop_before")).await;
}

#[tokio::test]
async fn a_provider_that_is_broken_once_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 503}})).await;
}

#[tokio::test]
async fn a_provider_that_throttles_once_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 429}})).await;
}

#[tokio::test]
async fn a_provider_that_works_on_the_same_key_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 409}})).await;
}

#[tokio::test]
async fn a_provider_that_says_500_once_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 500}})).await;
}

/// An order that is paid while this goes wrong, once, at the mail server.
async fn mailed_despite(at: &str, what: Value) -> House {
    let house = house::open().await;
    house.fault(at, what).await;
    let bought = house.buy("cart-mail").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    house
}

/// Second copies at the mail server, and possible duplicates that we counted.
async fn twice(house: &House) -> (usize, usize) {
    let mails = house.truth("mails").await;
    let ids: std::collections::BTreeSet<_> =
        mails.iter().map(|mail| mail["message_id"].as_str().unwrap()).collect();
    let counted = house.value("select sum(possible_duplicates) from communications").await;
    (mails.len() - ids.len(), usize::try_from(counted.as_u64().unwrap()).unwrap())
}

#[tokio::test]
async fn e01_a_mail_whose_acceptance_was_lost_is_counted_as_a_possible_duplicate() {
    let house = mailed_despite("smtp.data", json!("drop_after")).await;
    assert_eq!(twice(&house).await, (1, 1));
    assert_eq!(house.count("communications where state = 'sent'").await, 2);
    house.end().await;
}

#[tokio::test]
async fn e01_a_line_that_broke_before_the_mail_was_kept_is_counted_too() {
    let house = mailed_despite("smtp.data", json!("drop_before")).await;
    assert_eq!(twice(&house).await, (0, 1));
    house.end().await;
}

#[tokio::test]
async fn a_mail_server_that_says_not_now_is_asked_again_without_a_doubt() {
    for (at, status) in [("smtp.data", 451), ("smtp.rcpt", 450), ("smtp.connect", 421)] {
        let house = mailed_despite(at, json!({"fail": {"status": status}})).await;
        assert_eq!(twice(&house).await, (0, 0), "{at}");
        assert_eq!(house.count("communications where state = 'sent'").await, 2, "{at}");
        house.end().await;
    }
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_given_up_and_the_order_goes_on() {
    let house = mailed_despite("smtp.rcpt", json!({"fail": {"status": 550}})).await;
    assert_eq!(house.count("communications where state = 'failed'").await, 1);
    assert_eq!(house.count("communications where state = 'sent'").await, 1);
    house.end_with_dead(&["email"]).await;
}
