//! The worker dies at every boundary of every kind of job: before and after each of its commits, before and after its
//! call, before it tells the queue. Whatever it was doing is done once.
//!
//! Orders live as in a storm, in a world in which nothing else goes wrong. At each point a death waits for every kind;
//! whoever passes takes it, and a successor takes up the work. In the end the audit judges, against the sandbox's truth
//! too: two payments, refunds, labels or mails for one of ours would show there.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::job::Calls;
use orderfleet::jobs::Kind;
use orderfleet::proof::Point;
use stage::fleet::alone;
use stage::report::{Op, Report};
use tokio::time::{Instant, sleep};

use crate::plan::Plan;
use crate::storm::calm;
use crate::storm::world::{World, lay_template};
use crate::storm::{BASE, legal, life};

/// Orders that live at the same time, and how often as many more come: until every death was met, at most.
const ORDERS: usize = 40;
const ROUNDS: usize = 30;
/// Points that an attempt passes, each with the kind of its job: before and after the load's commit, before and after the
/// call, before and after the settle's commit. The last of them that a job passes is before its outcome is told.
const POINTS: [Point; 6] =
    [Point::Loading, Point::Loaded, Point::Calling, Point::Called, Point::Settling, Point::Settled];
/// How often a payment's event is done, and nobody is told.
const AGAIN: usize = 10;
/// How long a process takes to die of its own hand.
const DYING: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(40);
/// The longest that a death waits for somebody.
const MET_WITHIN: Duration = Duration::from_mins(4);

/// Proves it.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let turn = alone();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let servers = Servers::throw_away(Path::new(BASE), Durability::OneSecond).await.unwrap();
    lay_template(&servers).await;
    let world = World::begin(&servers, plan.seed, ORDERS * ROUNDS).await;
    std::fs::create_dir_all(world.folder.path().join("proof")).unwrap();
    let over = tokio_util::sync::CancellationToken::new();
    let (deaths, ()) = tokio::join!(
        async {
            let deaths = die(&world, report).await;
            over.cancel();
            deaths
        },
        lives(&world, &over)
    );
    // Who took the last death may still be dying.
    sleep(DYING).await;
    world.revive_workers().await;
    let left = calm::drain(&world).await;
    tell(report, &world, &deaths, left).await;
    world.end(&servers).await;
    servers.stop().await.unwrap();
    drop(turn);
}

/// Orders, until every death was met.
async fn lives(world: &World, over: &tokio_util::sync::CancellationToken) {
    let legal = legal();
    for round in 0..ROUNDS {
        if over.is_cancelled() {
            break;
        }
        let mine = (0..ORDERS).map(|at| round * ORDERS + at);
        join_all(mine.map(|number| life::live(world, number, legal[number % legal.len()]))).await;
    }
}

/// What was met, and how often.
#[derive(Default)]
struct Deaths {
    wanted: Vec<(Point, Kind)>,
    met: Vec<(Point, Kind)>,
    again: usize,
    workers: i64,
}

/// One point after the other, all kinds at each, so that no job meets the next death at once.
async fn die(world: &World, report: &Report) -> Deaths {
    let mut deaths = Deaths::default();
    for point in POINTS {
        let wanted: Vec<(Point, Kind)> =
            Kind::ALL.iter().filter(|kind| passes(**kind, point)).map(|kind| (point, *kind)).collect();
        let met = meet(world, &wanted, &mut deaths.workers).await;
        let missed = wanted.iter().filter(|death| !met.contains(death)).map(|(_, kind)| kind.name());
        let missed: Vec<&str> = missed.collect();
        report.progress(format_args!("{}: {} of {} kinds {missed:?}", point.name(), met.len(), wanted.len()));
        deaths.wanted.extend(wanted);
        deaths.met.extend(met);
    }
    for _ in 0..AGAIN {
        let one = [(Point::Loaded, Kind::PaymentConfirmation)];
        deaths.again += meet(world, &one, &mut deaths.workers).await.len();
    }
    deaths
}

/// Whether jobs of this kind pass this point. The probes' are other proofs'; nobody here pays by a configured provider or
/// hears of a mail service, no parcel is silent for a day, and no webhook is lost for good.
fn passes(kind: Kind, point: Point) -> bool {
    let is_product = kind.name() != "probe"
        && !matches!(kind, Kind::PaymentStatus | Kind::ParcelLook | Kind::EventSweep | Kind::MailTold);
    let ends_in_load = matches!(point, Point::Loading | Point::Loaded);
    // It looks only where an event tells nothing of its payment, and the sandbox's events tell all.
    let calls = kind.calls() != Calls::Nobody && kind != Kind::PaymentConfirmation;
    is_product && (ends_in_load || calls)
}

/// Lays these deaths out, and brings the next worker whenever one was taken; those that were.
async fn meet(world: &World, deaths: &[(Point, Kind)], workers: &mut i64) -> Vec<(Point, Kind)> {
    let file = |(point, kind): &(Point, Kind)| {
        world.folder.path().join("proof").join(format!("kill.{}.{}", point.name(), kind.name()))
    };
    for death in deaths {
        std::fs::write(file(death), "").unwrap();
    }
    let since = Instant::now();
    while since.elapsed() < MET_WITHIN && deaths.iter().any(|death| file(death).exists()) {
        *workers += world.revive_workers().await;
        sleep(LOOK).await;
    }
    let (left, met): (Vec<_>, Vec<_>) = deaths.iter().copied().partition(|death| file(death).exists());
    for death in &left {
        // Not to be met in the middle of the next.
        let _ = std::fs::remove_file(file(death));
    }
    sleep(LOOK).await;
    *workers += world.revive_workers().await;
    met
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
async fn tell(report: &mut Report, world: &World, deaths: &Deaths, left: Option<String>) {
    let count = |point, kind| deaths.met.iter().filter(|met| **met == (point, kind)).count();
    report.count("orders", world.count("select count(*) from orders").await);
    report.count("workers_that_died", deaths.workers);
    report.bar("boundaries_met", deaths.met.len() as f64, Op::Is, deaths.wanted.len() as f64);
    let before = count(Point::Loading, Kind::OrderIntent) as f64;
    report.bar("r06_deaths_between_stock_and_commit_of_a_wish", before, Op::AtLeast, 1.0);
    let after = count(Point::Loaded, Kind::OrderIntent) as f64;
    report.bar("r07_deaths_after_the_commit_of_a_wish", after, Op::AtLeast, 1.0);
    let again = (deaths.again + count(Point::Loaded, Kind::PaymentConfirmation)) as f64;
    report.bar("p13_deaths_after_the_commit_of_a_payments_event", again, Op::AtLeast, AGAIN as f64);
    let missed: Vec<String> = deaths
        .wanted
        .iter()
        .filter(|wanted| !deaths.met.contains(wanted))
        .map(|(point, kind)| format!("{} of {}", point.name(), kind.name()))
        .collect();
    if !missed.is_empty() {
        report.note(format!("nobody passed: {}", missed.join(", ")));
    }
    let (violations, words) = calm::audit(world, true).await;
    let dead = calm::given_up(world).await;
    report.exactly("violations", violations, 0);
    report.exactly("dead_letters", i64::try_from(dead.len()).unwrap(), 0);
    report.exactly("undone", left.is_some().into(), 0);
    let odd = std::mem::take(&mut *world.odd.lock().unwrap());
    report.exactly("answers_that_nobody_should_get", i64::try_from(odd.len()).unwrap(), 0);
    for words in words.into_iter().chain(dead).chain(left).chain(odd) {
        report.progress(words);
    }
}
