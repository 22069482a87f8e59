//! Orders that staff moves by hand: along the legal moves, from the version that they saw.

use orderfleet::auth::Role;
use orderfleet::config::Mismatch;
use serde_json::{Value, json};

use crate::house::{self, Bought, House};

/// A house where nothing goes on by itself, with a paid order in it.
async fn with_a_paid_order(cart: &str) -> (House, Bought) {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    let bought = house.buy(cart).await;
    house.pay(&bought).await;
    house.until_order(bought.order, "payment_confirmed").await;
    house.settled().await;
    (house, bought)
}

/// The version of an order.
async fn version(house: &House, bought: &Bought) -> i64 {
    let sql = format!("select version from orders where id = '{}'", bought.order.uuid());
    house.value(&sql).await.as_i64().unwrap()
}

#[tokio::test]
async fn staff_moves_an_order_from_the_version_that_they_saw() {
    let (house, bought) = with_a_paid_order("status-forward").await;
    let pia = house.key(Role::Processor, "pia").await;
    let seen = version(&house, &bought).await;
    let moved = house.put_status(&pia, bought.order, Some(seen), "processing").await;
    assert_eq!((moved.status, &moved.body["status"]), (200, &json!("processing")), "{}", moved.body);
    assert_eq!(moved.body["version"], version(&house, &bought).await);
    let stale = house.put_status(&pia, bought.order, Some(seen), "in_production").await;
    assert_eq!((stale.status, &stale.body["code"]), (412, &json!("version_mismatch")));
    assert_eq!(stale.body["version"], moved.body["version"]);
    let unread = house.put_status(&pia, bought.order, None, "in_production").await;
    assert_eq!((unread.status, &unread.body["code"]), (428, &json!("if_match_missing")));
    let by = house.value("select actor from order_events where to_status = 'processing'").await;
    assert!(by.as_str().unwrap().starts_with("processor:key_"), "{by}");
    house.end().await;
}

#[tokio::test]
async fn staff_moves_an_order_in_the_words_of_its_own_shop() {
    let (house, bought) = with_a_paid_order("status-words").await;
    let pia = house.key(Role::Processor, "pia").await;
    let seen = Some(version(&house, &bought).await);
    let unknown = house.put_status_in("shop", &pia, bought.order, (seen, "in_production")).await;
    assert_eq!(
        (unknown.status, &unknown.body["errors"][0]["field"]),
        (422, &json!("status")),
        "{}",
        unknown.body
    );
    assert_eq!(house.put_status_in("pirates", &pia, bought.order, (seen, "processing")).await.status, 422);
    let held = house.put_status_in("shop", &pia, bought.order, (seen, "on_hold")).await;
    assert_eq!(held.status, 422, "this shop has no word for it");
    let moved = house.put_status_in("shop", &pia, bought.order, (seen, "processing")).await;
    assert_eq!((moved.status, &moved.body["status"]), (200, &json!("processing")), "{}", moved.body);
    let now = house.value(&format!("select status from orders where id = '{}'", bought.order.uuid())).await;
    assert_eq!(now, "processing");
    let made = house.put_status_in(
        "workshop",
        &pia,
        bought.order,
        (moved.body["version"].as_i64(), "in_production"),
    );
    assert_eq!(made.await.body["status"], "in_production");
    house.end().await;
}

#[tokio::test]
async fn an_illegal_move_is_refused_with_the_legal_ones_of_the_role() {
    let (house, bought) = with_a_paid_order("status-illegal").await;
    let [pia, mia, viewer] = [
        house.key(Role::Processor, "pia").await,
        house.key(Role::Manager, "mia").await,
        house.key(Role::Viewer, "vic").await,
    ];
    let before = version(&house, &bought).await;
    let ask = async |who: &str, to: &str| house.put_status(who, bought.order, Some(before), to).await;
    let refused = ask(&pia, "delivered").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("illegal_transition")));
    assert_eq!(refused.body["legal"], json!(["confirmed", "processing", "on_hold", "exception"]));
    assert_eq!(refused.body["reason"], "payment_confirmed");
    for to in ["refunded", "cancelled", "pending_payment", "payment_confirmed"] {
        assert_eq!(ask(&mia, to).await.status, 409, "{to}");
    }
    assert_eq!(ask(&mia, "lost").await.status, 422);
    assert_eq!(ask(&viewer, "processing").await.status, 403);
    assert_eq!(version(&house, &bought).await, before);
    house.end().await;
}

#[tokio::test]
async fn an_order_on_hold_goes_on_where_it_stood_and_nowhere_else() {
    let (house, bought) = with_a_paid_order("status-hold").await;
    let pia = house.key(Role::Processor, "pia").await;
    let put = async |to: &str| {
        let seen = version(&house, &bought).await;
        house.put_status(&pia, bought.order, Some(seen), to).await
    };
    assert_eq!(put("processing").await.status, 200);
    assert_eq!(put("on_hold").await.status, 200);
    assert_eq!(put("packaging").await.body["legal"], json!(["processing", "exception"]));
    assert_eq!(put("exception").await.status, 200);
    assert_eq!(house.count("order_exceptions where state = 'open'").await, 1);
    assert_eq!(put("processing").await.status, 200);
    assert_eq!(house.count("order_exceptions where state = 'resolved'").await, 1);
    assert_eq!(put("packaging").await.status, 200);
    let bare = put("shipped").await;
    assert_eq!((bare.status, &bare.body["reason"]), (409, &json!("no_label")));
    house.end().await;
}

