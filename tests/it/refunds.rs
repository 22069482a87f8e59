//! Money that goes back: asked for by staff, once for each wish, never more than came.

use std::collections::BTreeSet;

use orderfleet::auth::Role;
use serde_json::{Value, json};

use crate::house::{self, Bought, House, signed};

/// A paid order that stays where it is, and a manager.
async fn paid(house: &House, cart: &str) -> (Bought, String) {
    let bought = house.buy(cart).await;
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    (bought, house.key(Role::Manager, "mia").await)
}

/// A house where nothing is sent by itself.
async fn open() -> House {
    house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await
}

/// What went back of an order, and what is set aside on its payments, in minor units.
async fn counted(house: &House) -> (Value, Value) {
    let back = house.value("select refunded_minor from orders").await;
    (back, house.value("select sum(refund_reserved_minor) from payments").await)
}

#[tokio::test]
async fn f01_of_two_refunds_that_together_are_too_much_one_is_refused() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f01").await;
    let part = json!({"amount": bought.total - 4_000});
    let (one, other) = tokio::join!(
        house.ask(&mia, bought.order, ("refunds", "one"), &part),
        house.ask(&mia, bought.order, ("refunds", "other"), &part)
    );
    let mut answers = [&one, &other];
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(answers.map(|answer| answer.status), [202, 409], "{one:?} {other:?}");
    let refused = &answers[1].body;
    assert_eq!((&refused["code"], &refused["left"]), (&json!("refund_exceeds_captured"), &json!(4_000)));
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    let back = json!(bought.total - 4_000);
    assert_eq!(counted(&house).await, (back.clone(), back));
    assert_eq!(house.timeline(bought.order).await.status, "payment_confirmed", "a part went back");
    house.end().await;
}

#[tokio::test]
async fn f02_an_answer_that_was_lost_is_looked_up_and_nothing_is_asked_for_twice() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f02").await;
    house.post.keep();
    house.fault("stripe.refund", json!("drop_after")).await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status, 202);
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    assert_eq!(house.truth("refunds").await.len(), 1);
    assert_eq!(house.calls("POST", "/v1/refunds").await, 1);
    assert_eq!(counted(&house).await, (json!(300), json!(300)));
    house.end().await;
}

#[tokio::test]
async fn f03_what_provably_never_arrived_is_asked_for_again_under_the_same_key() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f03").await;
    house.fault("stripe.refund", json!("drop_before")).await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status, 202);
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    assert_eq!(house.truth("refunds").await.len(), 1);
    assert_eq!((house.calls("POST", "/v1/refunds").await, keys(&house).await.len()), (2, 1));
    assert!(house.calls("GET", "/v1/refunds").await >= 1, "it was looked for first");
    house.end().await;
}

/// The keys under which money was asked back.
async fn keys(house: &House) -> BTreeSet<String> {
    let asked = house.truth("requests").await;
    let refunds = asked.iter().filter(|asked| asked["method"] == "POST" && asked["path"] == "/v1/refunds");
    refunds.map(|asked| asked["idempotency_key"].to_string()).collect()
}

/// A failure that the provider keeps under the key would be told for ever.
#[tokio::test]
async fn f03_a_failure_that_is_kept_under_the_key_gets_a_new_one_once_nothing_is_there() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f03-kept").await;
    house.fault("stripe.refund", json!({"fail": {"status": 500}})).await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({})).await.status, 202);
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.until_order(bought.order, "refunded").await;
    house.settled().await;
    assert_eq!(house.truth("refunds").await.len(), 1);
    house.end().await;
}

