//! What reached the outside world, told by its own books: every payment, refund, label and mail there is one of ours, once.
//!
//! Orders live as in a storm, but the weather is steady: a tenth of the calls at every place goes wrong, in every way that
//! the sandbox knows and that leaves something to do, while workers are killed one after the other. A full run has to meet
//! each of these ways at each place. The sandbox writes each request down before it looks
//! at it, so a second request for one thing shows even where the provider was kind enough to do it once. A mail may come
//! twice, because its server knows no key: those are counted by the product beforehand, and no more of them may be counted
//! than were lost after their text was sent or on their way when a process died.
//!
//! Beside it, in a world in which nothing else goes wrong, workers die between the carrier's yes and our commit.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, stream};
use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::ids::JobId;
use orderfleet::store::stock::Change;
use reqwest::Method;
use serde_json::{Value, json};
use stage::fleet::alone;
use stage::report::{Op, Report};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::plan::{Plan, Scale};
use crate::storm::world::{ARTICLES, World, lay_template};
use crate::storm::{BASE, calm, covered, legal, life, weather};
use books::Books;

mod books;
mod errands;
mod labels;

/// Of the calls at each place, so many go wrong.
const SHARE: f64 = 0.1;
/// Workers of the world.
const WORKERS: u64 = 2;
/// Buyers that are there at the same time: as many as the workers keep up with, for faults to be met by work that waits.
const AT_ONCE: usize = 60;
/// Buyers for each ten orders: a wish may come to nothing.
const BUYERS_OF_TEN: usize = 11;
/// Pieces of each article, for each buyer: what is sold out reaches nobody outside.
const PIECES: usize = 4;
/// Between two deaths: longer than it takes to find out about one.
const LIFE: Duration = Duration::from_secs(7);
/// Webhooks that are held back are let go this often.
const RELEASE: Duration = Duration::from_secs(1);
/// How long mails may take to be done, once nothing goes wrong any more.
const MAILED_WITHIN: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What was done to the world, and what could not be known because of it.
#[derive(Debug, Default)]
struct Harm {
    kills: i64,
    mails_in_flight: i64,
    rules: Vec<Value>,
}

/// Proves it.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let turn = alone();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let servers = Servers::throw_away(Path::new(BASE), Durability::OneSecond).await.unwrap();
    lay_template(&servers).await;
    let orders = plan.sized_for_gate(40, 100, 2_000);
    let deaths = plan.sized_for_gate(3, 6, 100);
    let world = World::begin_with(&servers, plan.seed, orders * BUYERS_OF_TEN / 10, WORKERS).await;
    let (harm, died) =
        tokio::join!(lived(&world, orders * BUYERS_OF_TEN / 10), labels::die(&servers, plan.seed, deaths));
    report.progress(format_args!("{} kills; the faults end", harm.kills));
    let left = calm::drain(&world).await;
    tell(report, &world, &harm, left, plan.scale == Scale::Full).await;
    report.bar(
        "orders",
        figure(world.count("select count(*) from orders").await),
        Op::AtLeast,
        figure(orders),
    );
    died.tell(report);
    world.end(&servers).await;
    servers.stop().await.unwrap();
    drop(turn);
}

/// All buyers come and go, while things go wrong.
async fn lived(world: &World, buyers: usize) -> Harm {
    stocked(world, buyers).await;
    for rules in [weather::steady(SHARE, world.seed), errands::late_scans()] {
        let told = world.outside(Method::POST, "/_sandbox/faults", rules.to_string()).await;
        assert!(told.is_some_and(|told| told.is_array()), "the sandbox took the weather");
    }
    let (legal, over) = (legal(), CancellationToken::new());
    let lives = async {
        let lives =
            stream::iter(0..buyers).map(|number| life::live(world, number, legal[number % legal.len()]));
        lives.buffer_unordered(AT_ONCE).collect::<()>().await;
        over.cancel();
    };
    let ((), mut harm) = tokio::join!(lives, killed(world, &over));
    let rules = world.outside(Method::GET, "/_sandbox/faults", String::new()).await.unwrap();
    harm.rules = rules.as_array().unwrap().iter().filter(|rule| errands::is_fault(rule)).cloned().collect();
    world.outside(Method::DELETE, "/_sandbox/faults", String::new()).await;
    // The sandbox is about to be killed, too: with as few mails on their way as can be.
    let since = Instant::now();
    while since.elapsed() < MAILED_WITHIN
        && world.count("select count(*) from jobs where kind = 'email'").await > 0
    {
        sleep(LOOK).await;
    }
    harm.mails_in_flight += mails_in_flight(world).await;
    harm
}

