//! Orders that are called off: pieces, labels and money go back, each once.

use orderfleet::auth::Role;
use serde_json::{Value, json};

use crate::house::{self, Bought, House, LOOK, wish};

/// Paid, and no word of a carrier comes through: its label is bought, and its parcel stays in the house.
async fn labelled(house: &House, cart: &str) -> Bought {
    labelled_as(house, &wish(cart, "SUIT", 1)).await
}

async fn labelled_as(house: &House, wish: &Value) -> Bought {
    let bought = house.buy_as(wish).await;
    pay_in_silence(house, &bought).await;
    house.until_order(bought.order, "fulfilled").await;
    bought
}

async fn pay_in_silence(house: &House, bought: &Bought) {
    house.post.keep();
    house.pay(bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.deliver(&letter).await;
}

async fn cancel(house: &House, who: &str, bought: &Bought) -> (u16, Value) {
    let answer = house.ask(who, bought.order, ("cancel", ""), &json!({})).await;
    let said = if answer.status == 202 { "status" } else { "reason" };
    (answer.status, answer.body[said].clone())
}

/// All of it went back, once: the pieces, the money, the label, and one mail for each.
async fn is_undone(house: &House, bought: &Bought) {
    house.until_order(bought.order, "refunded").await;
    house.settled().await;
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    assert_eq!(house.count("stock_movements where kind = 'restock'").await, 1);
    let refunds = house.rows("select origin, state, amount_minor from refunds").await;
    assert_eq!(refunds, [json!({"origin": "cancel", "state": "succeeded", "amount_minor": bought.total})]);
    let mails = house.rows("select kind from communications where state = 'sent' order by kind").await;
    let kinds: Vec<&str> = mails.iter().filter_map(|mail| mail["kind"].as_str()).collect();
    assert_eq!(kinds, ["cancellation", "order_confirmation", "refund_confirmation"]);
    assert_eq!(house.state(bought.intent).await["status"], "cancelled");
}

#[tokio::test]
async fn f12_a_paid_order_is_called_off_once_however_often_it_is_asked() {
    let house = house::open().await;
    let bought = labelled(&house, "cart-f12").await;
    let mia = house.key(Role::Manager, "mia").await;
    let both = tokio::join!(cancel(&house, &mia, &bought), cancel(&house, &mia, &bought));
    // One that had to wait may find that its money is back already.
    for (status, state) in <[_; 2]>::from(both) {
        assert!(status == 202 && (state == "cancelled" || state == "refunded"), "{status} {state}");
    }
    is_undone(&house, &bought).await;
    assert_eq!(cancel(&house, &mia, &bought).await, (202, json!("refunded")));
    assert_eq!(house.value("select void_state from labels").await, "voided");
    assert_eq!(house.calls("POST", "/refund").await, 1);
    let event = house.value("select actor from order_events where to_status = 'cancelled'").await;
    assert!(event.as_str().unwrap().starts_with("manager:key_"), "{event}");
    assert_eq!(house.value("select cancel_reason from orders").await, "admin");
    house.end().await;
}

/// Some labels are paid for only where they are scanned; of others the carrier keeps the money, which is shown to a person.
#[tokio::test]
async fn f12_a_label_ends_as_its_carrier_says_and_one_that_is_not_taken_back_is_shown() {
    for (street, state, shown) in
        [("3 Paid When Scanned St", "voided", 0), ("2 No Refund St", "void_rejected", 1)]
    {
        let house = house::open().await;
        let mut wish = wish("cart-f12-carrier", "SUIT", 1);
        wish["shipping_address"]["address_line1"] = json!(street);
        let bought = labelled_as(&house, &wish).await;
        let mia = house.key(Role::Manager, "mia").await;
        assert_eq!(cancel(&house, &mia, &bought).await.0, 202);
        house.until_count(&format!("labels where void_state = '{state}'"), 1).await;
        is_undone(&house, &bought).await;
        let open = "order_exceptions where type = 'label_not_voided' and state = 'open'";
        assert_eq!(house.count(open).await, shown, "{street}");
        house.end().await;
    }
}

#[tokio::test]
async fn f12_a_shipped_order_is_not_called_off() {
    let house = house::open().await;
    let bought = house.buy("cart-f12-shipped").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(cancel(&house, &mia, &bought).await, (409, json!("shipped")));
    assert_eq!(house.count("refunds").await, 0);
    house.end().await;
}

#[tokio::test]
async fn f11_a_label_that_is_bought_while_its_order_is_called_off_goes_back() {
    let house = house::open().await;
    let bought = house.buy("cart-f11").await;
    let mia = house.key(Role::Manager, "mia").await;
    house.fault("easypost.buy", json!({"delay": {"ms": 2_000}})).await;
    pay_in_silence(&house, &bought).await;
    for _ in 0..400 {
        if house.count("effects where name like 'label:%:buy' and state = 'in_flight'").await == 1 {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    assert_eq!(cancel(&house, &mia, &bought).await, (202, json!("cancelled")));
    assert_eq!(house.count("labels").await, 0, "it is not bought yet");
    is_undone(&house, &bought).await;
    assert_eq!(house.value("select void_state from labels").await, "voided");
    assert_eq!(house.truth("labels").await.len(), 1);
    house.end().await;
}

#[tokio::test]
async fn f10_an_order_whose_payment_is_open_is_called_off_once_that_is_cancelled() {
    let house = house::open().await;
    let bought = house.buy("cart-f10").await;
    let mia = house.key(Role::Manager, "mia").await;
    house.fault("stripe.cancel", json!({"delay": {"ms": 1_000}})).await;
    for _ in 0..2 {
        assert_eq!(cancel(&house, &mia, &bought).await, (202, json!("cancel_requested")));
    }
    house.until(bought.intent, "cancelled").await;
    house.settled().await;
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    assert_eq!(house.count("refunds").await, 0);
    assert_eq!(house.count("communications where kind = 'cancellation' and state = 'sent'").await, 1);
    house.end().await;
}

/// Nobody has taken the money yet: it is let go, and nothing has to go back.
#[tokio::test]
async fn f10_an_authorised_payment_is_let_go_and_no_refund_is_asked_for() {
    let house = house::open().await;
    let bought = house.buy("cart-f10-authorised").await;
    let mia = house.key(Role::Manager, "mia").await;
    house.post.keep();
    house.becomes(&bought.payment, "authorised").await;
    house.letter("payment_intent.amount_capturable_updated", &bought.payment).await;
    assert_eq!(cancel(&house, &mia, &bought).await, (202, json!("cancel_requested")));
    house.until(bought.intent, "cancelled").await;
    house.post.pass_on();
    for letter in house.post.letters() {
        house.deliver(&letter).await;
    }
    house.settled().await;
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    assert_eq!((house.calls("POST", "/v1/refunds").await, house.calls("POST", "/capture").await), (0, 0));
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn money_that_was_faster_than_the_cancellation_goes_back() {
    let house = house::open().await;
    let bought = house.buy("cart-faster").await;
    let mia = house.key(Role::Manager, "mia").await;
    house.post.keep();
    house.pay(&bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    assert_eq!(cancel(&house, &mia, &bought).await, (202, json!("cancel_requested")));
    house.until_order(bought.order, "refunded").await;
    house.deliver(&letter).await;
    house.settled().await;
    assert_eq!(house.count("refunds where origin = 'cancel' and state = 'succeeded'").await, 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 0);
    assert_eq!(house.count("labels").await, 0);
    house.end().await;
}

#[tokio::test]
async fn a_customer_calls_off_their_own_order_while_nobody_works_on_it() {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    let bought = house.buy("cart-own").await;
    let own = house.key(Role::Customer, "cus-cart-own").await;
    let other = house.key(Role::Customer, "cus-cart-other").await;
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    assert_eq!(house.ask(&other, bought.order, ("cancel", ""), &json!({})).await.status, 404);
    assert_eq!(cancel(&house, &own, &bought).await, (202, json!("cancelled")));
    is_undone(&house, &bought).await;
    assert_eq!(house.value("select cancel_reason from orders").await, "customer");

    let worked_on = house.buy("cart-work").await;
    let own = house.key(Role::Customer, "cus-cart-work").await;
    house.pay(&worked_on).await;
    house.until(worked_on.intent, "paid").await;
    let begin = format!(
        "update orders set status = 'processing', actor = 'test', cause = 'test' where id = '{}'",
        worked_on.order.uuid()
    );
    house.execute(&begin).await.unwrap();
    assert_eq!(cancel(&house, &own, &worked_on).await, (409, json!("processing")));
    house.end().await;
}