/// What was done under the key is not known. It is looked for, and no other key is ever taken: that could pay twice.
#[tokio::test]
async fn f03_a_key_that_came_with_other_words_before_gives_the_money_back_once() {
    for (after, calls) in [(false, 2), (true, 1)] {
        let house = open().await;
        let (bought, mia) = paid(&house, "cart-f03-reused").await;
        house.post.keep();
        let reused = json!({"status": 400, "code": "idempotency_error", "after": after});
        house.fault("stripe.refund", json!({"fail": reused})).await;
        assert_eq!(
            house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status,
            202
        );
        house.until_refunds(bought.order, &["succeeded"]).await;
        house.settled().await;
        assert_eq!(house.truth("refunds").await.len(), 1);
        assert_eq!(house.calls("POST", "/v1/refunds").await, calls);
        assert_eq!(keys(&house).await.len(), 1, "one key");
        assert_eq!(counted(&house).await, (json!(300), json!(300)));
        house.end().await;
    }
}

/// By then the provider has forgotten the key, so that a second request would be a second refund.
#[tokio::test]
async fn f03_a_refund_whose_answer_was_lost_is_adopted_a_day_later_and_never_sent_again() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f03-day").await;
    house.post.keep();
    // It is given, and neither its answer nor a look comes through.
    house.faults(json!([{"at": "stripe.refund", "what": {"fail": {"status": 503, "after": true}}}])).await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status, 202);
    house.until_count("effects where name like 'refund:%' and state = 'unknown'", 1).await;
    house.until_calls("GET", "/v1/refunds", 1).await;
    let ago = "interval '25 hours'";
    let a_day_later = format!(
        "update effects set created_at = created_at - {ago} where name like 'refund:%';
         update refunds set created_at = created_at - {ago};
         update jobs set due_at = due_at - {ago} where kind = 'refund'"
    );
    house.execute(&a_day_later).await.unwrap();
    house.mend().await;
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    assert_eq!((house.truth("refunds").await.len(), house.calls("POST", "/v1/refunds").await), (1, 1));
    assert_eq!(counted(&house).await, (json!(300), json!(300)));
    house.end().await;
}

#[tokio::test]
async fn f04_two_wishes_of_one_amount_are_two_refunds() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f04").await;
    for key in ["first", "second"] {
        let asked = house.ask(&mia, bought.order, ("refunds", key), &json!({"amount": 500})).await;
        assert_eq!((asked.status, asked.is_replay), (202, false), "{asked:?}");
    }
    house.until_refunds(bought.order, &["succeeded", "succeeded"]).await;
    house.settled().await;
    assert_eq!(house.truth("refunds").await.len(), 2);
    assert_eq!(counted(&house).await, (json!(1_000), json!(1_000)));
    assert_eq!(house.count("communications where kind = 'refund_confirmation' and state = 'sent'").await, 2);
    house.end().await;
}

#[tokio::test]
async fn f05_one_wish_sent_many_times_is_one_refund() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f05").await;
    let wish = json!({"amount": 500, "reason": "a button was missing"});
    let answers =
        futures::future::join_all((0..8).map(|_| house.ask(&mia, bought.order, ("refunds", "k"), &wish)))
            .await;
    let ids: BTreeSet<String> = answers.iter().map(|answer| answer.body["refund_id"].to_string()).collect();
    assert!(answers.iter().all(|answer| answer.status == 202) && ids.len() == 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| !answer.is_replay).count(), 1);
    let other = house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 501})).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_key_reused")));
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    assert_eq!(house.truth("refunds").await.len(), 1);
    house.end().await;
}

#[tokio::test]
async fn m02_three_thirds_are_the_whole_and_the_order_is_refunded() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-m02").await;
    let third = bought.total / 3 + 1;
    for (key, part) in [("1", third), ("2", third), ("3", bought.total - 2 * third)] {
        let asked = house.ask(&mia, bought.order, ("refunds", key), &json!({"amount": part})).await;
        assert_eq!(asked.status, 202, "{asked:?}");
    }
    house.until_order(bought.order, "refunded").await;
    house.settled().await;
    assert_eq!(counted(&house).await, (json!(bought.total), json!(bought.total)));
    for (key, body) in [("4", json!({"amount": 1})), ("5", json!({}))] {
        let more = house.ask(&mia, bought.order, ("refunds", key), &body).await;
        assert_eq!((more.status, &more.body["left"]), (409, &json!(0)), "{more:?}");
    }
    house.end().await;
}

