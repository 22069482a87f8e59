//! A buyer at the browser: cards that work, that are refused, that ask for the bank's page, that take days; second
//! thoughts; a second tab with an older payment's page still open.

use std::time::Duration;

use orderfleet::domain::order::Status;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use reqwest::Method;
use tokio::time::{Instant, sleep};

use super::life::{Order, pause};
use super::weather;
use super::world::{Who, World};

/// Cards, by how often they are used. Two are words for the sandbox itself.
const CARDS: [(&str, u32); 7] = [
    ("pm_card_visa", 38),
    ("pm_card_chargeDeclined", 10),
    ("pm_card_threeDSecure2Required", 16),
    ("pm_usBankAccount_processing", 7),
    ("pm_card_pendingRefund", 15),
    ("authorised", 9),
    ("pm_card_chargeDeclinedInsufficientFunds", 5),
];
/// A buyer who has no payment's page by then gives up paying.
const PAGE_WITHIN: Duration = Duration::from_secs(4);

/// A buyer with two tabs gives up by then: the order can no longer be paid.
const SECOND_TAB_WITHIN: Duration = Duration::from_secs(12);

/// A payment's page: the provider's id, and the secret that opens it.
type Page = (String, String);

/// What a buyer does with an order: pays where its life should go on, else what comes to mind.
pub(crate) async fn buy(world: &World, order: &Order, ambition: (Status, Status), random: &mut StdRng) {
    let mut pages: Vec<Page> = Vec::new();
    if weather::provider_goes_away(world.seed) && random.random_bool(0.35) {
        return pay_twice(world, order, &mut pages).await;
    }
    let must_pay = ambition.0 != Status::PendingPayment || ambition.1 == Status::PaymentConfirmed;
    if must_pay && random.random_bool(0.85) {
        pause(random, 400).await;
        if let Some(page) = page(world, order, &mut pages).await {
            pay(world, &page, ["pm_card_visa", "pm_card_pendingRefund"].choose(random).unwrap(), random)
                .await;
        }
        if random.random_bool(0.7) {
            return;
        }
    }
    for _ in 0..random.random_range(1..=5) {
        match random.random_range(0..100) {
            0..40 => {
                if let Some(page) = page(world, order, &mut pages).await {
                    let card = CARDS.choose_weighted(random, |(_, weight)| *weight).unwrap().0;
                    pay(world, &page, card, random).await;
                }
            }
            // Every page that is open somewhere.
            40..52 => {
                let all = pages.iter().map(|page| confirm(world, page, Some("pm_card_visa")));
                futures::future::join_all(all).await;
            }
            52..64 => drop(of_intent(world, order, "refresh").await),
            64..80 => drop(of_intent(world, order, "payment").await),
            80..88 => call_off(world, order).await,
            // The hold may run out meanwhile.
            _ => pause(random, 6_000).await,
        }
        pause(random, 900).await;
    }
}

/// Pays an order with a card that works, as soon as there is a page.
pub(crate) async fn pay_at_once(world: &World, order: &Order) {
    if let Some(page) = page(world, order, &mut Vec::new()).await {
        confirm(world, &page, Some("pm_card_visa")).await;
    }
}

/// Waits with an open page until the hold is over, pays again in another tab, and then on both pages: while the provider is
/// away, nobody could close the first one.
async fn pay_twice(world: &World, order: &Order, pages: &mut Vec<Page>) {
    let since = Instant::now();
    page(world, order, pages).await;
    while pages.len() < 2 && since.elapsed() < SECOND_TAB_WITHIN {
        sleep(Duration::from_millis(400)).await;
        of_intent(world, order, "payment").await;
        page(world, order, pages).await;
    }
    let all = pages.iter().map(|page| confirm(world, page, Some("pm_card_visa")));
    futures::future::join_all(all).await;
}

/// The page of the payment that is open now; it stays known.
async fn page(world: &World, order: &Order, pages: &mut Vec<Page>) -> Option<Page> {
    let since = Instant::now();
    let path = format!("/v1/order-intents/{}", order.intent);
    while since.elapsed() < PAGE_WITHIN {
        let state = world.ask(Who::Web, (Method::GET, &path), &[], None, &[200]).await.body;
        let text = |field: &str| state[field].as_str().map(str::to_owned);
        if let (Some(payment), Some(secret)) = (text("payment_intent_id"), text("client_secret")) {
            let page = (payment, secret);
            if !pages.contains(&page) {
                pages.push(page.clone());
            }
            return Some(page);
        }
        if state["status"] != "reserved" && state["status"] != "queued" {
            return None;
        }
        sleep(Duration::from_millis(150)).await;
    }
    None
}

async fn pay(world: &World, page: &Page, card: &str, random: &mut StdRng) {
    let control = |outcome: &str| format!("/_sandbox/payments/{}/{outcome}", page.0);
    if card == "authorised" {
        world.outside(Method::POST, &control("authorised"), String::new()).await;
        if random.random_bool(0.15) {
            pause(random, 300).await;
            world.outside(Method::POST, &control("lapsed"), String::new()).await;
        }
        return;
    }
    confirm(world, page, Some(card)).await;
    if card.contains("threeDSecure") && random.random_bool(0.75) {
        pause(random, 2_000).await;
        confirm(world, page, None).await;
    }
    if card.contains("BankAccount") && random.random_bool(0.8) {
        pause(random, 2_500).await;
        let outcome = if random.random_bool(0.7) { "succeeded" } else { "failed" };
        world.outside(Method::POST, &control(outcome), String::new()).await;
    }
}

async fn confirm(world: &World, (payment, secret): &Page, card: Option<&str>) {
    let card = card.map(|card| format!("&payment_method={card}")).unwrap_or_default();
    let path = format!("/v1/payment_intents/{payment}/confirm");
    world.outside(Method::POST, &path, format!("client_secret={secret}{card}")).await;
}

/// Asks to pay again, or for a look at the provider.
async fn of_intent(world: &World, order: &Order, what: &str) -> u16 {
    let path = format!("/v1/order-intents/{}/{what}", order.intent);
    world.ask(Who::Web, (Method::POST, &path), &[], None, &[202, 409]).await.status
}

async fn call_off(world: &World, order: &Order) {
    let path = format!("/v1/orders/{}/cancel", order.id);
    world.ask(Who::Buyer(order.number), (Method::POST, &path), &[], None, &[202, 409]).await;
}
