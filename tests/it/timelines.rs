//! An order's life, as an operator reads it: nothing that happened to it is left out, and what is still open can be asked about.

use orderfleet::auth::Role;
use orderfleet::ids::{CommunicationId, IntentId, JobId, PaymentId};
use orderfleet::ops::dead_letters as letters;
use orderfleet::store::dead_letters::Selection;
use orderfleet::store::timeline::{Moment, Timeline};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::house::{self, Bought, Browser, House};

/// What a timeline says of one subject, in order.
fn about<'a>(timeline: &'a Timeline, subject: &str) -> Vec<&'a Moment> {
    timeline.moments.iter().filter(|moment| moment.about == subject).collect()
}

/// A packed order whose label was given back, and the next one refused for good.
async fn without_its_next_label(house: &House, cart: &str) -> Bought {
    let bought = house.buy(cart).await;
    house.post.keep();
    house.pay(&bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.deliver(&letter).await;
    house.until_order(bought.order, "fulfilled").await;
    house.settled().await;
    let pia = house.key(Role::Processor, "pia").await;
    let refuse = json!({"fail": {"status": 422, "code": "SHIPMENT.INVALID"}});
    house.faults(json!([{"at": "easypost.create", "what": refuse}])).await;
    assert_eq!(house.ask(&pia, bought.order, ("labels", ""), &json!({})).await.status, 202);
    house.until_order(bought.order, "exception").await;
    house.until_count("labels where void_state = 'voided'", 1).await;
    house.mend().await;
    bought
}

#[tokio::test]
async fn refunds_labels_given_back_and_jobs_given_up_stand_in_an_orders_life() {
    let house = house::open().await;
    let bought = without_its_next_label(&house, "cart-life").await;
    let mia = house.key(Role::Manager, "mia").await;
    let part = json!({"amount": 300});
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &part).await.status, 202);
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;

    let timeline = house.timeline(bought.order).await;
    assert!(timeline.moments.is_sorted_by_key(|moment| moment.at), "{:#?}", timeline.moments);
    let refunds = about(&timeline, "refund");
    assert_eq!(refunds.len(), 2, "{refunds:?}");
    assert!(
        refunds[0].what.starts_with("wanted (api, manager:") && refunds[0].minor == Some(300),
        "{refunds:?}"
    );
    assert!(refunds[1].what.starts_with("succeeded: re_"), "{refunds:?}");
    let parcels: Vec<&str> = about(&timeline, "parcel").iter().map(|moment| moment.what.as_str()).collect();
    for (said, begin) in
        parcels.iter().zip(["label bought: ", "label is to be given back: ", "label given back: "])
    {
        assert!(said.starts_with(begin), "{parcels:#?}");
    }
    assert_eq!(parcels.len(), 3, "{parcels:#?}");
    let dead = about(&timeline, "dead letter");
    assert_eq!(dead[0].what, "shipping-label given up after 1 attempts: refused");
    let letter = dead[0].letter.unwrap();

    let manager = house.staff(Role::Manager, "shop").await;
    let desk = house.open_desk().await;
    let page = Browser::signed_in(&desk, &manager).await.page(&format!("/orders/{}", bought.order)).await;
    let trace = timeline.trace_id.unwrap();
    assert!(page.contains(&trace) && page.contains(&format!("href=\"/dead/{letter}\"")), "{page}");

    let one = Selection { ids: Some(vec![letter]), ..Selection::default() };
    letters::drop_all(&house.store, &one, "operator mia", "nobody wants it").await.unwrap();
    let timeline = house.timeline(bought.order).await;
    let dropped = about(&timeline, "dead letter")[1];
    assert_eq!(
        (dropped.what.as_str(), dropped.letter),
        ("shipping-label dropped by operator mia", Some(letter))
    );
    house.end_with_dead(&["shipping-label"]).await;
}

/// Plants a job that is not due for an hour. Its id, as people write it.
async fn planted(house: &House, kind: &str, fields: &Value) -> String {
    let id = JobId::new();
    let row = format!(
        "insert into jobs (id, kind, lane, band, payload, run_at, caused_by)
         values ('{}', '{kind}', 'housekeeping', 2, '{fields}', now() + interval '1 hour', 'test')",
        id.uuid()
    );
    house.execute(&row).await.unwrap();
    id.to_string()
}

#[tokio::test]
async fn every_open_job_about_an_order_is_told_with_its_id_whatever_its_fields_name() {
    let house = house::open().await;
    let (bought, other) = (house.buy("cart-open").await, house.buy("cart-other").await);
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    let id = async |table: &str| {
        let row = house
            .value(&format!("select id from {table} where order_id = '{}' limit 1", bought.order.uuid()))
            .await;
        row.as_str().unwrap().parse::<Uuid>().unwrap()
    };
    let (payment, mail) =
        (PaymentId::from(id("payments").await), CommunicationId::from(id("communications").await));
    let intent: IntentId = bought.intent;
    let mut jobs = Vec::new();
    for (kind, fields) in [
        ("order-lapse", json!({"order": bought.order})),
        ("payment-cancel", json!({"payment": payment})),
        ("email", json!({"communication": mail})),
        ("order-intent", json!({"intent_id": intent})),
        ("payment-confirmation", json!({"provider": "stripe", "object_id": bought.payment})),
    ] {
        jobs.push((kind, planted(&house, kind, &fields).await));
    }
    let open = house.timeline(bought.order).await.open;
    for (kind, job) in &jobs {
        let told = open.iter().filter(|line| line.starts_with(&format!("job {kind} {job} is due "))).count();
        assert_eq!(told, 1, "{kind}: {open:#?}");
    }
    let elsewhere = house.timeline(other.order).await.open;
    assert!(jobs.iter().all(|(_, job)| elsewhere.iter().all(|line| !line.contains(job))), "{elsewhere:#?}");
    house.execute("delete from jobs where caused_by = 'test'").await.unwrap();
    house.end().await;
}