/// The provider's id of the only refund.
async fn only_refund(house: &House) -> String {
    for _ in 0..400 {
        if let [refund] = house.truth("refunds").await.as_slice() {
            return refund["id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(house::LOOK).await;
    }
    panic!("not one refund: {:?}", house.truth("refunds").await);
}

#[tokio::test]
async fn f06_refunds_made_at_the_provider_are_counted_each_by_its_id_whatever_the_sums_say() {
    let house = open().await;
    let (bought, _) = paid(&house, "cart-f06").await;
    house.post.keep();
    for amount in [200, 300] {
        house.stripe("refunds", &format!("payment_intent={}&amount={amount}", bought.payment)).await;
    }
    house.letter("charge.refunded", "\"amount_refunded\":200").await;
    let last = house.letter("charge.refunded", "\"amount_refunded\":500").await;
    house.deliver(&last).await;
    house.until_refunds(bought.order, &["succeeded", "succeeded"]).await;
    for letter in house.post.letters().iter().rev().filter(|letter| letter.kind().contains("refund")) {
        house.deliver(letter).await;
    }
    house.settled().await;
    assert_eq!(counted(&house).await, (json!(500), json!(500)));
    let made = house.rows("select origin, amount_minor from refunds order by amount_minor").await;
    let external = |minor: i64| json!({"origin": "external", "amount_minor": minor});
    assert_eq!(made, [external(200), external(300)]);
    house.end().await;
}

#[tokio::test]
async fn f07_a_webhook_that_is_faster_than_our_own_answer_tells_of_the_same_refund() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f07").await;
    house.fault("stripe.refund", json!({"delay": {"ms": 1_500, "after": true}})).await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status, 202);
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    assert_eq!(house.count("refunds").await, 1);
    assert_eq!(house.count("communications where kind = 'refund_confirmation'").await, 1);
    assert_eq!(counted(&house).await, (json!(300), json!(300)));
    house.end().await;
}

/// Whoever asked was never told: the word of the bank is the receipt, even where it ends the refund's own job.
#[tokio::test]
async fn f07_an_answer_that_never_comes_is_what_the_bank_tells() {
    let house = house::plan()
        .set(|settings| settings.orders.auto_fulfil = false)
        .set(|settings| settings.stripe.timeout_ms = 600)
        .open()
        .await;
    let bought = house.buy("cart-f07-silent").await;
    assert_eq!(house.pay_with(&bought, "pm_card_pendingRefund").await, 200);
    house.until(bought.intent, "paid").await;
    let mia = house.key(Role::Manager, "mia").await;
    house.fault("stripe.refund", json!({"delay": {"ms": 2_500, "after": true}})).await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status, 202);
    house.until_refunds(bought.order, &["pending"]).await;
    house.bank_says(&only_refund(&house).await, "succeeded").await;
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    assert_eq!(house.value("select state from effects where name like 'refund:%'").await, "done");
    house.end().await;
}

#[tokio::test]
async fn f08_an_event_that_names_no_amount_is_no_full_refund() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-f08").await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status, 202);
    house.until_refunds(bought.order, &["succeeded"]).await;
    let id = only_refund(&house).await;
    let bare = json!({"id": "evt_f08", "type": "refund.updated", "data": {"object": {"id": id, "object": "refund"}}});
    house.deliver(&signed(&bare)).await;
    house.settled().await;
    assert_eq!(counted(&house).await, (json!(300), json!(300)));
    assert_eq!(house.value("select state from inbox where event_id = 'evt_f08'").await, "applied");
    house.end().await;
}

