//! Staff: they move an order on along the legal moves, set it aside and take it up, call it off, give money back; the
//! carrier scans its parcel, somebody refunds at the provider's own page, and a bank wants a customer's money back.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use orderfleet::auth::Role;
use orderfleet::domain::order::Status;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::life::{Order, Standing, pause};
use super::world::{Who, World};

/// How long staff try to get an order to where it should go.
const PATIENCE: Duration = Duration::from_secs(13);
/// Between two looks at an order.
const LOOK: Duration = Duration::from_millis(60);
/// What carriers say: every word that they have.
const SCANS: [&str; 10] = [
    "in_transit",
    "out_for_delivery",
    "delivered",
    "return_to_sender",
    "failure",
    "available_for_pickup",
    "unknown",
    "pre_transit",
    "cancelled",
    "error",
];

/// What happens to an order in the house.
pub(crate) async fn work(world: &World, order: &Order, ambition: (Status, Status), random: &mut StdRng) {
    let since = Instant::now();
    if ambition == (Status::Packaging, Status::Shipped) {
        hand_over_unlabelled(world, order, since).await;
    }
    for station in stations(ambition) {
        if !go(world, order, station, since).await {
            break;
        }
        pause(random, 60).await;
    }
    for _ in 0..random.random_range(0..=4) {
        pause(random, 800).await;
        whim(world, order, random).await;
    }
}

/// Where an order has to be, one after the other, so that it makes this move. One that is set aside comes back to where it
/// was, and nowhere else.
fn stations((from, to): (Status, Status)) -> Vec<Status> {
    let is_end = matches!(to, Status::Cancelled | Status::Refunded) || to.is_aside();
    match (from, to) {
        (Status::OutForDelivery, Status::Shipped) => vec![from, to],
        _ if from.is_aside() && !is_end => vec![to, from, to],
        _ if from.is_aside() && to == Status::Refunded => vec![Status::PaymentConfirmed, from, to],
        _ => vec![from, to],
    }
}

/// Walks an order to `station`; whether it got there.
async fn go(world: &World, order: &Order, station: Status, since: Instant) -> bool {
    let mut is_asked = false;
    while since.elapsed() < PATIENCE {
        let at = order.look(world).await;
        if at.status == station
            || (station == Status::PaymentConfirmed && at.status != Status::PendingPayment)
        {
            return true;
        }
        if station == Status::Cancelled {
            call_off(world, order).await;
        } else if station == Status::Refunded {
            if at.status != Status::PendingPayment && !is_asked {
                give_back(world, order, None, &format!("all-{}", order.number)).await;
                is_asked = true;
            }
        } else if let Some(to) = step(at, station) {
            put(world, order, Who::Manager, to, &format!("\"{}\"", at.version)).await;
        } else if at.status != Status::PendingPayment {
            // No way leads there any more. One that awaits its money is moved on by the fleet alone.
            return false;
        }
        sleep(LOOK).await;
    }
    false
}

/// The next status on the shortest way, by moves that a manager may ask for.
fn step(at: Standing, station: Status) -> Option<Status> {
    if at.status.is_aside() {
        return if station.is_aside() { Some(station) } else { at.resume_to };
    }
    let by_hand = |from: Status| -> Vec<Status> {
        let mut offered = from.offers(Role::Manager);
        offered.retain(|to| {
            let is_command = matches!(to, Status::Cancelled | Status::Refunded);
            !is_command && (!to.is_aside() || *to == station)
        });
        offered
    };
    let mut first: HashMap<Status, Status> = HashMap::new();
    let mut open = VecDeque::from([at.status]);
    while let Some(from) = open.pop_front() {
        for to in by_hand(from) {
            let begin = first.get(&from).copied().unwrap_or(to);
            if to == station {
                return Some(begin);
            }
            if to != at.status && !to.is_aside() && !first.contains_key(&to) {
                first.insert(to, begin);
                open.push_back(to);
            }
        }
    }
    None
}

/// An order leaves the packers without having counted as packed only if its label came while it was set aside.
async fn hand_over_unlabelled(world: &World, order: &Order, since: Instant) {
    if !go(world, order, Status::Packaging, since).await {
        return;
    }
    while since.elapsed() < PATIENCE && order.look(world).await.status == Status::Packaging {
        if order.is_being_labelled(world).await {
            put(world, order, Who::Manager, Status::OnHold, "*").await;
            break;
        }
    }
    while since.elapsed() < PATIENCE && order.look(world).await.status == Status::OnHold {
        if order.tracking_code(world).await.is_some() {
            put(world, order, Who::Manager, Status::Packaging, "*").await;
            put(world, order, Who::Manager, Status::Shipped, "*").await;
            break;
        }
        sleep(LOOK).await;
    }
}

