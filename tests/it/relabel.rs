//! A label that nobody can use is given back, and the parcel has another.

use orderfleet::auth::Role;
use orderfleet::ops::dead_letters as letters;
use orderfleet::store::dead_letters::Selection;
use serde_json::{Value, json};

use crate::house::{self, wish};

#[tokio::test]
async fn s06_a_label_that_nobody_can_use_is_given_back_and_the_next_one_is_bought_at_once() {
    let house = house::open().await;
    let bought = house.packed(&wish("cart-s06", "SUIT", 1)).await;
    let old = house.value("select tracking_code from labels").await;
    let (pia, viewer) = (house.key(Role::Processor, "pia").await, house.key(Role::Viewer, "vera").await);
    let again = async |who: &str| house.ask(who, bought.order, ("labels", ""), &json!({})).await;
    assert_eq!(again(&viewer).await.status, 403);
    // The carrier takes its time with the old one, and the new one's purchase is not answered at first.
    house
        .faults(json!([
            {"at": "easypost.refund", "what": {"fail": {"status": 503}}, "next": 2},
            {"at": "easypost.buy", "what": "drop_after", "next": 1},
        ]))
        .await;
    let (first, second) = tokio::join!(again(&pia), again(&pia));
    let answers = if first.status == 202 { [first, second] } else { [second, first] };
    assert_eq!(answers[0].body["parcels"], json!([{"parcel": 1, "label": 2}]));
    assert_eq!((answers[1].status, &answers[1].body["reason"]), (409, &json!("no_label")));
    house.until_count("labels where void_state is null", 1).await;
    house.until_count("labels where void_state = 'voided'", 1).await;
    house.settled().await;
    let labels = house
        .rows("select s.epoch, l.tracking_code, l.void_state from labels l join shipments s on s.id = l.shipment_id order by 1")
        .await;
    assert_eq!((&labels[0]["epoch"], &labels[0]["tracking_code"]), (&json!(1), &old), "it is kept");
    assert_eq!((&labels[1]["epoch"], &labels[1]["void_state"]), (&json!(2), &Value::Null));
    assert_eq!((house.truth("labels").await.len(), house.calls("POST", "/buy").await), (2, 2));
    assert_eq!(house.value("select status from orders").await, "fulfilled");
    let seen = house.value("select version from orders").await.as_i64();
    assert_eq!(house.put_status(&pia, bought.order, seen, "shipped").await.status, 200);
    let gone = again(&pia).await;
    assert_eq!((gone.status, &gone.body["reason"]), (409, &json!("shipped")));
    house.end().await;
}

#[tokio::test]
async fn s06_an_order_does_not_ship_while_its_label_is_replaced_and_waits_where_none_can_be_had() {
    let house = house::open().await;
    let bought = house.packed(&wish("cart-s06-none", "SUIT", 1)).await;
    let pia = house.key(Role::Processor, "pia").await;
    let refuse =
        json!([{"at": "easypost.create", "what": {"fail": {"status": 422, "code": "SHIPMENT.INVALID"}}}]);
    house.faults(refuse).await;
    assert_eq!(house.ask(&pia, bought.order, ("labels", ""), &json!({})).await.status, 202);
    let seen = house.value("select version from orders").await.as_i64();
    let bare = house.put_status(&pia, bought.order, seen, "shipped").await;
    // On a busy machine it may be set aside already, which is another version.
    let refused = [409, 412].contains(&bare.status);
    assert!(refused, "its old label is no label any more: {} {}", bare.status, bare.body);
    house.until_order(bought.order, "exception").await;
    assert_eq!(house.value("select resume_to from orders").await, "fulfilled");
    house.mend().await;
    let all = Selection::default();
    assert_eq!(letters::replay(&house.store, &all, "operator mia", |_| ()).await.unwrap().replayed, 1);
    house.until_order(bought.order, "fulfilled").await;
    house.until_count("labels where void_state is null", 1).await;
    house.end_with_dead(&["shipping-label"]).await;
}
