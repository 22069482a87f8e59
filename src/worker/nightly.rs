//! The audit of every night, and what the last one found, for whoever reads `/metrics`.
//!
//! There is no leader: every worker asks for the night's row, and who gets it audits. What it found stands in that row, so
//! that every worker tells the same, also one that was started since. Only what must hold at every instant is judged,
//! because the fleet works on meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Check, Outcome, Report, Scope};
use crate::ids::jitter;
use crate::store::audits::LastAudit;
use crate::store::{Store, Stored};

/// Between two looks: a night is hours long, and figures that are a minute old are new.
const LOOK: Duration = Duration::from_mins(1);
/// An hour that no day has: nobody audits by itself.
const NEVER: u8 = 24;

/// Audits each night from this hour on, by UTC, and tells what was found, until `stop`.
pub(super) async fn keep(store: Store, hour: u8, worker: String, stop: CancellationToken) {
    loop {
        match stop.run_until_cancelled(look(&store, hour, &worker)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "the nightly audit could not be looked after"),
            // What was begun is taken over by another worker.
            None => return,
        }
        if stop.run_until_cancelled(sleep(LOOK.mul_f64(0.75 + jitter() / 2.0))).await.is_none() {
            return;
        }
    }
}

async fn look(store: &Store, hour: u8, worker: &str) -> Stored<()> {
    if hour < NEVER {
        night(store, hour, worker).await?;
    }
    if let Some(last) = store.within(store.last_audit()).await? {
        show(&last);
    }
    Ok(())
}

/// Audits this night, where its time has come and nobody else has it. Answers whether it did.
pub async fn night(store: &Store, hour: u8, worker: &str) -> Stored<bool> {
    let Some(night) = store.within(store.take_night(hour, worker)).await? else { return Ok(false) };
    let report = audit::run(store, Scope::default()).await?;
    tell(&report);
    let took = Duration::from_millis(u64::try_from(report.millis).unwrap_or(0));
    store.within(store.end_night(night, worker, took, &violations(&report))).await?;
    Ok(true)
}

/// How many break each invariant that was judged.
fn violations(report: &Report) -> BTreeMap<String, u64> {
    let judged = |check: &&Check| !matches!(check.outcome, Outcome::NotApplicable { .. });
    let judged = report.checks.iter().filter(judged);
    judged.map(|check| (check.id.to_owned(), check.outcome.count())).collect()
}

/// Says it in the log, by ids alone.
fn tell(report: &Report) {
    for check in &report.checks {
        if let Outcome::Violated { count, sample } = &check.outcome {
            let offenders: Vec<&str> = sample.iter().map(|offender| offender.id.as_str()).collect();
            let offenders = offenders.join(" ");
            tracing::error!(
                invariant = check.id,
                name = check.name,
                count,
                offenders,
                "an invariant does not hold"
            );
        }
    }
    tracing::info!(millis = report.millis, violations = report.violations, "the night is audited");
}

fn show(last: &LastAudit) {
    for (invariant, count) in &last.violations {
        metrics::gauge!("orderfleet_audit_violations", "invariant" => invariant.clone())
            .set(f64::from(u32::try_from(*count).unwrap_or(u32::MAX)));
    }
    metrics::gauge!("orderfleet_audit_seconds").set(last.took.as_secs_f64());
    metrics::gauge!("orderfleet_audit_ended_at_seconds").set(
        Duration::from_millis(u64::try_from(last.ended_at.timestamp_millis()).unwrap_or(0)).as_secs_f64(),
    );
}
