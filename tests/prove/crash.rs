//! The crash proof: everything is killed, again and again, while work arrives, and nothing is lost or done twice.
//!
//! Probes arrive as rows of other transactions do, wishes through the real intake with the same key until they are
//! answered. Workers and the intake are killed at random moments, and Redis or Postgres among them. What was done stands in a
//! ledger that no unique key protects; what was accepted stands in a table of the proof's own. Rounds are kept, so that a
//! long run can go on where it ended.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use stage::fleet::{Fleet, Setup, answer};
use stage::process::{Process, until, with};
use stage::report::{Op, Report};
use stage::rounds::Rounds;
use tokio::time::sleep;

use crate::plan::Plan;

/// What arrives in one round.
const PROBES: u64 = 1_800;
const WISHES: u64 = 200;
const WISH_EVERY: Duration = Duration::from_millis(12);
/// Shares of the probes' behaviours.
const ACTS: [(u64, &str); 3] = [(2, r#""note""#), (1, r#"{"call": 30}"#), (1, r#"{"mutate": 30}"#)];
/// Kills in one round, of a worker or of the intake, and the longest pause before each.
const KILLS: u64 = 4;
const PAUSE_MS: u64 = 700;
/// In every round a server is killed as well, Redis and Postgres in turn.
const SERVER_EVERY: u64 = 2;
/// Before which kill of a round that happens, and for how long the server is away.
const SERVER_TURN: u64 = 1;
const SERVER_AWAY: Duration = Duration::from_millis(400);
const WORKERS: usize = 2;
/// Pieces of the article that all of a round want.
const STOCK: i64 = 20;

/// What one round came to.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Round {
    probes: i64,
    wishes: i64,
    kills: i64,
    kills_with_work_in_flight: i64,
    server_kills: i64,
    lost: i64,
    doubled: i64,
    undone: i64,
    dead_letters: i64,
    late: i64,
    wishes_without_an_end: i64,
    sold: i64,
    violations: i64,
    seconds: f64,
}

/// Runs rounds until all of them are kept, and adds them up.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let wanted = plan.sized(2, 51);
    let mut rounds: Rounds<Round> = Rounds::open("crash", plan.seed);
    while rounds.len() < wanted {
        let seed = plan.seed.wrapping_add(rounds.len());
        let round = one(seed, report).await;
        report.progress(format_args!("round {} of {wanted}: {round:?}", rounds.len() + 1));
        rounds.keep(round);
    }
    let sum = |field: fn(&Round) -> i64| rounds.iter().map(field).sum::<i64>();
    report.count("probes", sum(|round| round.probes));
    report.count("wishes", sum(|round| round.wishes));
    report.count("server_kills", sum(|round| round.server_kills));
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
    {
        let jobs = sum(|round| round.probes + round.wishes) as f64;
        report.bar("jobs", jobs, Op::AtLeast, plan.sized(3_900.0, 100_000.0));
        report.bar("kills", sum(|round| round.kills) as f64, Op::AtLeast, plan.sized(8.0, 50.0));
        let in_flight = sum(|round| round.kills_with_work_in_flight) as f64;
        report.bar("kills_with_work_in_flight", in_flight, Op::AtLeast, plan.sized(4.0, 30.0));
    }
    report.exactly("lost_jobs", sum(|round| round.lost), 0);
    report.exactly("doubled_jobs", sum(|round| round.doubled), 0);
    report.exactly("undone_jobs", sum(|round| round.undone), 0);
    report.exactly("dead_letters", sum(|round| round.dead_letters), 0);
    report.exactly("late_writes", sum(|round| round.late), 0);
    report.exactly("wishes_without_an_end", sum(|round| round.wishes_without_an_end), 0);
    report.exactly("sold_otherwise_than_stock", sum(|round| (round.sold - STOCK).abs()), 0);
    report.exactly("audit_violations", sum(|round| round.violations), 0);
    report.figure("seconds_of_all_rounds", rounds.iter().map(|round| round.seconds).sum());
    report.note("Redis: appendfsync always");
}