#[tokio::test]
async fn money_that_comes_while_an_order_is_on_hold_settles_and_waits_with_it() {
    let house = house::open().await;
    let bought = house.buy("status-money").await;
    let mia = house.key(Role::Manager, "mia").await;
    let seen = version(&house, &bought).await;
    assert_eq!(house.put_status(&mia, bought.order, Some(seen), "on_hold").await.status, 200);
    assert_eq!(house.value("select extensions from reservations").await, 1);
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    assert_eq!(
        house.rows("select status, resume_to from orders").await,
        [json!({"status": "on_hold", "resume_to": "payment_confirmed"})]
    );
    assert_eq!(house.count("reservations where state = 'committed'").await, 1);
    assert_eq!(house.count("labels").await, 0);
    let seen = version(&house, &bought).await;
    let resumed = house.put_status(&mia, bought.order, Some(seen), "payment_confirmed").await;
    assert_eq!((resumed.status, &resumed.body["status"]), (200, &json!("packaging")), "by policy it goes on");
    house.until_order(bought.order, "shipped").await;
    house.end().await;
}

#[tokio::test]
async fn the_label_of_an_order_that_waited_aside_is_bought_as_soon_as_it_goes_on() {
    let house = house::open().await;
    house.faults(json!([{"at": "easypost.create", "what": {"fail": {"status": 429}}}])).await;
    let bought = house.buy("status-label").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "packaging").await;
    let mia = house.key(Role::Manager, "mia").await;
    let put = async |to: &str| {
        let seen = version(&house, &bought).await;
        assert_eq!(house.put_status(&mia, bought.order, Some(seen), to).await.status, 200, "{to}");
    };
    put("on_hold").await;
    house.mend().await;
    // It waited for long: its job looks once in five minutes.
    house.until_count("jobs where kind = 'shipping-label' and run_at > now()", 1).await;
    let rarely = "update jobs set run_at = now() + interval '5 min' where kind = 'shipping-label'";
    house.execute(rarely).await.unwrap();
    put("packaging").await;
    house.until_order(bought.order, "shipped").await;
    house.end().await;
}

#[tokio::test]
async fn an_order_does_not_go_back_to_await_money_while_other_money_of_it_is_here() {
    let house = house::plan().set(|settings| settings.orders.mismatch = Mismatch::Hold).open().await;
    let bought = house.buy("status-unsettled").await;
    let event = json!({"id": "evt_less", "type": "payment_intent.succeeded", "data": {"object": {
        "id": bought.payment, "status": "succeeded", "amount": 1, "amount_received": 1, "currency": "usd"}}});
    house.deliver(&house::signed(&event)).await;
    house.until_order(bought.order, "exception").await;
    house.settled().await;
    let mia = house.key(Role::Manager, "mia").await;
    let seen = version(&house, &bought).await;
    let refused = house.put_status(&mia, bought.order, Some(seen), "pending_payment").await;
    assert_eq!((refused.status, &refused.body["reason"]), (409, &json!("money_unsettled")));
    assert_eq!(refused.body["legal"], Value::Null);
    house.end_with_forged().await;
}

#[tokio::test]
async fn a_vendor_moves_forward_what_it_makes_alone_and_nothing_else() {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    house.execute("update skus set vendor = 'tailor' where sku = 'SHIRT'").await.unwrap();
    let mut both = house::wish("vendor-both", "SUIT", 1);
    both["lines"] = json!([{"sku": "SUIT", "quantity": 1}, {"sku": "SHIRT", "quantity": 1}]);
    let (shirt, suit) =
        (house.buy_as(&house::wish("vendor-shirt", "SHIRT", 1)).await, house.buy("vendor-suit").await);
    let both = house.buy_as(&both).await;
    for bought in [&shirt, &suit, &both] {
        house.pay(bought).await;
        house.until_order(bought.order, "payment_confirmed").await;
    }
    house.settled().await;
    let [tailor, hatter] = [house.key(Role::Vendor, "tailor").await, house.key(Role::Vendor, "hatter").await];
    let put = async |who: &str, bought: &Bought, to: &str| {
        house.put_status(who, bought.order, Some(version(&house, bought).await), to).await
    };
    for (who, bought) in [(&tailor, &suit), (&hatter, &shirt)] {
        let hidden = put(who, bought, "confirmed").await;
        assert_eq!((hidden.status, &hidden.body["code"]), (404, &json!("unknown_order")));
    }
    let shared = put(&tailor, &both, "confirmed").await;
    assert_eq!((shared.status, &shared.body["reason"]), (403, &json!("not_theirs")), "{}", shared.body);
    let aside = put(&tailor, &shirt, "on_hold").await;
    assert_eq!((aside.status, &aside.body["legal"]), (409, &json!(["confirmed", "processing"])));
    for to in ["confirmed", "processing"] {
        let moved = put(&tailor, &shirt, to).await;
        assert_eq!((moved.status, &moved.body["status"]), (200, &json!(to)), "{}", moved.body);
    }
    assert_eq!(put(&tailor, &shirt, "packaging").await.status, 409, "what follows is the house's");
    let by = house.value("select actor from order_events where to_status = 'confirmed'").await;
    assert!(by.as_str().unwrap().starts_with("vendor:key_"), "{by}");
    for what in ["cancel", "refunds"] {
        assert_eq!(house.ask(&tailor, shirt.order, (what, "k"), &json!({})).await.status, 403, "{what}");
    }
    house.end().await;
}
