//! The storm: worlds full of orders that people and providers pull about, and nothing of it may break an invariant.
//!
//! Each seed is a world of its own: buyers, carts, payments, cancellations, refunds, disputes, moves by staff, holds that
//! run out, stock that changes, every fault that the sandbox knows, and workers that are killed. When it is calm again the
//! audit judges, against the sandbox's truth too. A seed decides what everybody wants; what they find depends on how the work
//! was interleaved. `--seed N` begins with the world N. Worlds that held are kept, so that a long run can go on where it
//! ended; one that did not is run again.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, StreamExt, stream};
use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::domain::order::Status;
use orderfleet::store::StoreError;
use orderfleet::store::stock::{Change, limit_backorders};
use orderfleet::time::Stopwatch;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use stage::fleet::alone;
use stage::report::{Op, Report};
use stage::rounds::Rounds;
use tokio::time::sleep;

use crate::plan::{Plan, Scale};
use weather::{FRONT, Weather};
use world::{ARTICLES, World};

pub(crate) mod browser;
pub(crate) mod calm;
pub(crate) mod life;
mod staff;
pub(crate) mod weather;
pub(crate) mod world;

/// Orders of one world.
const ORDERS: usize = 40;
/// Worlds at once: most of a world's time is waiting for holds to end.
const AT_ONCE: usize = 4;
/// How often stock changes in a world.
const COUNTS: u32 = 8;
/// A worker is killed within this time, in milliseconds; in every second world, twice.
const KILLED_WITHIN_MS: u64 = 9_000;
/// Below the clone, where any user who can build can also start servers.
pub(crate) const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.orderfleet");

/// What one world came to.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Round {
    seed: u64,
    orders: i64,
    paid: i64,
    refunds: i64,
    disputes: i64,
    late: i64,
    kills: i64,
    violations: i64,
    undone: i64,
    given_up: i64,
    odd_answers: i64,
    moves: BTreeSet<String>,
    faults: BTreeSet<String>,
    words: Vec<String>,
    seconds: f64,
}

impl Round {
    fn holds(&self) -> bool {
        self.violations + self.undone + self.given_up + self.odd_answers == 0
    }
}

/// Runs worlds, and adds them up.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let wanted = plan.sized_for_gate(2, 5, 200);
    let is_full = plan.scale == Scale::Full;
    let turn = alone();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let servers = Servers::throw_away(Path::new(BASE), Durability::OneSecond).await.unwrap();
    world::lay_template(&servers).await;
    let mut kept: Rounds<Round> = Rounds::open("storm", plan.seed);
    let known: BTreeSet<u64> = kept.iter().filter(|_| is_full).map(|round| round.seed).collect();
    let seeds = (plan.seed..plan.seed + wanted).filter(|seed| !known.contains(seed));
    let mut rounds: Vec<Round> = Vec::new();
    {
        let at_once = if is_full { AT_ONCE } else { AT_ONCE + 1 };
        let mut worlds = stream::iter(seeds).map(|seed| survived(&servers, seed)).buffer_unordered(at_once);
        while let Some(round) = worlds.next().await {
            tell(report, &round);
            if is_full && round.holds() {
                kept.keep(round);
            } else {
                rounds.push(round);
            }
        }
    }
    servers.stop().await.unwrap();
    drop(turn);
    let all: Vec<&Round> = rounds.iter().chain(kept.iter().filter(|_| is_full)).collect();
    sum_up(report, &all, is_full);
}

fn tell(report: &Report, round: &Round) {
    let Round { seed, orders, paid, refunds, kills, seconds, .. } = round;
    report.progress(format_args!(
        "world {seed}: {orders} orders, {paid} paid, {refunds} refunds, {} moves, {} kinds of faults, {kills} kills, \
         {seconds:.0} s{}",
        round.moves.len(),
        round.faults.len(),
        if round.holds() { "" } else { ": IT DID NOT HOLD" }
    ));
    for words in &round.words {
        report.progress(format_args!("world {seed}: {words}"));
    }
}

