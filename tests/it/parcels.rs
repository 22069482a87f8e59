//! Orders that no single box carries: several parcels, each with its label, and one order that follows them all.

use orderfleet::auth::Role;
use orderfleet::ops::dead_letters as letters;
use orderfleet::store::dead_letters::Selection;
use serde_json::{Value, json};

use crate::house::{self, Bought, House, wish};

/// Forty suits fill the largest box.
const SUITS: i64 = 70;

/// The job of an order's second parcel is not due before it is called.
const SECOND_WAITS: &str = "
    create function second_waits() returns trigger language plpgsql as $$
    begin new.run_at = now() + interval '1 hour'; return new; end $$;
    create trigger second_waits before insert on jobs for each row
      when (new.kind = 'shipping-label' and new.payload ->> 'parcel' = '2') execute function second_waits()";

/// A paid order of two parcels, of which no carrier tells anything by itself.
async fn paid(house: &House, cart: &str) -> Bought {
    let bought = house.buy_as(&wish(cart, "SUIT", SUITS)).await;
    house.post.keep();
    house.pay(&bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.deliver(&letter).await;
    bought
}

async fn house() -> House {
    house::plan().stock(&[("SUIT", 100)]).open().await
}

/// The parcels' numbers, the first one first.
async fn codes(house: &House) -> Vec<String> {
    let rows =
        house.rows("select tracking_code from labels where void_state is null order by parcel_no").await;
    rows.iter().map(|row| row["tracking_code"].as_str().unwrap().to_owned()).collect()
}

/// What a carrier says of a parcel comes through.
async fn scanned(house: &House, code: &str, status: &str) {
    let before = house.count("tracking_events").await;
    house.post.pass_on();
    house.scan(code, status).await;
    house.until_count("tracking_events", before + 1).await;
    house.post.keep();
}

async fn status(house: &House) -> Value {
    house.value("select status from orders").await
}

#[tokio::test]
async fn s09_what_no_box_carries_leaves_in_two_parcels_each_with_its_own_label() {
    let house = house().await;
    let bought = paid(&house, "cart-s09").await;
    house.until_order(bought.order, "fulfilled").await;
    house.settled().await;
    let packed = house.rows("select parcel_no, quantity from parcel_lines order by 1").await;
    assert_eq!(packed, [json!({"parcel_no": 1, "quantity": 40}), json!({"parcel_no": 2, "quantity": 30})]);
    let weights = house.rows("select template, weight_g from shipments order by parcel_no").await;
    assert_eq!(weights[0], json!({"template": "box-l", "weight_g": 28_900}));
    assert_eq!(weights[1], json!({"template": "box-l", "weight_g": 21_900}));
    assert_eq!((house.truth("labels").await.len(), house.calls("POST", "/buy").await), (2, 2));
    let (pia, viewer) = (house.key(Role::Processor, "pia").await, house.key(Role::Viewer, "vera").await);
    let path = format!("/v1/orders/{}", bought.order);
    let shown = house.read(&pia, &path).await.body["shipments"].clone();
    let field = |name: &str| [0, 1].map(|at: usize| shown[at][name].as_str().unwrap_or_default().to_owned());
    for name in ["tracking_code", "label_url"] {
        let [first, second] = field(name);
        assert!(first != second && !first.is_empty() && !second.is_empty(), "{name}: {shown}");
    }
    let outside = house.read_as_service(&path).await.body["shipments"].clone();
    assert!(outside[0].get("label_url").is_none(), "whoever prints labels is staff: {outside}");
    assert_eq!(house.read(&viewer, &path).await.body["fulfilment_status"], "fulfilled");
    house.end().await;
}

#[tokio::test]
async fn s09_an_order_leaves_with_its_first_parcel_and_is_there_with_its_last() {
    let house = house().await;
    let bought = paid(&house, "cart-s09-way").await;
    house.until_order(bought.order, "fulfilled").await;
    let codes = codes(&house).await;
    for (parcel, scan, order) in [
        (1, "in_transit", "shipped"),
        (0, "delivered", "shipped"),
        (1, "out_for_delivery", "out_for_delivery"),
        (1, "delivered", "delivered"),
    ] {
        scanned(&house, &codes[parcel], scan).await;
        house.settled().await;
        assert_eq!(status(&house).await, order, "parcel {parcel} is {scan}");
    }
    for kind in ["shipping_notification", "delivery_confirmation"] {
        assert_eq!(house.count(&format!("communications where kind = '{kind}'")).await, 2, "{kind}");
    }
    // Each mail is of its own parcel, whichever label is the newest: it left, and it arrived.
    for code in &codes {
        let mut naming = 0;
        for n in 0..house.truth("mails").await.len() {
            naming += usize::from(house.raw_mail(n).await.contains(code.as_str()));
        }
        assert_eq!(
            naming,
            2 + usize::from(*code == codes[1]),
            "{code}: only the second went out for delivery"
        );
    }
    house.end().await;
}

/// One parcel is gone while the other has no label: the order is still packed, so that the label is bought, and can not be
/// called off.
#[tokio::test]
async fn s09_a_parcel_that_waits_for_its_label_is_not_forgotten_because_another_has_left() {
    let house = house().await;
    let bought = house.buy_as(&wish("cart-s09-waits", "SUIT", SUITS)).await;
    house.post.keep();
    let refuse = json!({"fail": {"status": 422, "code": "SHIPMENT.INVALID"}});
    house.execute(SECOND_WAITS).await.unwrap();
    house.pay(&bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.deliver(&letter).await;
    house.until_count("labels", 1).await;
    scanned(&house, &codes(&house).await[0], "in_transit").await;
    assert_eq!(status(&house).await, "packaging");
    let mia = house.key(Role::Manager, "mia").await;
    let called_off = house.ask(&mia, bought.order, ("cancel", ""), &json!({})).await;
    assert_eq!(called_off.status, 409, "a part of it is gone: {}", called_off.body);
    house.faults(json!([{"at": "easypost.buy", "what": refuse}])).await;
    // Whoever takes the order up again has both looked for at once.
    house.execute("drop trigger second_waits on jobs").await.unwrap();
    for to in ["on_hold", "packaging"] {
        let seen = house.value("select version from orders").await.as_i64();
        assert_eq!(house.put_status(&mia, bought.order, seen, to).await.status, 200, "{to}");
    }
    house.until_order(bought.order, "exception").await;
    house.settled().await;
    house.mend().await;
    let all = Selection::default();
    assert_eq!(letters::replay(&house.store, &all, "operator mia", |_| ()).await.unwrap().replayed, 1);
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!((house.truth("labels").await.len(), house.count("labels").await), (2, 2));
    house.end_with_dead(&["shipping-label"]).await;
}
