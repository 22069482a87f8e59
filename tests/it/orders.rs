//! Whole orders, from the wish to the parcel, and wishes that come twice.

use orderfleet::config::Settings;
use orderfleet::ids::IntentId;
use orderfleet::store::stock;
use serde_json::json;

use crate::house::{self, House, abroad, wish};

/// What an order's timeline says of one subject, in order.
async fn told(house: &House, order: orderfleet::ids::OrderId, about: &str) -> Vec<String> {
    let timeline = house.timeline(order).await;
    timeline.moments.into_iter().filter(|moment| moment.about == about).map(|moment| moment.what).collect()
}

#[tokio::test]
async fn an_order_goes_from_the_wish_to_both_mails_and_its_timeline_tells_all() {
    let house = house::open().await;
    let bought = house.buy("cart-1").await;
    assert_eq!(bought.total, 12_900 + 900);
    house.pay(&bought).await;
    let paid = house.until(bought.intent, "paid").await;
    assert_eq!(paid["success"], true);
    assert_eq!(paid["client_secret"], json!(null), "nothing is left to pay");
    house.until_order(bought.order, "shipped").await;
    house.settled().await;

    let statuses = told(&house, bought.order, "order").await;
    let way = ["pending_payment", "payment_confirmed", "processing", "packaging", "fulfilled", "shipped"];
    assert_eq!(statuses.len(), way.len(), "{statuses:#?}");
    for (said, status) in statuses.iter().zip(way) {
        assert!(said.contains(&format!("{status}  (")), "{statuses:#?}");
    }
    let stock = told(&house, bought.order, "stock").await;
    assert!(stock[0].starts_with("held 1 × SUIT") && stock[1] == "committed 1 × SUIT", "{stock:?}");
    let payment = told(&house, bought.order, "payment").await;
    assert_eq!(payment[1], "captured (primary)");
    let parcel = told(&house, bought.order, "parcel").await;
    assert!(parcel[0].starts_with("label bought"), "{parcel:?}");
    let mails = told(&house, bought.order, "mail").await;
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(house.timeline(bought.order).await.open.iter().all(|open| open.contains("reservation-expiry")));
    let subjects: Vec<_> = house.truth("mails").await.iter().map(|mail| mail["to"].clone()).collect();
    assert_eq!(subjects, [json!(["cart-1@example.com"]), json!(["cart-1@example.com"])]);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 999 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn an_order_from_nepal_in_rupees_gets_its_customs_form() {
    let house = house::open().await;
    let bought = house.buy_as(&abroad("cart-np", "SUIT", 2)).await;
    let goods = 2 * 12_900 * 134;
    assert_eq!(bought.total, goods + 45_000 + goods * 13 / 100, "goods, shipping and 13 % tax");
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    let payment = &house.truth("payments").await[0];
    assert_eq!((&payment["currency"], &payment["amount_received"]), (&json!("npr"), &json!(bought.total)));
    let form = house.value("select request -> 'customs' from effects where name like 'label:%:create'").await;
    assert_eq!(form["items"].as_array().map(Vec::len), Some(1), "{form}");
    house.end().await;
}

#[tokio::test]
async fn an_order_that_costs_nothing_is_paid_at_once() {
    let house = house::plan().stock(&[("GIFT", 3)]).open().await;
    house.execute("insert into shipping_rates values ('free', '*', 'USD', 0, 30)").await.unwrap();
    let mut body = wish("cart-gift", "GIFT", 1);
    body["shipping_method"] = json!("free");
    let answer = loop {
        let answer = house.place(&body, "gift", true).await;
        // The door learns of a new method with its next look.
        if answer.body["code"] != "invalid_request" && answer.status != 422 {
            break answer.body;
        }
    };
    assert_eq!((&answer["status"], &answer["amount_cents"]), (&json!("paid"), &json!(0)), "{answer}");
    house.until_order(answer["order_id"].as_str().unwrap().parse().unwrap(), "shipped").await;
    assert!(house.truth("payments").await.is_empty());
    house.end().await;
}

#[tokio::test]
async fn n01_the_same_key_fifty_times_at_once_is_one_order() {
    let house = house::open().await;
    let body = wish("cart-n01", "SUIT", 1);
    let answers = futures::future::join_all((0..50).map(|_| house.place(&body, "n01", false))).await;
    let fresh = answers.iter().filter(|answer| !answer.is_replay).count();
    assert_eq!(fresh, 1);
    assert!(answers.iter().all(|answer| answer.body["intent_id"] == answers[0].body["intent_id"]));
    assert_eq!(answers.iter().filter(|answer| answer.status == 202 && !answer.is_replay).count(), 1);
    house.until(answers[0].body["intent_id"].as_str().unwrap().parse().unwrap(), "reserved").await;
    house.settled().await;
    assert_eq!((house.count("order_intents").await, house.count("orders").await), (1, 1));
    house.end().await;
}

#[tokio::test]
async fn n02_a_key_with_another_wish_is_refused() {
    let house = house::open().await;
    house.place(&wish("cart-n02", "SUIT", 1), "n02", true).await;
    let other = house.place(&wish("cart-n02", "SUIT", 2), "n02", true).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(house.count("orders").await, 1);
    house.end().await;
}

#[tokio::test]
async fn n03_an_answer_that_nobody_heard_is_heard_by_repeating() {
    let house = house::open().await;
    let body = wish("cart-n03", "SUIT", 1);
    house.place_and_hang_up(&body, "n03").await;
    house.until_count("order_intents", 1).await;
    let heard = house.place(&body, "n03", true).await;
    assert!(heard.is_replay, "{}", heard.body);
    assert_eq!(
        house::bought(&heard.body).intent.uuid().to_string(),
        house.value("select id from order_intents").await
    );
    assert_eq!(house.count("orders").await, 1);
    house.end().await;
}

#[tokio::test]
async fn n07_a_cart_that_changes_after_the_wish_changes_nothing_that_was_bought() {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    let bought = house.buy_as(&wish("cart-n07", "SUIT", 1)).await;
    house.execute("update prices set unit_minor = 99900 where sku = 'SUIT'").await.unwrap();
    let changed = wish("cart-n07", "SUIT", 3);
    let second = house.place(&changed, "n07-changed", true).await;
    assert_eq!(second.body["status"], "rejected", "one open order of a cart: {}", second.body);
    house.pay(&bought).await;
    house.until_order(bought.order, "payment_confirmed").await;
    let of_order = format!("from orders where id = '{}'", bought.order.uuid());
    assert_eq!(house.value(&format!("select captured_minor {of_order}")).await, bought.total);
    assert_eq!(house.value(&format!("select total_minor {of_order}")).await, bought.total);
    // The cart as it is now is another purchase, at the prices of now.
    let third = house::bought(&house.place(&changed, "n07-again", true).await.body);
    assert_eq!(third.total, 3 * 99_900 + 900);
    assert_eq!(house.count("order_items where quantity = 1 and unit_minor = 12900").await, 1);
    house.end().await;
}

#[tokio::test]
async fn n06_two_tabs_with_one_cart_are_one_order() {
    let house = house::open().await;
    let body = wish("cart-n06", "SUIT", 1);
    let (one, two) = tokio::join!(house.place(&body, "tab-1", true), house.place(&body, "tab-2", true));
    let (won, lost) = if one.body["status"] == "reserved" { (one, two) } else { (two, one) };
    assert_eq!(won.body["status"], "reserved");
    assert_eq!((&lost.body["status"], &lost.body["error"]), (&json!("rejected"), &json!("duplicate_of")));
    let told = lost.body["details"].to_string();
    assert!(told.contains(won.body["intent_id"].as_str().unwrap()), "{told}");
    assert_eq!(house.count("orders").await, 1);
    house.end().await;
}

/// Two slices of intents at a time, and a transaction that may stand for as long as a busy machine takes.
fn two_slices(settings: &mut Settings) {
    settings.lanes.values_mut().for_each(|lane| lane.concurrency = 2);
    settings.postgres.idle_in_transaction_timeout_ms = 60_000;
}

#[tokio::test]
async fn a_cart_that_was_ordered_while_its_other_wish_waited_for_stock_is_read_again() {
    let house = house::plan().set(two_slices).open().await;
    let mut tx = house.store.begin().await.unwrap();
    stock::lock(&mut tx, &["SUIT".to_owned()].into()).await.unwrap();
    let waits = wish("cart-met", "SUIT", 1);
    let placed = house.place(&waits, "waits", false).await;
    let slow: IntentId = placed.body["intent_id"].as_str().unwrap().parse().unwrap();
    let waiting = "pg_stat_activity where wait_event_type = 'Lock' and query like '%stock::lock%'";
    house.until_count(waiting, 1).await;
    let faster = house.place(&wish("cart-met", "SHIRT", 1), "faster", true).await;
    assert_eq!(faster.body["status"], "reserved");
    tx.rollback().await.unwrap();
    let told = house.until(slow, "rejected").await;
    assert_eq!(told["error"], "duplicate_of");
    house.settled().await;
    assert_eq!(house.count("orders").await, 1);
    assert_eq!(house.count("attempts").await, 0, "nobody's data was refused");
    house.end().await;
}

/// Notes the band of every job row.
const NOTE_BANDS: &str = "
    create table bands (kind text, band smallint);
    create function note_band() returns trigger language plpgsql as $$
    begin insert into bands values (new.kind, new.band); return new; end $$;
    create trigger note_band after insert on jobs for each row execute function note_band()";

#[tokio::test]
async fn what_an_urgent_order_needs_is_urgent_to_its_end() {
    let house = house::open().await;
    house.execute(NOTE_BANDS).await.unwrap();
    let mut rush = wish("rush", "SUIT", 1);
    rush["priority"] = json!("rush");
    let bought = house.buy_as(&rush).await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    let kinds = "('payment-open', 'reservation-expiry', 'shipping-label', 'email')";
    let bands = house
        .rows(&format!("select kind, band from bands where kind in {kinds} group by 1, 2 order by 1"))
        .await;
    let band = |kind: &str| json!({"kind": kind, "band": 0});
    assert_eq!(bands, ["email", "payment-open", "reservation-expiry", "shipping-label"].map(band));
    house.end().await;
}