fn sum_up(report: &mut Report, all: &[&Round], is_full: bool) {
    let sum = |field: fn(&Round) -> i64| all.iter().map(|round| field(round)).sum::<i64>();
    report.count("worlds", all.len());
    report.count("orders", sum(|round| round.orders));
    report.count("paid_orders", sum(|round| round.paid));
    report.count("refunds", sum(|round| round.refunds));
    report.count("disputes", sum(|round| round.disputes));
    report.count("late_or_surplus_payments", sum(|round| round.late));
    report.count("kills", sum(|round| round.kills));
    report.exactly("violations", sum(|round| round.violations), 0);
    report.exactly("worlds_that_were_never_done", sum(|round| round.undone), 0);
    report.exactly("dead_letters", sum(|round| round.given_up), 0);
    report.exactly("answers_that_nobody_should_get", sum(|round| round.odd_answers), 0);
    let moves: BTreeSet<String> = all.iter().flat_map(|round| round.moves.clone()).collect();
    let legal: BTreeSet<String> = legal().iter().map(|(from, to)| format!("{from} > {to}")).collect();
    covered(report, "legal_moves", (&moves, &legal), is_full);
    let faults: BTreeSet<String> = all.iter().flat_map(|round| round.faults.clone()).collect();
    let kinds: BTreeSet<String> = weather::kinds().into_iter().map(weather::Kind::name).collect();
    covered(report, "fault_kinds", (&faults, &kinds), is_full);
    report.figure("seconds_of_all_worlds", all.iter().map(|round| round.seconds).sum());
    let failed: Vec<String> =
        all.iter().filter(|round| !round.holds()).map(|round| round.seed.to_string()).collect();
    if !failed.is_empty() {
        report
            .note(format!("worlds that did not hold: {}; each is run first by --seed N", failed.join(", ")));
    }
    report.note("Redis: appendfsync everysec; no server is killed here, that is the crash proof's");
}

/// How many of these were met; all of them have to be in a full run.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn covered(
    report: &mut Report,
    name: &str,
    (met, all): (&BTreeSet<String>, &BTreeSet<String>),
    is_full: bool,
) {
    let hit = met.intersection(all).count() as f64;
    report.count(name, all.len());
    if is_full {
        report.bar(&format!("{name}_met"), hit, Op::Is, all.len() as f64);
    } else {
        report.figure(&format!("{name}_met"), hit);
    }
    let missing: Vec<&str> = all.difference(met).map(String::as_str).collect();
    if !missing.is_empty() {
        report.note(format!("{name} not met: {}", missing.join(", ")));
    }
}

/// Every legal move, in a fixed order.
pub(crate) fn legal() -> Vec<(Status, Status)> {
    let pairs = Status::ALL.into_iter().flat_map(|from| Status::ALL.into_iter().map(move |to| (from, to)));
    pairs.filter(|(from, to)| from.may_become(*to)).collect()
}

/// One world; one that could not go on did not hold.
async fn survived(servers: &Servers, seed: u64) -> Round {
    let since = Stopwatch::start();
    let mut round = match AssertUnwindSafe(one(servers, seed)).catch_unwind().await {
        Ok(round) => round,
        Err(panicked) => {
            let why = panicked.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panicked.downcast_ref::<&str>().map(ToString::to_string));
            let why = format!("it could not go on: {}", why.unwrap_or_default());
            Round { seed, undone: 1, words: vec![why], ..Round::default() }
        }
    };
    round.seconds = since.elapsed().as_secs_f64();
    round
}

