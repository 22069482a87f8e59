//! What is stuck is listed with its reason and its safe action; what only waits its turn is not.

use std::time::Duration;

use orderfleet::ops::stuck::look;
use orderfleet::store::stuck::REASONS;

use orderfleet::auth::Role;
use serde_json::json;

use crate::house::{self, House, wish};

#[tokio::test]
async fn what_is_stuck_is_listed_with_its_reason_and_what_merely_waits_is_not() {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    let paid = house.buy("paid").await;
    house.pay(&paid).await;
    house.until_order(paid.order, "payment_confirmed").await;
    let waits = house.buy("waits").await;
    house.settled().await;
    let orders = house.settings.orders.clone();
    let young = format!(
        "insert into inbox (provider, event_id, type, object_id, payload, state)
         values ('stripe', 'evt_early', 'x', '{}', '{{}}', 'parked');
         insert into effects (name, id, request, state, job_id)
         values ('mail:lost', gen_random_uuid(), '{{}}', 'unknown', gen_random_uuid())",
        waits.payment
    );
    house.execute(&young).await.unwrap();
    assert!(look(&house.store, &orders, 10).await.unwrap().is_empty(), "all of it waits its turn");

    // Time passes, and nothing happens.
    let (order, other) = (waits.order.uuid(), paid.order.uuid());
    let late = format!(
        "update reservations set expires_at = now() - interval '10 minutes' where order_id = '{order}';
         update inbox set received_at = now() - interval '10 minutes' where event_id = 'evt_early';
         update effects set created_at = now() - interval '1 hour' where name = 'mail:lost';
         insert into order_exceptions (id, order_id, type, severity, detail)
         select gen_random_uuid(), '{other}', 'made_up_' || no, 'warning', 'x' from generate_series(1, 3) no"
    );
    house.execute(&late).await.unwrap();
    let found = house.store.stuck(Duration::ZERO, true, 2).await.unwrap();
    let mut reasons: Vec<&str> = found.iter().map(|stuck| stuck.reason.as_str()).collect();
    reasons.dedup();
    assert_eq!(reasons, REASONS, "{found:#?}");
    let of = |reason: &str| found.iter().filter(|stuck| stuck.reason == reason).collect::<Vec<_>>();
    assert_eq!((of("exception").len(), of("exception")[0].of), (2, 3), "two are shown, three there are");
    assert_eq!(of("paid_without_label")[0].order, Some(paid.order));
    assert_eq!(of("event_waits")[0].order, Some(waits.order));
    assert_eq!(of("held_past_its_end")[0].order_number, of("event_waits")[0].order_number);

    let lines = look(&house.store, &orders, 10).await.unwrap();
    assert!(lines.iter().all(|line| !line.action.is_empty() && line.stuck.reason != "paid_without_label"));
    let mended = format!(
        "update reservations set expires_at = created_at + interval '15 minutes' where order_id = '{order}';
         delete from inbox where event_id = 'evt_early'; delete from effects where name = 'mail:lost';
         update order_exceptions set state = 'resolved', resolved_at = now()"
    );
    house.execute(&mended).await.unwrap();
    assert!(look(&house.store, &orders, 10).await.unwrap().is_empty());
    house.end().await;
}

/// The label's job that this is true of is not due before it is called.
fn waits(which: &str) -> String {
    format!(
        "create function label_waits() returns trigger language plpgsql as $$
         begin new.run_at = now() + interval '1 hour'; return new; end $$;
         create trigger label_waits before insert on jobs for each row
           when (new.kind = 'shipping-label' and {which}) execute function label_waits()"
    )
}

/// Calls it: under another id, because its copy in Redis waits for an hour.
const CALL: &str = "
    drop trigger label_waits on jobs;
    with gone as (delete from jobs where kind = 'shipping-label' returning kind, lane, band, payload, caused_by)
    insert into jobs (id, kind, lane, band, payload, run_at, caused_by)
    select gen_random_uuid(), kind, lane, band, payload, now(), caused_by from gone";

/// What is stuck for want of a label, whatever its age.
async fn unlabelled(house: &House) -> Vec<String> {
    let found = house.store.stuck(Duration::ZERO, true, 10).await.unwrap();
    let ours = found.into_iter().filter(|stuck| stuck.reason == "paid_without_label");
    ours.map(|stuck| stuck.what).collect()
}

#[tokio::test]
async fn s09_an_order_of_which_one_of_two_parcels_has_no_label_is_stuck() {
    let house = house::plan().stock(&[("SUIT", 100)]).open().await;
    house.execute(&waits("new.payload ->> 'parcel' = '2'")).await.unwrap();
    let bought = house.buy_as(&wish("cart-stuck-two", "SUIT", 70)).await;
    house.pay_quietly(&bought).await;
    house.until_count("labels", 1).await;
    assert_eq!(unlabelled(&house).await, ["packaging, parcel 2"]);
    let late = Duration::from_hours(1);
    assert!(house.store.stuck(late, true, 10).await.unwrap().is_empty(), "it is not late yet");
    house.execute(CALL).await.unwrap();
    house.until_order(bought.order, "fulfilled").await;
    assert_eq!(unlabelled(&house).await, [""; 0]);
    house.end().await;
}

#[tokio::test]
async fn s06_a_packed_order_that_waits_for_its_next_label_is_stuck() {
    let house = house::open().await;
    let bought = house.buy("cart-stuck-relabel").await;
    house.pay_quietly(&bought).await;
    house.until_order(bought.order, "fulfilled").await;
    house.settled().await;
    assert_eq!(unlabelled(&house).await, [""; 0]);
    house.execute(&waits("new.payload ->> 'epoch' = '2'")).await.unwrap();
    let pia = house.key(Role::Processor, "pia").await;
    assert_eq!(house.ask(&pia, bought.order, ("labels", ""), &json!({})).await.status, 202);
    assert_eq!(unlabelled(&house).await, ["fulfilled, parcel 1"]);
    let late = Duration::from_hours(1);
    assert!(
        house.store.stuck(late, true, 10).await.unwrap().is_empty(),
        "its next label is wanted since now"
    );
    house.execute(CALL).await.unwrap();
    house.until_count("labels where void_state is null", 1).await;
    assert_eq!(unlabelled(&house).await, [""; 0]);
    house.end().await;
}