/// More of each article than so many buyers can wish for.
async fn stocked(world: &World, buyers: usize) {
    let pieces = i64::try_from(buyers * PIECES).unwrap();
    for (sku, _) in ARTICLES {
        let source = format!("count:{}", JobId::new());
        world.store.change_stock(sku, Change::Set(pieces), &source).await.unwrap();
    }
}

/// One worker after the other dies; what the sandbox holds back it lets go.
async fn killed(world: &World, over: &CancellationToken) -> Harm {
    let mut harm = Harm::default();
    let mut since = Instant::now();
    while over.run_until_cancelled(sleep(RELEASE)).await.is_some() {
        world.outside(Method::POST, "/_sandbox/webhooks/release", String::new()).await;
        errands::run(world).await;
        if since.elapsed() >= LIFE {
            world.kill_worker().await;
            // Before its leases end: what it held is still as it left it.
            harm.mails_in_flight += mails_in_flight(world).await;
            harm.kills += 1;
            since = Instant::now();
        }
    }
    harm
}

async fn mails_in_flight(world: &World) -> i64 {
    world.count("select count(*) from effects where name like 'mail:%' and state = 'in_flight'").await
}

/// A count as a figure.
fn figure(count: impl TryInto<u32>) -> f64 {
    count.try_into().map_or(f64::NAN, f64::from)
}

/// Hits of the sandbox's rules that `of` chooses.
fn hits(rules: &[Value], of: impl Fn(&Value) -> bool) -> i64 {
    rules.iter().filter(|rule| of(rule)).map(|rule| rule["hits"].as_i64().unwrap()).sum()
}

async fn tell(report: &mut Report, world: &World, harm: &Harm, left: Option<String>, is_full: bool) {
    let books = Books::open(world).await;
    report.count("kills", harm.kills);
    report.count("injected_faults", hits(&harm.rules, |_| true));
    let met = weather::met(&Value::from(harm.rules.clone()));
    covered(report, "fault_kinds", (&met, &weather::steady_kinds()), is_full);
    let calls: BTreeMap<&str, i64> =
        harm.rules.iter().filter_map(|rule| Some((rule["at"].as_str()?, rule["calls"].as_i64()?))).collect();
    report.note(format!("calls at each place: {}", json!(calls)));
    report.count("raw_requests", books.requests());
    for (what, there, here) in books.sides(world).await {
        report.count(&format!("{what}_at_the_provider"), there);
        report.exactly(&format!("{what}_of_ours"), here, there);
    }
    let mut found = Vec::new();
    for (what, offenders) in books.faults(world).await {
        report.exactly(what, i64::try_from(offenders.len()).unwrap(), 0);
        found.extend(offenders.into_iter().map(|offender| format!("{what}: {offender}")));
    }
    mails(report, world, &books, harm).await;
    let (violations, words) = calm::audit(world, true).await;
    let dead = calm::given_up(world).await;
    let odd = std::mem::take(&mut *world.odd.lock().unwrap());
    report.exactly("violations", violations, 0);
    report.exactly("dead_letters", i64::try_from(dead.len()).unwrap(), 0);
    report.exactly("answers_that_nobody_should_get", i64::try_from(odd.len()).unwrap(), 0);
    report.exactly("undone", left.is_some().into(), 0);
    let found: Vec<String> = found.into_iter().chain(words).chain(dead).chain(odd).chain(left).collect();
    if !found.is_empty() {
        report.progress(calm::timelines(world, &found).await);
    }
    for words in found {
        report.progress(words);
    }
    report.note("Redis: appendfsync everysec; no server is killed here, that is the crash proof's");
}

/// Second copies are no more than were counted, and no more were counted than could not be known.
async fn mails(report: &mut Report, world: &World, books: &Books, harm: &Harm) {
    // Whoever hangs up or is silent after the text leaves it open whether there is a mail.
    let lost = hits(&harm.rules, |rule| rule["at"] == "smtp.data" && rule["what"]["fail"].is_null());
    let counted =
        world.count("select coalesce(sum(possible_duplicates), 0)::bigint from communications").await;
    report.count("drops_after_data", lost);
    report.count("mails_in_flight_at_kills", harm.mails_in_flight);
    report.bar("mails_that_came_again", figure(books.second_copies()), Op::AtMost, figure(counted));
    report.bar("possible_duplicates", figure(counted), Op::AtMost, figure(lost + harm.mails_in_flight));
}
