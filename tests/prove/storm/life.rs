//! The life of one order: its buyer wishes, pays, cancels and comes back, and staff work on it, all at the same time.
//!
//! Each order is given one legal move that it should make, so that all of them are tried in turn; before and after it
//! people do what they like. What they choose is drawn from the seed and the order's number; what they find depends on
//! how the work was interleaved.

use std::time::Duration;

use orderfleet::domain::order::Status;
use orderfleet::ids::OrderId;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::browser;
use super::staff;
use super::world::{ARTICLES, Who, World};

/// Buyers arrive within this time, in milliseconds.
const ARRIVALS_MS: u64 = 3_000;
/// A buyer who was not told by then goes away.
const DECIDED_WITHIN: Duration = Duration::from_secs(15);

/// An order, and what its people know of it.
pub(crate) struct Order {
    /// Its buyer.
    pub(crate) number: usize,
    /// As callers write it.
    pub(crate) id: String,
    uuid: Uuid,
    /// What it began as.
    pub(crate) intent: String,
    /// What it costs, in minor units.
    pub(crate) total: i64,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) status: Status,
    pub(crate) resume_to: Option<Status>,
    pub(crate) version: i64,
}

/// What a person does from one moment to the next, in milliseconds at most.
pub(crate) async fn pause(random: &mut StdRng, most_ms: u64) {
    sleep(Duration::from_millis(random.random_range(0..=most_ms))).await;
}

/// Lives it.
pub(crate) async fn live(world: &World, number: usize, ambition: (Status, Status)) {
    let luck = world.seed.wrapping_mul(1_000_003).wrapping_add(u64::try_from(number).unwrap());
    let mut random = StdRng::seed_from_u64(luck);
    pause(&mut random, ARRIVALS_MS).await;
    let body = wish(number, &mut random);
    place(world, number, &body, &mut random).await;
    let Some(order) = decided(world, number).await else { return };
    let mut other = StdRng::seed_from_u64(luck ^ 0xB0_0B5);
    tokio::join!(
        browser::buy(world, &order, ambition, &mut random),
        staff::work(world, &order, ambition, &mut other)
    );
}

/// Places an order, without a second thought. None where nothing came of it.
pub(crate) async fn order_at_once(world: &World, number: usize) -> Option<Order> {
    let mut random = StdRng::seed_from_u64(world.seed ^ u64::try_from(number).unwrap());
    place(world, number, &wish(number, &mut random), &mut random).await;
    decided(world, number).await
}

/// One or two articles; the scarce ones are wanted most by those who come late.
fn wish(number: usize, random: &mut StdRng) -> Value {
    let from_nepal = random.random_bool(0.15);
    let mut lines = Vec::new();
    for _ in 0..random.random_range(1..=2) {
        let (sku, _) =
            if random.random_bool(0.3) { &ARTICLES[..2] } else { &ARTICLES[2..] }.choose(random).unwrap();
        lines.push(json!({"sku": sku, "quantity": random.random_range(1..=2)}));
    }
    let mut wish = json!({
        "cart_id": format!("cart-{number}"),
        "customer": {"id": format!("cus-{number}"), "email": format!("{number}@example.com"), "name": "A. Buyer"},
        "currency": "USD", "lines": lines,
        "on_shortage": if random.random_bool(0.3) { "accept_available" } else { "reject_all" },
        "shipping_address": {"name": "A. Buyer", "phone": "+14155550123", "address_line1": "388 Townsend St",
                             "city": "San Francisco", "state": "CA", "postal_code": "94107", "country": "US"},
    });
    if from_nepal {
        wish["currency"] = json!("NPR");
        wish["shipping_address"] = json!({"name": "A. Buyer", "phone": "+97714123456", "address_line1": "Durbar Marg 12",
                                          "city": "Kathmandu", "postal_code": "44600", "country": "NP"});
    }
    wish
}

/// Sends the wish: once, twice at once under one key, or from a second tab under another.
async fn place(world: &World, number: usize, body: &Value, random: &mut StdRng) {
    let send = async |key: String, prefer: &str| {
        let headers = [("idempotency-key", key), ("prefer", prefer.to_owned())];
        // Reserved, on its way, replayed, or sold out.
        let expected = [201, 202, 200, 409];
        world.ask(Who::Web, (Method::POST, "/v1/order-intents"), &headers, Some(body), &expected).await
    };
    let key = format!("key-{number}");
    match random.random_range(0..10) {
        0 => drop(tokio::join!(send(key.clone(), "wait=5"), send(key, "wait=1"))),
        1 => drop(tokio::join!(send(key, "wait=5"), send(format!("tab-{number}"), "wait=5"))),
        _ => drop(send(key, "wait=5").await),
    }
}

/// The order that came of it, if one did.
async fn decided(world: &World, number: usize) -> Option<Order> {
    let since = Instant::now();
    let sql = format!(
        "select i.state, i.id as intent, o.id as order, o.total_minor
           from order_intents i left join orders o on o.intent_id = i.id
          where i.cart_id = 'cart-{number}' order by i.state, i.id limit 1"
    );
    loop {
        if let Some(row) = world.rows(&sql).await.first() {
            let uuid: Uuid = row["order"].as_str()?.parse().unwrap();
            let intent: Uuid = row["intent"].as_str()?.parse().unwrap();
            let (id, intent) =
                (OrderId::from(uuid).to_string(), orderfleet::ids::IntentId::from(intent).to_string());
            return Some(Order { number, id, uuid, intent, total: row["total_minor"].as_i64().unwrap() });
        }
        if since.elapsed() > DECIDED_WITHIN {
            return None;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

impl Order {
    /// Where it stands now, as whoever looks at it sees.
    pub(crate) async fn look(&self, world: &World) -> Standing {
        let sql = format!("select status, resume_to, version from orders where id = '{}'", self.uuid);
        let row = world.rows(&sql).await.remove(0);
        let status = |field: &str| row[field].as_str().and_then(Status::named);
        Standing {
            status: status("status").unwrap(),
            resume_to: status("resume_to"),
            version: row["version"].as_i64().unwrap(),
        }
    }

    /// The code on its parcel, once there is a label.
    pub(crate) async fn tracking_code(&self, world: &World) -> Option<String> {
        let sql = format!(
            "select l.tracking_code from labels l join shipments s on s.id = l.shipment_id where s.order_id = '{}'",
            self.uuid
        );
        world.rows(&sql).await.first().and_then(|row| row["tracking_code"].as_str().map(str::to_owned))
    }

    /// Whether its label is being bought.
    pub(crate) async fn is_being_labelled(&self, world: &World) -> bool {
        let sql = format!(
            "select count(*) from shipments where order_id = '{}' and state = 'purchasing'",
            self.uuid
        );
        world.count(&sql).await > 0
    }

    /// Its payments at the provider, the oldest first.
    pub(crate) async fn payments(&self, world: &World) -> Vec<String> {
        let sql = format!(
            "select provider_payment_id as id from payments where order_id = '{}' and provider_payment_id is not null
              order by attempt_no",
            self.uuid
        );
        world.rows(&sql).await.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}
