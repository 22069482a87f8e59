//! Group commit: under a backlog one transaction takes many jobs, and one bad job in fifty fails alone.
//!
//! Counted by Postgres itself (`xact_commit` of the whole database), which knows nothing of our slices.

use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report};

use crate::plan::Plan;

/// Of so many probes one holds data that Postgres refuses.
const ONE_BAD_IN: u64 = 50;
/// Commits a job, at most.
const BAR: f64 = 0.05;

/// Proves it twice: with good jobs alone, and with a bad one in fifty.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let jobs = plan.sized_for_gate(2_000, 20_000, 200_000);
    let setup =
        Setup::default().set("lanes.housekeeping.slice", 256).set("lanes.housekeeping.concurrency", 2);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    for (name, bad) in [("commits_a_job", 0), ("commits_a_job_with_bad_ones", jobs / ONE_BAD_IN)] {
        let before = fleet.tally().await;
        fleet.insert_probes(jobs - bad, r#""note""#, "0").await;
        fleet.insert_probes(bad, r#""refuse""#, "0").await;
        let commits = fleet.commits().await;
        let mut worker = fleet.working(&[]).await;
        until("the end of the backlog", async || (fleet.open_jobs().await == 0).then_some(())).await;
        let commits = fleet.commits().await - commits;
        worker.signal("TERM");
        worker.ended().await;
        let tally = fleet.tally().await;
        report.progress(format_args!("{jobs} jobs, {bad} of them bad: {commits} commits"));
        #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
        report.bar(name, commits as f64 / jobs as f64, Op::AtMost, BAR);
        report.exactly(
            &format!("{name}_done_jobs"),
            tally.done - before.done,
            i64::try_from(jobs - bad).unwrap(),
        );
        report.exactly(
            &format!("{name}_buried_jobs"),
            tally.buried - before.buried,
            i64::try_from(bad).unwrap(),
        );
    }
    let tally = fleet.tally().await;
    report.exactly("lost_jobs", tally.lost, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    fleet.end().await;
}