/// A fleet of its own, work that arrives, kills, and what is left when it has come to rest.
async fn one(seed: u64, report: &Report) -> Round {
    let since = orderfleet::time::Stopwatch::start();
    let mut random = StdRng::seed_from_u64(seed);
    let setup = Setup::default().set("lanes.housekeeping.concurrency", 4).set("lanes.housekeeping.slice", 64);
    // Whoever is told at the door that nothing is left has had an answer, and meets none of the kills.
    let setup = setup.set("intake.sold_out_gate", false);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    answer(&mut with(fleet.command(), ["stock", "set", "SUIT-42R", &STOCK.to_string()]));
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.worker(&[]));
    }
    let mut round = Round::default();
    let doors = fleet.door();
    let wishing = async {
        // Over the whole round, so that some meet every fault; each until it has its 202.
        let wishes = (0..WISHES).map(|n| {
            let doors = &doors;
            async move {
                sleep(WISH_EVERY * u32::try_from(n).unwrap()).await;
                doors.accepted(format!("crash-{seed}-{n}")).await
            }
        });
        futures::future::join_all(wishes).await
    };
    let killing = kill(&mut fleet, &mut workers, &mut random, &mut round, seed);
    let (keys, ()) = tokio::join!(wishing, killing);
    let wishes = i64::try_from(keys.len()).unwrap();
    until("every job's end", async || {
        let ended = fleet.count("select count(*) from order_intents").await;
        (fleet.open_work().await == 0 && ended == wishes).then_some(())
    })
    .await;
    read(&fleet, &mut round, &keys).await;
    for mut worker in workers {
        worker.signal("TERM");
        worker.ended().await;
    }
    fleet.end().await;
    round.seconds = since.elapsed().as_secs_f64();
    if round.undone + round.lost + round.doubled > 0 {
        report.progress("the servers' data is gone with the round; run it again with this seed");
    }
    round
}

async fn kill(fleet: &mut Fleet, workers: &mut [Process], random: &mut StdRng, round: &mut Round, seed: u64) {
    let parts: u64 = ACTS.iter().map(|(share, _)| share).sum();
    for turn in 0..KILLS {
        for (share, act) in ACTS {
            round.probes += fleet.insert_probes(PROBES * share / parts / KILLS, act, "0").await;
        }
        sleep(Duration::from_millis(random.random_range(50..PAUSE_MS))).await;
        let in_flight = fleet.leased().await;
        round.kills += 1;
        round.kills_with_work_in_flight += i64::from(in_flight > 0);
        if turn == SERVER_TURN {
            kill_a_server(fleet, seed).await;
            round.server_kills += 1;
        }
        if turn == KILLS - 1 {
            fleet.kill_intake();
        } else {
            let victim = random.random_range(0..workers.len());
            workers[victim].kill_now();
            workers[victim] = fleet.worker(&[]);
        }
    }
}

/// Redis and Postgres in turn, for long enough that everybody notices.
async fn kill_a_server(fleet: &mut Fleet, seed: u64) {
    if seed.is_multiple_of(SERVER_EVERY) {
        fleet.servers.kill_redis().await.unwrap();
        sleep(SERVER_AWAY).await;
        fleet.servers.start_redis().await.unwrap();
    } else {
        fleet.servers.kill_postgres().await.unwrap();
        sleep(SERVER_AWAY).await;
        fleet.servers.start_postgres().await.unwrap();
    }
}

async fn read(fleet: &Fleet, round: &mut Round, keys: &[String]) {
    let tally = fleet.tally().await;
    assert_eq!(tally.accepted, round.probes, "an insert that was counted is there");
    round.lost = tally.lost;
    round.doubled = tally.doubled;
    round.undone = tally.accepted - tally.done;
    round.late = tally.late;
    round.dead_letters = fleet.count("select count(*) from dead_letters").await;
    round.wishes = i64::try_from(keys.len()).unwrap();
    let ended = fleet.count("select count(*) from order_intents").await;
    round.wishes_without_an_end = round.wishes - ended;
    round.sold = fleet.count("select count(*) from orders").await;
    round.violations = i64::from(!fleet.audit_holds());
}
