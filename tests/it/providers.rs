//! Payments that are opened once, and mails that are sent once, whatever happens to the answers.

use serde_json::{Value, json};

use crate::house::{self, House};

/// An order that is placed while this goes wrong, once, at the opening of its payment: reserved with a secret, one
/// payment, after so many calls.
async fn opened_despite(what: Value, calls: usize) {
    let house = house::open().await;
    house.fault("stripe.create", what).await;
    let bought = house.buy("cart-open").await;
    let payments = house.truth("payments").await;
    assert_eq!(payments.len(), 1, "{payments:?}");
    assert_eq!(payments[0]["id"], bought.payment.as_str());
    assert_eq!(house.calls("POST", "/v1/payment_intents").await, calls);
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.end().await;
}

#[tokio::test]
async fn a_payment_whose_opening_was_done_but_not_answered_is_one_payment() {
    opened_despite(json!("drop_after"), 2).await;
}

#[tokio::test]
async fn a_payment_whose_opening_never_arrived_is_one_payment() {
    opened_despite(json!("drop_before"), 2).await;
}

/// It keeps its failure under the key: asked again it says the same, a look proves that there is nothing, a new key opens.
#[tokio::test]
async fn a_provider_that_is_broken_once_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 503}}), 3).await;
}

#[tokio::test]
async fn a_provider_that_throttles_once_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 429}}), 2).await;
}

#[tokio::test]
async fn a_provider_that_works_on_the_same_key_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 409}}), 2).await;
}

#[tokio::test]
async fn a_provider_that_says_500_once_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 500}}), 3).await;
}

/// It keeps its failure and has done the work: the look finds the payment.
#[tokio::test]
async fn a_provider_that_says_500_though_it_has_opened_the_payment_opens_no_second() {
    opened_despite(json!({"fail": {"status": 500, "after": true}}), 2).await;
}

/// A gateway has lost the answer: asked again under the same key, the provider tells what it has done.
#[tokio::test]
async fn a_gateway_s_page_instead_of_an_answer_opens_no_second_payment() {
    for after in [false, true] {
        opened_despite(json!({"fail": {"status": 502, "html": true, "after": after}}), 2).await;
    }
}

#[tokio::test]
async fn a_provider_that_names_the_limit_that_was_met_opens_one_payment() {
    opened_despite(json!({"fail": {"status": 429, "reason": "endpoint-concurrency"}}), 2).await;
}

/// Something was done under the key: what it was is looked up, and only where there is nothing a new key opens a payment.
#[tokio::test]
async fn a_key_that_came_with_other_words_before_opens_no_second_payment() {
    for (after, calls) in [(false, 2), (true, 1)] {
        let reused = json!({"fail": {"status": 400, "code": "idempotency_error", "after": after}});
        opened_despite(reused, calls).await;
    }
}

/// The same with a cancellation: the hold's end asks again under a new key.
#[tokio::test]
async fn a_provider_that_says_500_at_a_cancellation_is_asked_under_a_new_key() {
    let house = house::plan().set(|settings| settings.orders.reservation_seconds = 1).open().await;
    house.fault("stripe.cancel", json!({"fail": {"status": 500}})).await;
    let bought = house.buy("cart-cancel").await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    assert_eq!(house.count("order_exceptions").await, 0);
    house.end().await;
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
