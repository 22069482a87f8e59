//! FLUSHALL with ten thousand follow-up jobs open: waiting, delayed and in flight. Every one is a row, so every one is done.

use std::time::Duration;

use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report};
use tokio::time::sleep;

use crate::plan::Plan;

/// Jobs of the wipe: how many, how they behave, when they are due.
const JOBS: [(u64, &str, &str); 3] =
    [(6_000, r#"{"call": 200}"#, "0"), (2_000, r#"{"mutate": 20}"#, "0"), (2_000, r#""note""#, "20 seconds")];

/// Wipes Redis once (short) or five times, and waits until all is done.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let setup =
        Setup::default().set("lanes.housekeeping.concurrency", 4).set("lanes.housekeeping.slice", 128);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let _workers = [fleet.working(&[]).await, fleet.working(&[]).await];
    let (mut slowest, mut open_at_wipes) = (0.0_f64, 0);
    for wipe in 1..=plan.sized(1, 5) {
        for (count, act, due) in JOBS {
            fleet.insert_probes(count, act, due).await;
        }
        until("work in flight", async || (fleet.leased().await > 0).then_some(())).await;
        sleep(Duration::from_millis(300)).await;
        let open = fleet.open_jobs().await;
        fleet.redis(&["FLUSHALL"]).await;
        let since = orderfleet::time::Stopwatch::start();
        until("every job's end", async || (fleet.open_jobs().await == 0).then_some(())).await;
        let seconds = since.elapsed().as_secs_f64();
        slowest = slowest.max(seconds);
        open_at_wipes += open;
        report.progress(format_args!("wipe {wipe}: {open} jobs were open, all done after {seconds:.1} s"));
    }
    let tally = fleet.tally().await;
    report.count("open_at_the_wipes", open_at_wipes);
    report.bar("slowest_seconds", slowest, Op::AtMost, 60.0);
    report.exactly("undone_jobs", tally.accepted - tally.done, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.exactly("early_jobs", tally.early, 0);
    report.exactly("dead_letters", fleet.count("select count(*) from dead_letters").await, 0);
    fleet.end().await;
}
