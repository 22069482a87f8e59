//! Errands: what a fleet has to ask outside only now and then, brought up so often that each way of failing is met there.

use orderfleet::ids::{OrderId, ShipmentId};
use orderfleet::job::NewJob;
use orderfleet::jobs::parcel_look::ParcelLook;
use orderfleet::store::jobs;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::storm::world::{Who, World};

/// Parcels that are asked after at the same time.
const ASKED_AFTER: usize = 2;
/// Of the payments that were opened a moment ago, so many are promised, the youngest of them at once.
const PROMISED: f64 = 0.3;
/// Of the packed orders, so many are called off at once.
const CALLED_OFF: f64 = 0.3;
/// How long after its label a parcel is scanned, in milliseconds: no carrier is there at once, and what has left is not called
/// off.
const SCANNED_AFTER_MS: u64 = 2_500;

/// What carriers need their time for; no fault, so it is hit always.
pub(super) fn late_scans() -> Value {
    json!([{"at": "webhook.easypost", "what": {"delay": {"ms": SCANNED_AFTER_MS}}}])
}

/// Whether a rule is one of the faults.
pub(super) fn is_fault(rule: &Value) -> bool {
    !(rule["next"].is_null() && rule["rate"].is_null())
}

/// One of each.
pub(super) async fn run(world: &World) {
    asked_after(world).await;
    promised(world).await;
    called_off(world).await;
}

/// Carriers are asked for some parcels, as a sweep has them asked for after a day of silence.
async fn asked_after(world: &World) {
    let under_way = format!(
        "select s.order_id, s.id from shipments s join labels l on l.shipment_id = s.id
          where s.tracking_rank < 40 and l.void_state is null order by random() limit {ASKED_AFTER}"
    );
    let look = |row: &Value| {
        let (order, shipment) = (OrderId::from(id(row, "order_id")), ShipmentId::from(id(row, "id")));
        NewJob::of(&ParcelLook { order, shipment }, "sweep")
    };
    let rows = world.rows(&under_way).await;
    let mut tx = world.store.begin().await.unwrap();
    jobs::insert(&mut tx, rows.iter().map(look).collect()).await.unwrap();
    tx.commit().await.unwrap();
}

/// The bank of a buyer who has just been given their page promises the money, which has to be taken.
async fn promised(world: &World) {
    let open = format!(
        "select provider_payment_id as id from payments
          where state = 'pending' and opened_at > now() - interval '2 s' and random() < {PROMISED}
          order by opened_at desc limit 1"
    );
    for row in world.rows(&open).await {
        let path = format!("/_sandbox/payments/{}/authorised", row["id"].as_str().unwrap());
        world.outside(Method::POST, &path, String::new()).await;
    }
}

/// Somebody calls a packed order off: its label goes back.
async fn called_off(world: &World) {
    let packed =
        format!("select id from orders where status = 'fulfilled' and random() < {CALLED_OFF} limit 1");
    for row in world.rows(&packed).await {
        let path = format!("/v1/orders/{}/cancel", OrderId::from(id(&row, "id")));
        // Or it has left meanwhile.
        world.ask(Who::Manager, (Method::POST, &path), &[], None, &[202, 409]).await;
    }
}

fn id(row: &Value, field: &str) -> Uuid {
    row[field].as_str().unwrap().parse().unwrap()
}