/// What comes to somebody's mind.
async fn whim(world: &World, order: &Order, random: &mut StdRng) {
    match random.random_range(0..100) {
        0..52 => anywhere(world, order, random).await,
        52..60 => call_off(world, order).await,
        60..84 => refund(world, order, random).await,
        84..91 => {
            if let Some(code) = order.tracking_code(world).await {
                let path = format!("/_sandbox/trackers/{code}/{}", SCANS.choose(random).unwrap());
                world.outside(Method::POST, &path, String::new()).await;
            }
        }
        91..95 => {
            if let Some(payment) = order.payments(world).await.choose(random) {
                // All of it, a part, or a question that takes nothing yet.
                let how = *["", "amount=500", "asks=true"].choose(random).unwrap();
                let path = format!("/_sandbox/payments/{payment}/disputed");
                world.outside(Method::POST, &path, how.to_owned()).await;
            }
        }
        _ => {
            if let Some(payment) = order.payments(world).await.choose(random) {
                let form = format!("payment_intent={payment}&amount={}", random.random_range(100..2_000));
                world.outside(Method::POST, "/v1/refunds", form).await;
            }
        }
    }
}

/// Moves it to any status that the mover may name; sometimes from a version that is not the order's any more.
async fn anywhere(world: &World, order: &Order, random: &mut StdRng) {
    let at = order.look(world).await;
    let (who, role) =
        *[(Who::Manager, Role::Manager), (Who::Processor, Role::Processor)].choose(random).unwrap();
    let mut offered = at.status.offers(role);
    offered.retain(|to| !matches!(to, Status::Cancelled | Status::Refunded));
    let goes_on = at.resume_to.filter(|_| random.random_bool(0.7));
    let Some(to) = goes_on.or_else(|| offered.choose(random).copied()) else { return };
    if at.status == Status::PendingPayment && random.random_bool(0.7) {
        return;
    }
    let version = match random.random_range(0..10) {
        0 => "*".to_owned(),
        1 => format!("\"{}\"", at.version - 1),
        _ => format!("\"{}\"", at.version),
    };
    put(world, order, who, to, &version).await;
}

/// A part, or all; once, twice under one key, or two that together are too much.
async fn refund(world: &World, order: &Order, random: &mut StdRng) {
    let part = random.random_range(1..=order.total);
    let key = format!("refund-{}", random.random_range(0..u32::MAX));
    match random.random_range(0..4) {
        0 => give_back(world, order, None, &key).await,
        1 => drop(tokio::join!(
            give_back(world, order, Some(part), &key),
            give_back(world, order, Some(part), &key)
        )),
        2 => {
            let most = Some(order.total * 7 / 10);
            let other = format!("{key}-2");
            tokio::join!(give_back(world, order, most, &key), give_back(world, order, most, &other));
        }
        _ => give_back(world, order, Some(part), &key).await,
    }
}

async fn give_back(world: &World, order: &Order, minor: Option<i64>, key: &str) {
    let path = format!("/v1/orders/{}/refunds", order.id);
    let body = minor.map_or_else(|| json!({}), |minor| json!({"amount": minor}));
    let headers = [("idempotency-key", key.to_owned())];
    // Asked for, more than is left, or no amount that the provider can say.
    world.ask(Who::Manager, (Method::POST, &path), &headers, Some(&body), &[202, 409, 422]).await;
}

async fn call_off(world: &World, order: &Order) {
    let path = format!("/v1/orders/{}/cancel", order.id);
    world.ask(Who::Manager, (Method::POST, &path), &[], None, &[202, 409]).await;
}

/// Asks for a move, from the version that was seen.
pub(crate) async fn put(world: &World, order: &Order, who: Who, to: Status, version: &str) -> Value {
    let path = format!("/v1/orders/{}/status", order.id);
    let headers = [("if-match", version.to_owned())];
    let body = json!({"status": to.name()});
    world.ask(who, (Method::PUT, &path), &headers, Some(&body), &[200, 409, 412]).await.body
}