#[tokio::test]
async fn f09_a_refund_that_the_bank_refuses_days_later_leaves_the_money_with_us_and_is_shown() {
    for card in ["pm_card_pendingRefund", "pm_card_visa"] {
        let house = open().await;
        let bought = house.buy("cart-f09").await;
        assert_eq!(house.pay_with(&bought, card).await, 200);
        house.until(bought.intent, "paid").await;
        let mia = house.key(Role::Manager, "mia").await;
        assert_eq!(
            house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status,
            202
        );
        let first = if card == "pm_card_visa" { "succeeded" } else { "pending" };
        house.until_refunds(bought.order, &[first]).await;
        house.bank_says(&only_refund(&house).await, "failed").await;
        house.until_refunds(bought.order, &["failed"]).await;
        house.settled().await;
        assert_eq!(counted(&house).await, (json!(0), json!(0)));
        assert_eq!(house.count("order_exceptions where type = 'refund_failed' and state = 'open'").await, 1);
        assert_eq!(house.timeline(bought.order).await.status, "payment_confirmed");
        house.end().await;
    }
}

/// Some banks have to be told by the customer where it shall go, and some of those refunds are called off.
#[tokio::test]
async fn f09_a_refund_that_is_called_off_before_it_went_leaves_the_money_with_us_and_is_shown() {
    let house = open().await;
    let bought = house.buy("cart-f09-off").await;
    assert_eq!(house.pay_with(&bought, "pm_card_pendingRefund").await, 200);
    house.until(bought.intent, "paid").await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({"amount": 300})).await.status, 202);
    house.until_refunds(bought.order, &["pending"]).await;
    let refund = only_refund(&house).await;
    house.bank_says(&refund, "requires_action").await;
    house.settled().await;
    house.until_refunds(bought.order, &["pending"]).await;
    assert_eq!(counted(&house).await, (json!(0), json!(300)), "it may still go");
    house.bank_says(&refund, "canceled").await;
    house.until_refunds(bought.order, &["cancelled"]).await;
    house.settled().await;
    assert_eq!(counted(&house).await, (json!(0), json!(0)));
    assert_eq!(house.count("order_exceptions where type = 'refund_failed' and state = 'open'").await, 1);
    house.end().await;
}

#[tokio::test]
async fn a_refund_is_done_when_the_bank_says_so() {
    let house = open().await;
    let bought = house.buy("cart-pending").await;
    assert_eq!(house.pay_with(&bought, "pm_card_pendingRefund").await, 200);
    house.until(bought.intent, "paid").await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({})).await.status, 202);
    house.until_refunds(bought.order, &["pending"]).await;
    house.settled().await;
    assert_eq!(counted(&house).await, (json!(0), json!(bought.total)));
    assert_eq!(house.count("communications where kind = 'refund_confirmation'").await, 0);
    house.bank_says(&only_refund(&house).await, "succeeded").await;
    house.until_order(bought.order, "refunded").await;
    house.settled().await;
    assert_eq!(house.count("jobs where kind = 'refund'").await, 0, "nothing is left to look at");
    house.end().await;
}

#[tokio::test]
async fn only_managers_give_money_back_and_only_what_can_be_said() {
    let house = open().await;
    let (bought, mia) = paid(&house, "cart-roles").await;
    for role in [Role::Service, Role::Viewer, Role::Processor] {
        let key = house.key(role, "somebody").await;
        let refused = house.ask(&key, bought.order, ("refunds", "k"), &json!({})).await;
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("forbidden")), "{role}");
    }
    let stranger = orderfleet::ids::OrderId::new();
    assert_eq!(house.ask(&mia, stranger, ("refunds", "k"), &json!({})).await.body["code"], "unknown_order");
    let no_key = house.ask(&mia, bought.order, ("refunds", ""), &json!({})).await;
    assert_eq!(no_key.body["code"], "idempotency_key_missing");
    for body in [json!({"amount": 0}), json!({"amount": "7"}), json!({"all": true}), json!([])] {
        let faulty = house.ask(&mia, bought.order, ("refunds", "k"), &body).await;
        assert_eq!((faulty.status, &faulty.body["code"]), (422, &json!("invalid_body")), "{body}");
    }
    assert_eq!(house.count("refunds").await, 0);
    house.end().await;
}
