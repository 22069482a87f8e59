//! Poison: jobs that end their process, hang for ever or take all memory, among hundreds of innocent ones, under a
//! supervisor that starts dead workers again. Only the poisonous are given up, and none takes its neighbours along.

use std::process::Command;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use stage::fleet::{Fleet, Setup};
use stage::process::{Process, until_within};
use stage::report::{Op, Report};

use crate::plan::Plan;

const WORKERS: usize = 3;
/// Addresses that a worker may use: far above what it needs, far below what the greedy job wants.
const MEMORY_KIB: u64 = 3_000_000;
/// A job that takes its process along is delivered in a slice, in a small slice, and then alone until its third death.
const DEATHS_EACH: f64 = 5.0;
/// How long all of it may take, in minutes: each death costs a lease, each hang its deadline.
const LONGEST: std::time::Duration = std::time::Duration::from_mins(12);

/// Inserts innocent and poisonous jobs in a random order, and waits until each has its end.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let poisons: &[(u64, &str)] = plan.sized(
        &[(1, r#""abort_in_load""#), (1, r#""abort""#), (1, r#""fill""#), (1, r#""panic""#)],
        &[
            (3, r#""abort_in_load""#),
            (3, r#""abort""#),
            (3, r#""hang""#),
            (2, r#""fill""#),
            (2, r#""panic""#),
        ],
    );
    let innocent = plan.sized(146_u64, 287);
    let bad: u64 = poisons.iter().map(|(count, _)| count).sum();
    let killers: u64 = poisons.iter().filter(|(_, act)| kills(act)).map(|(count, _)| count).sum();
    let setup = Setup::default().set("lanes.housekeeping.concurrency", 2).set("lanes.housekeeping.slice", 64);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let mut order: Vec<&str> = vec![r#"{"call": 50}"#; usize::try_from(innocent).unwrap()];
    for (count, act) in poisons {
        order.extend(std::iter::repeat_n(*act, usize::try_from(*count).unwrap()));
    }
    order.shuffle(&mut StdRng::seed_from_u64(plan.seed));
    for act in order {
        fleet.insert_probes(1, act, "0").await;
    }
    let mut workers: Vec<Process> = (0..WORKERS).map(|_| supervised(&mut fleet)).collect();
    let mut deaths = 0;
    until_within(LONGEST, "every job's end", async || {
        for worker in &mut workers {
            if worker.has_ended() {
                deaths += 1;
                *worker = supervised(&mut fleet);
                report.progress(format_args!("{deaths} workers died"));
            }
        }
        (fleet.open_jobs().await == 0).then_some(())
    })
    .await;
    let innocents = fleet.count(
        "select count(*) from dead_letters as d join probe_jobs as p on p.job = d.job_id where p.act ? 'call'",
    );
    report.exactly("innocent_jobs_given_up", innocents.await, 0);
    let given_up = fleet.count("select count(*) from dead_letters").await;
    report.exactly("poisonous_jobs_not_given_up", i64::try_from(bad).unwrap() - given_up, 0);
    let quarantined = fleet.count("select count(*) from dead_letters where code = 'crashed_worker'").await;
    report.exactly("killers_not_quarantined", i64::try_from(killers).unwrap() - quarantined, 0);
    let tally = fleet.tally().await;
    report.exactly("innocent_jobs_undone", i64::try_from(innocent).unwrap() - tally.done, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.count("deaths", deaths);
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a handful")]
    report.bar("deaths_for_each_killer", f64::from(deaths) / killers as f64, Op::AtMost, DEATHS_EACH);
    drop(workers);
    fleet.end().await;
}

fn kills(act: &str) -> bool {
    ["abort", "fill"].iter().any(|word| act.contains(word))
}

/// A worker that may not take the machine's memory.
fn supervised(fleet: &mut Fleet) -> Process {
    let inner = fleet.command();
    let limited = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limited]).arg(inner.get_program()).args(inner.get_args()).arg("worker");
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    if let Some(folder) = inner.get_current_dir() {
        command.current_dir(folder);
    }
    fleet.worker_as(command)
}