async fn one(servers: &Servers, seed: u64) -> Round {
    let world = World::begin(servers, seed, ORDERS).await;
    let mut round = Round { seed, ..Round::default() };
    let legal = legal();
    // Following seeds go on where the last one ended.
    let first = usize::try_from(seed % u64::try_from(legal.len()).unwrap()).unwrap() * ORDERS;
    let lives = join_all((0..ORDERS).map(|number| {
        let ambition = legal[(first + number) % legal.len()];
        life::live(&world, number, ambition)
    }));
    let (_, faults, kills, early) = tokio::join!(lives, turns(&world), killed(&world), looked(&world));
    judge(&early, &mut round);
    (round.faults, round.kills) = (faults, kills);
    let left = calm::drain(&world).await;
    round.undone = left.is_some().into();
    round.words.extend(left.map(|left| format!("never done: {left}")));
    judge(&calm::audit(&world, true).await, &mut round);
    let dead = calm::given_up(&world).await;
    round.given_up = i64::try_from(dead.len()).unwrap();
    round.words.extend(dead.into_iter().map(|dead| format!("given up: {dead}")));
    let odd = std::mem::take(&mut *world.odd.lock().unwrap());
    round.odd_answers = i64::try_from(odd.len()).unwrap();
    round.words.extend(odd);
    if !round.holds() {
        round.words.push(calm::timelines(&world, &round.words).await);
    }
    round.moves = calm::moves(&world).await;
    round.orders = world.count("select count(*) from orders").await;
    round.paid = world.count("select count(*) from payments where role = 'primary'").await;
    round.refunds = world.count("select count(*) from refunds").await;
    round.disputes = world.count("select count(*) from disputes").await;
    let late = "select count(*) from payments where state = 'captured' and role <> 'primary'";
    round.late = world.count(late).await;
    world.end(servers).await;
    round
}

fn judge((violations, words): &(i64, Vec<String>), round: &mut Round) {
    round.violations += violations;
    round.words.extend(words.iter().cloned());
}

/// The weather comes and goes, and stock is counted anew; the kinds of faults that happened.
async fn turns(world: &World) -> BTreeSet<String> {
    let weather = Weather::of(world.seed);
    let mut met = BTreeSet::new();
    for front in &weather.fronts {
        let told = world.outside(Method::GET, "/_sandbox/faults", String::new()).await;
        met.extend(weather::met(&told.unwrap()));
        world.outside(Method::DELETE, "/_sandbox/faults", String::new()).await;
        let told = world.outside(Method::POST, "/_sandbox/faults", front.to_string()).await;
        assert!(told.is_some_and(|told| told.is_array()), "the sandbox took the weather");
        counts(world).await;
        world.outside(Method::POST, "/_sandbox/webhooks/release", String::new()).await;
    }
    let told = world.outside(Method::GET, "/_sandbox/faults", String::new()).await;
    met.extend(weather::met(&told.unwrap()));
    met
}

/// For one front, somebody counts what is in the house, and says how many may be sold before they come; less than is held or
/// owed can not be said.
async fn counts(world: &World) {
    let mut random = StdRng::seed_from_u64(world.seed ^ 0x57_0C);
    for turn in 0..COUNTS / 2 {
        sleep(FRONT / (COUNTS / 2)).await;
        let (sku, _) = ARTICLES.choose(&mut random).unwrap();
        let change = match random.random_range(0..3) {
            0 => Change::Set(random.random_range(3..30)),
            _ => Change::Adjust(random.random_range(-2..6)),
        };
        let source = format!("count:{}:{turn}", orderfleet::ids::JobId::new());
        // Refused where customers hold more than would be left.
        let _ = world.store.change_stock(sku, change, &source).await;
        let _ = may_be_owed(world, sku, random.random_range(0..5)).await;
    }
}

/// So many pieces of an article may be sold before they come.
async fn may_be_owed(world: &World, sku: &str, pieces: i64) -> Result<(), StoreError> {
    let mut tx = world.store.begin().await?;
    limit_backorders(&mut tx, sku, pieces).await?;
    tx.commit().await?;
    Ok(())
}

/// In every second world a worker dies in the midst of it, twice.
async fn killed(world: &World) -> i64 {
    if world.seed.is_multiple_of(2) {
        return 0;
    }
    let mut random = StdRng::seed_from_u64(world.seed ^ 0xDEAD);
    for _ in 0..2 {
        sleep(Duration::from_millis(random.random_range(1_000..KILLED_WITHIN_MS))).await;
        world.kill_worker().await;
    }
    2
}

/// What always holds also holds in the midst of it.
async fn looked(world: &World) -> (i64, Vec<String>) {
    let mut random = StdRng::seed_from_u64(world.seed ^ 0xA0D1);
    sleep(Duration::from_millis(random.random_range(3_000..9_000))).await;
    calm::audit(world, false).await
}
