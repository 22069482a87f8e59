//! The fence: a worker that sleeps past its lease, wakes when its successor has taken over, and can write nothing late.
//!
//! Workers are stopped (SIGSTOP, every thread of them) at eight named points of an attempt, several at once, and continued
//! once another worker has their jobs. What a late write would be shows in the ledger, where each line holds the run that
//! its writer believed in and the run that stood. A receipt is no late write: it must be kept, as evidence.

use std::path::{Path, PathBuf};
use std::time::Duration;

use orderfleet::proof::Point;
use orderfleet::time::Stopwatch;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use stage::fleet::{Fleet, Setup};
use stage::process::{Process, until};
use stage::report::{Op, Report};
use uuid::Uuid;

use crate::plan::Plan;

/// Workers that are stopped in one round, and how many more there are to take over.
const SLEEPERS: usize = 3;
/// Jobs of one round, of each behaviour.
const JOBS: u64 = 24;
/// One that ends in its load, one that calls, one that changes something outside.
const ACTS: [&str; 3] = [r#""note""#, r#"{"call": 20}"#, r#"{"mutate": 20}"#];
/// A stopped worker takes its point within this, or has nothing to do there: then the round goes on without it.
const TAKEN: Duration = Duration::from_secs(8);

/// Rounds beyond those that were wanted, to meet a worker with an answer in its hands.
const MORE: u32 = 10;
/// A worker that was continued has ended all that it held by then.
const AWAKE: Duration = Duration::from_millis(500);

struct Sleeper {
    worker: Process,
    points: PathBuf,
}

/// Stops workers at every point, and counts what they write when they wake.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let wanted = plan.sized_for_gate(3, 15, 200);
    let mut random = StdRng::seed_from_u64(plan.seed);
    let setup = Setup::default().set("lanes.housekeeping.concurrency", 2).set("lanes.housekeeping.slice", 8);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let mut sleepers = Vec::new();
    for _ in 0..SLEEPERS {
        let (worker, points) = fleet.working_apart(&[]).await;
        sleepers.push(Sleeper { worker, points });
    }
    let mut successor = fleet.working(&[]).await;
    let mut seen = Seen::default();
    // A glance looks where the most can go wrong: an answer is in hand.
    let mut turn = plan.sized_for_gate(4, 0, 0);
    let mut more = 0;
    while seen.stops < wanted || (seen.answered == 0 && more < MORE) {
        // Every point in turn, then at random; all workers of a round at one, so that some meet.
        let next = Point::ALL.get(turn).or_else(|| Point::ALL.choose(&mut random)).copied().unwrap();
        // Chance may have had no answer in a stopped worker's hands: then nothing was shown of receipts yet.
        let is_enough = seen.stops >= wanted;
        more += u32::from(is_enough);
        let point = if is_enough { Point::Called } else { next };
        turn += 1;
        round(&fleet, &sleepers, point, &mut seen).await;
        report.progress(format_args!("{} stops, the last at {}", seen.stops, point.name()));
    }
    let tally = fleet.tally().await;
    for sleeper in &mut sleepers {
        sleeper.worker.signal("TERM");
        assert!(sleeper.worker.ended().await.success(), "a worker that had been stopped ends well");
        seen.refused += sleeper.worker.log().matches("stale outcome refused").count();
        seen.overtaken += sleeper.worker.log().matches("overtaken: only").count();
    }
    successor.signal("TERM");
    successor.ended().await;
    tell(report, &fleet, tally, &seen).await;
    fleet.end().await;
}

#[derive(Default)]
struct Seen {
    stops: u64,
    longest_wait: f64,
    /// Mutations whose answer was in a stopped worker's hands.
    answered: i64,
    refused: usize,
    overtaken: usize,
}

async fn tell(report: &mut Report, fleet: &Fleet, tally: stage::probes::Tally, seen: &Seen) {
    report.count("stops", seen.stops);
    report.count("jobs", tally.accepted);
    report.exactly("late_writes", tally.late, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.exactly("lost_jobs", tally.lost, 0);
    report.exactly("undone_jobs", tally.accepted - tally.done, 0);
    report.exactly("buried_jobs", tally.buried, 0);
    report.bar("longest_wait_for_a_locked_row_seconds", seen.longest_wait, Op::AtMost, 3.0);
    report.count("stale_outcomes_refused", seen.refused);
    report.count("overtaken_settles", seen.overtaken);
    let kept = fleet.count("select count(*) from effect_evidence where name like 'probe:%'").await;
    report.count("receipts_kept_as_evidence", kept);
    let answered = u32::try_from(seen.answered).map_or(f64::MAX, f64::from);
    report.bar("answers_in_stopped_hands", answered, Op::AtLeast, 1.0);
    report.exactly("receipts_of_the_stopped_that_are_nowhere", (seen.answered - kept).max(0), 0);
}

async fn round(fleet: &Fleet, sleepers: &[Sleeper], point: Point, seen: &mut Seen) {
    for sleeper in sleepers {
        std::fs::write(file(&sleeper.points, point), "").unwrap();
    }
    for act in ACTS {
        fleet.insert_probes(JOBS, act, "0").await;
    }
    let since = Stopwatch::start();
    let is_over = || since.elapsed() > TAKEN;
    until("stopped workers", async || {
        let all = sleepers.iter().all(|sleeper| sleeper.worker.is_stopped());
        (all || is_over()).then_some(())
    })
    .await;
    let mut asleep = Vec::new();
    for sleeper in sleepers {
        // Not taken: nothing came by. It must not be taken in the middle of the next round.
        let _ = std::fs::remove_file(file(&sleeper.points, point));
        if sleeper.worker.is_stopped() {
            asleep.push((sleeper, fleet.held_by(sleeper.worker.pid()).await));
        }
    }
    let held: Vec<Uuid> = asleep.iter().flat_map(|(_, held)| held.clone()).collect();
    if point == Point::Called {
        seen.answered += answered(fleet, asleep.len()).await;
    }
    seen.longest_wait = seen.longest_wait.max(wait_for_rows(fleet, &held).await);
    for (sleeper, _) in &asleep {
        until("a successor", async || fleet.held_by(sleeper.worker.pid()).await.is_empty().then_some(()))
            .await;
    }
    // What is left is loaded by others, or done.
    until("the successors' work", async || (fleet.open_jobs().await == 0).then_some(())).await;
    for (sleeper, held) in &asleep {
        sleeper.worker.signal("CONT");
        // One that had nothing in its hands proves nothing.
        seen.stops += u64::from(!held.is_empty());
    }
    // What they still had in mind must not take the next round's point.
    tokio::time::sleep(AWAKE).await;
}

fn file(points: &Path, point: Point) -> PathBuf {
    points.join(format!("stop.{}", point.name()))
}

/// At most one answer is in each stopped worker's hands at that point: its next call stands still too.
async fn answered(fleet: &Fleet, asleep: usize) -> i64 {
    let open = "select count(*) from effects where name like 'probe:%' and state = 'in_flight'";
    fleet.count(open).await.min(i64::try_from(asleep).unwrap())
}

/// How long a transaction of somebody else waits for rows that stopped workers may have locked, in seconds.
async fn wait_for_rows(fleet: &Fleet, ids: &[Uuid]) -> f64 {
    let ids = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    if ids.is_empty() {
        return 0.0;
    }
    let since = Stopwatch::start();
    fleet
        .count(&format!(
            "select count(*) from (select id from jobs where id in ({ids}) for update) as locked"
        ))
        .await;
    since.elapsed().as_secs_f64()
}
