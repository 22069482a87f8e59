//! A deployment under load: workers are told to end one after the other, with calls in their hands that their grace is
//! too short for, and others take over at once. Envelopes of an older version lie beside the new ones, and some of a newer
//! version are parked until they can be read. The last change meets an outage of Postgres.

use std::time::Duration;

use orderfleet::time::Stopwatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report};
use tokio::time::sleep;

use crate::envelopes;
use crate::plan::Plan;

/// The grace of this proof: some calls end within it, some do not.
const GRACE_MS: u64 = 1_000;
/// What arrives before each change of a worker. The longest calls outlast a lease: they live by its renewal.
const JOBS: [(u64, &str); 4] =
    [(400, r#""note""#), (300, r#"{"call": 100}"#), (30, r#"{"mutate": 400}"#), (8, r#"{"call": 5500}"#)];
const WORKERS: usize = 2;
/// More calls that are in hand when Postgres goes, and how many of them the worker that ends has at least.
const UNWRITTEN: u64 = 300;
const UNWRITTEN_HELD: usize = 30;

/// Replaces every worker several times.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let changes = plan.sized_for_gate(1, 4, 30);
    let mut random = StdRng::seed_from_u64(plan.seed);
    let setup = Setup::default()
        .set("worker.grace_ms", GRACE_MS)
        .set("lanes.housekeeping.concurrency", 4)
        .set("lanes.housekeeping.slice", 32);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.working(&[]).await);
    }
    let newer = envelopes::lay_newer(&fleet).await;
    let mut older = 0;
    let (mut slowest, mut left_to_leases, mut handed_back, mut failed) = (0.0_f64, 0, 0, 0);
    for change in 0..changes {
        for (count, act) in JOBS {
            fleet.insert_probes(count, act, "0").await;
        }
        older += envelopes::lay_older(&fleet).await;
        until("work in flight", async || (fleet.leased().await > 0).then_some(())).await;
        sleep(Duration::from_millis(random.random_range(100..900))).await;
        let next = fleet.working(&[]).await;
        let mut old = std::mem::replace(&mut workers[change % WORKERS], next);
        let without_postgres = change + 1 == changes;
        if without_postgres {
            // Their answers come when nobody can write them down.
            until("calls in hand", async || {
                if fleet.held_by(old.pid()).await.len() >= UNWRITTEN_HELD {
                    return Some(());
                }
                // The others may have taken them all, and may have ended them.
                fleet.insert_probes(UNWRITTEN, r#"{"call": 700}"#, "0").await;
                None
            })
            .await;
            fleet.servers.kill_postgres().await.unwrap();
        }
        let since = Stopwatch::start();
        old.signal("TERM");
        failed += i64::from(!old.ended().await.success());
        slowest = slowest.max(since.elapsed().as_secs_f64());
        left_to_leases += i64::try_from(fleet.held_by(old.pid()).await.len()).unwrap();
        if without_postgres {
            fleet.servers.start_postgres().await.unwrap();
        }
        handed_back += old.log().matches("handed back while they ran").count();
        report.progress(format_args!("{} workers replaced, the slowest end took {slowest:.2} s", change + 1));
    }
    newer.parked(&fleet).await;
    let known_nowhere = newer.count();
    until("the end of what can be read", async || (fleet.open_jobs().await == known_nowhere).then_some(()))
        .await;
    newer.become_known(&fleet).await;
    until("every job's end", async || (fleet.open_jobs().await == 0).then_some(())).await;
    let tally = fleet.tally().await;
    report.count("jobs", tally.accepted);
    report.count("jobs_in_older_envelopes", older);
    report.count("jobs_in_newer_envelopes", known_nowhere);
    report.exactly("still_parked", envelopes::parked(&fleet).await, 0);
    report.count("slices_handed_back_in_their_calls", handed_back);
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a second and a bit")]
    report.bar("slowest_end_seconds", slowest, Op::AtMost, GRACE_MS as f64 / 1_000.0 + 1.0);
    report.exactly("ended_badly", failed, 0);
    report.exactly("left_to_their_leases", left_to_leases, 0);
    report.exactly("undone_jobs", tally.accepted - tally.done, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.exactly("attempts_spent", fleet.count("select count(*) from attempts_ever").await, 0);
    report.exactly("dead_letters", fleet.count("select count(*) from dead_letters").await, 0);
    report.exactly("strikes", fleet.suspicions().await.0, 0);
    drop(workers);
    fleet.end().await;
}
