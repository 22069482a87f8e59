//! Workers die between the carrier's yes and our commit: each parcel has its one label all the same, and it is paid once.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use orderfleet::dev::servers::Servers;
use orderfleet::proof::Point;
use reqwest::Method;
use serde_json::Value;
use stage::report::Report;
use tokio::time::{Instant, sleep};

use super::stocked;
use crate::storm::world::World;
use crate::storm::{browser, calm, life};

/// Orders that are paid at the same time: few enough that no hold runs out while the others' workers die.
const COMPANY: usize = 8;
/// Buyers for each death that is wanted: on a machine that stands still for a while, holds run out.
const BUYERS: usize = 2;
/// The longest that it may take, for a hundred deaths.
const MET_WITHIN: Duration = Duration::from_mins(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(40);
/// An order that waits for something.
const UNDER_WAY: &str = "select count(*) from orders
     where status in ('pending_payment', 'payment_confirmed', 'confirmed', 'processing', 'packaging')";

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Died {
    wanted: usize,
    workers: i64,
    /// Labels that were bought, and that no row of ours knew when their worker was dead.
    lost: HashSet<String>,
    /// Number and postage of the labels there, and of ours.
    there: (i64, i64),
    here: (i64, i64),
    purchases: usize,
    violations: i64,
    words: Vec<String>,
}

/// Orders, until so many labels were bought by a worker that could not say so.
pub(super) async fn die(servers: &Servers, seed: u64, wanted: usize) -> Died {
    // Of the worlds in which orders go on to the packers by themselves.
    let buyers = wanted * BUYERS + COMPANY;
    let world = World::begin(servers, seed - seed % 4, buyers).await;
    stocked(&world, buyers).await;
    std::fs::create_dir_all(world.folder.path().join("proof")).unwrap();
    let (since, mut died) = (Instant::now(), Died { wanted, ..Died::default() });
    let mut numbers = 0..buyers;
    while died.lost.len() < wanted && since.elapsed() < MET_WITHIN {
        let company: Vec<usize> = numbers.by_ref().take(COMPANY.min(wanted - died.lost.len())).collect();
        if company.is_empty() {
            break;
        }
        join_all(company.into_iter().map(|number| paid(&world, number))).await;
        while world.count(UNDER_WAY).await > 0 && since.elapsed() < MET_WITHIN {
            let dead = world.revive_workers().await;
            if dead > 0 {
                // Nobody looks the purchase up before the dead worker's leases end.
                died.workers += dead;
                died.lost.extend(unknown_labels(&world).await);
            }
            sleep(LOOK).await;
        }
    }
    let left = calm::drain(&world).await;
    judge(&world, &mut died).await;
    died.words.extend(left);
    world.end(servers).await;
    died
}

/// Buys something; whoever has bought its label dies.
async fn paid(world: &World, number: usize) {
    let Some(order) = life::order_at_once(world, number).await else { return };
    let death = format!("kill.{}.label:{}:1:1:buy", Point::Called.name(), order.id);
    std::fs::write(world.folder.path().join("proof").join(death), "").unwrap();
    browser::pay_at_once(world, &order).await;
}

/// References of labels that the carrier has sold, and that are not in our books.
async fn unknown_labels(world: &World) -> Vec<String> {
    let sold = labels_there(world).await;
    let ours = world.rows("select s.reference from labels l join shipments s on s.id = l.shipment_id").await;
    let ours: HashSet<&str> = ours.iter().filter_map(|row| row["reference"].as_str()).collect();
    let references = sold.iter().filter_map(|label| label["reference"].as_str());
    references.filter(|reference| !ours.contains(reference)).map(str::to_owned).collect()
}

async fn labels_there(world: &World) -> Vec<Value> {
    let labels = world.outside(Method::GET, "/_sandbox/truth?kind=labels", String::new()).await.unwrap();
    labels.as_array().unwrap().clone()
}

async fn judge(world: &World, died: &mut Died) {
    let there = labels_there(world).await;
    let postage = there.iter().map(|label| label["amount_cents"].as_i64().unwrap()).sum();
    died.there = (i64::try_from(there.len()).unwrap(), postage);
    let cost = world.count("select coalesce(sum(cost_minor), 0)::bigint from labels").await;
    died.here = (world.count("select count(*) from labels").await, cost);
    let asked = world.outside(Method::GET, "/_sandbox/truth?kind=requests", String::new()).await.unwrap();
    let is_purchase = |asked: &&Value| asked["path"].as_str().is_some_and(|path| path.ends_with("/buy"));
    died.purchases = asked.as_array().unwrap().iter().filter(is_purchase).count();
    let (violations, words) = calm::audit(world, true).await;
    let dead = calm::given_up(world).await;
    died.violations = violations + i64::try_from(dead.len()).unwrap();
    died.words.extend(words.into_iter().chain(dead));
}

impl Died {
    /// One label and one postage for each, whoever died.
    pub(super) fn tell(self, report: &mut Report) {
        report.count("workers_that_died_of_labels", self.workers);
        report.exactly(
            "labels_bought_by_the_dead",
            i64::try_from(self.lost.len().min(self.wanted)).unwrap(),
            i64::try_from(self.wanted).unwrap(),
        );
        report.exactly("labels_of_the_dead_here", self.here.0, self.there.0);
        report.exactly("purchases_for_the_dead", i64::try_from(self.purchases).unwrap(), self.there.0);
        report.exactly("postage_of_the_dead_cents", self.here.1, self.there.1);
        report.exactly("violations_by_the_dead", self.violations, 0);
        report.exactly("undone_by_the_dead", i64::from(!self.words.is_empty()), 0);
        for words in self.words {
            report.progress(words);
        }
    }
}
