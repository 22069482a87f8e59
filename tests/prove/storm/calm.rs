//! The calm after a storm: nothing goes wrong any more, banks have spoken, people have decided, and all work is done.
//!
//! What was lost on the way arrives at last, days late by a shop's clock. Only then it is judged: by the product's own
//! audit, against the sandbox's truth, and by what was given up.

use std::collections::BTreeSet;
use std::time::Duration;

use orderfleet::domain::order::Status;
use orderfleet::ids::OrderId;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::world::{Who, World};

/// The longest wait of a job that was put off again and again is below this: a label's, whose order was set aside, is five
/// minutes.
const DRAINED_WITHIN: Duration = Duration::from_secs(330);
/// Nothing may be left for so long: webhooks and the relay take milliseconds.
const QUIET_FOR: Duration = Duration::from_millis(1_500);
/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(400);
/// What is under way at a bank, and how it may end other than well. Some refunds wait for the customer, and some of those are
/// called off.
const BANKS: [(&str, &str, &[&str]); 3] = [
    ("payments", "processing", &["failed"]),
    ("refunds", "pending", &["failed", "canceled", "requires_action"]),
    ("refunds", "requires_action", &["failed", "canceled"]),
];
/// Violations of which the words are kept, of one world.
const WORDS: usize = 6;

/// Waits until nothing is left undone; what is, otherwise.
pub(crate) async fn drain(world: &World) -> Option<String> {
    world.mend().await;
    let mut random = StdRng::seed_from_u64(world.seed ^ 0xCA_1A);
    let since = Instant::now();
    let mut quiet: Option<Instant> = None;
    while since.elapsed() < DRAINED_WITHIN {
        banks_speak(world, &mut random).await;
        people_decide(world).await;
        if left(world).await == 0 {
            if quiet.get_or_insert_with(Instant::now).elapsed() >= QUIET_FOR {
                return None;
            }
        } else {
            quiet = None;
        }
        sleep(LOOK).await;
    }
    let rows = world.rows("select kind, attempts, payload, run_at - now() as due from jobs limit 10").await;
    Some(format!("{} jobs in the queue; rows: {}", world.queued().await, Value::from(rows)))
}

/// Jobs and copies that are not done. Copies first: a job that is done between the two looks has left its row by then.
async fn left(world: &World) -> i64 {
    let copies = i64::try_from(world.queued().await).unwrap();
    copies + world.count("select count(*) from jobs").await
}

/// What is on its way at a bank arrives, or does not.
async fn banks_speak(world: &World, random: &mut StdRng) {
    let Some(truth) = world.outside(Method::GET, "/_sandbox/truth", String::new()).await else { return };
    for (kind, waits, ends) in BANKS {
        let all = truth[kind].as_array().into_iter().flatten();
        for one in all.filter(|one| one["status"] == waits) {
            let outcome = if random.random_bool(0.7) { "succeeded" } else { ends.choose(random).unwrap() };
            let path = format!("/_sandbox/{kind}/{}/{outcome}", one["id"].as_str().unwrap());
            world.outside(Method::POST, &path, String::new()).await;
        }
    }
    for dispute in truth["disputes"].as_array().into_iter().flatten() {
        let ways: &[&str] = match dispute["status"].as_str().unwrap() {
            "warning_needs_response" => &["escalated", "closed"],
            "needs_response" => &["reviewed"],
            "under_review" => &["won", "lost"],
            _ => continue,
        };
        let path = format!(
            "/_sandbox/disputes/{}/{}",
            dispute["id"].as_str().unwrap(),
            ways.choose(random).unwrap()
        );
        world.outside(Method::POST, &path, String::new()).await;
    }
}

/// An order that waits aside keeps the job that buys its label waiting: somebody takes it up again.
async fn people_decide(world: &World) {
    let waiting = "select distinct o.id, o.resume_to from orders o join jobs j on j.kind = 'shipping-label'
                    where o.status in ('on_hold', 'exception') and j.run_at > now()";
    for row in world.rows(waiting).await {
        let order = OrderId::from(row["id"].as_str().unwrap().parse::<Uuid>().unwrap());
        let to = row["resume_to"].as_str().and_then(Status::named).unwrap();
        let path = format!("/v1/orders/{order}/status");
        let headers = [("if-match", "*".to_owned())];
        let body = json!({"status": to.name()});
        world.ask(Who::Manager, (Method::PUT, &path), &headers, Some(&body), &[200, 409]).await;
    }
}

/// What the audit found, by invariant and in its words; none where all hold.
pub(crate) async fn audit(world: &World, is_over: bool) -> (i64, Vec<String>) {
    let mut command = Command::from(world.command());
    command.args(["audit", "--json"]).args(is_over.then_some("--quiescent"));
    let output = command.output().await.unwrap();
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        return (1, vec![format!("no audit: {}", String::from_utf8_lossy(&output.stderr))]);
    };
    let mut words = Vec::new();
    for check in report["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "violated") {
        for offender in check["sample"].as_array().into_iter().flatten().take(WORDS) {
            words.push(format!("{} ({}): {offender}", check["id"].as_str().unwrap(), check["name"]));
        }
    }
    (report["violations"].as_i64().unwrap(), words)
}

/// Every move that an order of this world made.
pub(crate) async fn moves(world: &World) -> BTreeSet<String> {
    let made = world
        .rows("select distinct from_status || ' > ' || to_status as move from order_events where from_status is not null")
        .await;
    made.iter().map(|row| row["move"].as_str().unwrap().to_owned()).collect()
}

/// What was given up, though each fault ends and every job has more attempts than faults can take. A refund may be refused
/// for good where somebody gave a part of that money back at the provider's own page, be it that a bank refused that in the
/// end: a person is told.
pub(crate) async fn given_up(world: &World) -> Vec<String> {
    let mut dead = world
        .rows(
            "select d.kind, d.code, d.detail, d.payload,
                    (select coalesce(jsonb_agg(p.provider_payment_id), '[]') from payments p
                      where p.order_id = d.order_id and d.kind = 'refund' and d.code = 'refused') as refused
               from dead_letters d",
        )
        .await;
    if dead.is_empty() {
        return Vec::new();
    }
    let truth = world.outside(Method::GET, "/_sandbox/truth", String::new()).await.unwrap_or_default();
    let refunds = truth["refunds"].as_array().into_iter().flatten();
    let elsewhere: BTreeSet<&str> = refunds
        .filter(|refund| refund["metadata"]["refund_id"].is_null())
        .filter_map(|refund| refund["payment_id"].as_str())
        .collect();
    let is_elsewhere = |payment: &Value| payment.as_str().is_some_and(|payment| elsewhere.contains(payment));
    dead.retain(|letter| !letter["refused"].as_array().into_iter().flatten().any(is_elsewhere));
    dead.iter().map(ToString::to_string).collect()
}

/// The whole life of the orders that are named in these words, for whoever has to find out.
pub(crate) async fn timelines(world: &World, words: &[String]) -> String {
    let mut named = BTreeSet::new();
    for word in words
        .iter()
        .flat_map(|words| words.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_'))
    {
        if word.starts_with("ord_") {
            named.insert(word);
        }
    }
    let mut told = String::new();
    for order in named.into_iter().take(3) {
        let mut command = Command::from(world.command());
        let output = command.args(["orders", "show", order]).output().await.unwrap();
        told.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    told
}
