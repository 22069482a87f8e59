//! A wedge: a loop of the queue that stands still is seen from outside, and mended without a restart.
//!
//! A worker's loop is hung on purpose, through a file; it never yields its turn again by itself. Its `/readyz` is asked
//! four times a second. Then an idle worker is watched, for ten minutes in the full form: nothing of that is a wedge.

use std::path::Path;
use std::time::Duration;

use orderfleet::time::Stopwatch;
use reqwest::StatusCode;
use stage::fleet::{Fleet, Setup, free};
use stage::process::until;
use stage::report::{Op, Report};

use crate::plan::Plan;

/// The points at which a loop can be hung, and what readiness calls them at least.
const LOOPS: [&str; 3] = ["claim", "renewal", "outcomes"];
/// Between two questions.
const ASK: Duration = Duration::from_millis(250);
/// Longer than any bar: then it is told as it is.
const LONGEST: Duration = Duration::from_mins(1);

/// Hangs each loop in a worker of its own, and watches an idle one.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let mut fleet = Fleet::set_up(Setup::default()).await;
    fleet.lay_ledger().await;
    let loops = plan.sized(&LOOPS[..1], &LOOPS[..]);
    for name in loops {
        let (seen, healed) = hung(&mut fleet, name, report).await;
        report.bar(&format!("{name}_not_ready_seconds"), seen, Op::AtMost, 15.0);
        report.bar(&format!("{name}_healed_seconds"), healed, Op::AtMost, 30.0);
    }
    let watched = Duration::from_secs(plan.sized(10, 600));
    let alarms = idle(&mut fleet, watched, report).await;
    report.count("watched_seconds", watched.as_secs());
    report.exactly("false_alarms", alarms, 0);
    let tally = fleet.tally().await;
    report.exactly("lost_jobs", tally.lost, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    fleet.end().await;
}

/// Seconds until it is not ready, and until it is again and works, both from the moment at which it was hung.
async fn hung(fleet: &mut Fleet, name: &str, report: &Report) -> (f64, f64) {
    let health = free();
    let port = health.port().to_string();
    let (mut worker, proof) = fleet.working_apart(&[("ORDERFLEET__WORKER__HEALTH_PORT", &port)]).await;
    let ready = format!("http://{health}/readyz");
    until("a ready worker", async || (ask(&ready).await == Some(StatusCode::OK)).then_some(())).await;
    hang(&proof, name);
    if name == "outcomes" {
        // That loop passes its point with an outcome in hand.
        fleet.insert_probes(1, r#""note""#, "0").await;
    }
    let taken = proof.join(format!("hang.{name}"));
    until("a loop that hangs", async || (!taken.exists()).then_some(())).await;
    let watch = Stopwatch::start();
    let mut seen = None;
    let healed = loop {
        let is_ready = ask(&ready).await == Some(StatusCode::OK);
        if !is_ready && seen.is_none() {
            seen = Some(watch.elapsed());
        }
        if is_ready && seen.is_some() || watch.elapsed() > LONGEST {
            break watch.elapsed();
        }
        tokio::time::sleep(ASK).await;
    };
    let seen = seen.unwrap_or(LONGEST);
    report.progress(format_args!("{name}: not ready after {seen:.1?}, healed after {healed:.1?}"));
    // It works again, by itself.
    fleet.insert_probes(20, r#""note""#, "0").await;
    until("the end of the jobs", async || (fleet.open_jobs().await == 0).then_some(())).await;
    assert!(!worker.has_ended(), "it was mended in place");
    worker.signal("TERM");
    worker.ended().await;
    (seen.as_secs_f64(), healed.as_secs_f64())
}

/// How often a worker with nothing to do was not ready, or a loop of it was begun again.
async fn idle(fleet: &mut Fleet, watched: Duration, report: &Report) -> i64 {
    let health = free();
    let port = health.port().to_string();
    let (mut worker, _) = fleet.working_apart(&[("ORDERFLEET__WORKER__HEALTH_PORT", &port)]).await;
    let (ready, metrics) = (format!("http://{health}/readyz"), format!("http://{health}/metrics"));
    until("a ready worker", async || (ask(&ready).await == Some(StatusCode::OK)).then_some(())).await;
    let (watch, mut alarms) = (Stopwatch::start(), 0);
    while watch.elapsed() < watched {
        alarms += i64::from(ask(&ready).await != Some(StatusCode::OK));
        tokio::time::sleep(ASK * 4).await;
    }
    let page = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
    alarms += i64::from(page.contains("orderfleet_loops_begun_again_total{"));
    report.progress(format_args!("idle for {watched:?}: {alarms} alarms"));
    worker.signal("TERM");
    worker.ended().await;
    alarms
}

fn hang(proof: &Path, name: &str) {
    std::fs::write(proof.join(format!("hang.{name}")), "").unwrap();
}

async fn ask(url: &str) -> Option<StatusCode> {
    reqwest::get(url).await.ok().map(|answer| answer.status())
}
