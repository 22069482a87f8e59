//! The proofs: real processes, real faults, and one line of JSON. `scripts/prove NAME` builds and runs them.
//!
//! A proof is a file here and a line in [`PROOFS`]. It is given a [`Plan`] and fills a report; it must never leave a
//! process running, and never touch a server that it did not start.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a proof that cannot go on should say so, and these are no test functions to clippy"
)]

mod audit;
mod blackhole;
mod boundaries;
mod clock;
mod cluster;
mod commits;
mod crash;
mod effects;
mod envelopes;
mod expiry;
mod fence;
mod flush;
mod full;
mod herd;
mod herd_delayed;
mod outage;
mod plan;
mod poison;
mod provider_down;
mod recovery;
mod replay;
mod retry_after;
mod rolling;
mod scale;
mod slow_disk;
mod storm;
mod trace;
mod upgrade;
mod wedge;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use outage::Server;
use plan::Plan;
use stage::report::Report;

type Proof = fn(Plan, &mut Report) -> LocalBoxFuture<'_, ()>;

/// Every proof, by its name on the command line.
const PROOFS: &[(&str, Proof)] = &[
    ("audit", |plan, report| audit::prove(plan, report).boxed_local()),
    ("commits", |plan, report| commits::prove(plan, report).boxed_local()),
    ("full", |plan, report| full::prove(plan, report).boxed_local()),
    ("herd", |plan, report| herd::prove(plan, report).boxed_local()),
    // One of its drivers, as a process of its own.
    ("herd-driver", |plan, report| herd::drive(plan, report).boxed_local()),
    ("herd-delayed", |plan, report| herd_delayed::prove(plan, report).boxed_local()),
    ("expiry", |plan, report| expiry::prove(plan, report).boxed_local()),
    ("retry-after", |plan, report| retry_after::prove(plan, report).boxed_local()),
    ("crash", |plan, report| crash::prove(plan, report).boxed_local()),
    ("effects", |plan, report| effects::prove(plan, report).boxed_local()),
    ("boundaries", |plan, report| boundaries::prove(plan, report).boxed_local()),
    ("flush", |plan, report| flush::prove(plan, report).boxed_local()),
    ("poison", |plan, report| poison::prove(plan, report).boxed_local()),
    ("provider-down", |plan, report| provider_down::prove(plan, report).boxed_local()),
    ("replay", |plan, report| replay::prove(plan, report).boxed_local()),
    ("scale", |plan, report| scale::prove(plan, report).boxed_local()),
    ("rolling", |plan, report| rolling::prove(plan, report).boxed_local()),
    ("redis-restart", |plan, report| outage::prove(Server::Redis, plan, report).boxed_local()),
    ("pg-restart", |plan, report| outage::prove(Server::Postgres, plan, report).boxed_local()),
    ("upgrade", |plan, report| upgrade::prove(plan, report).boxed_local()),
    ("storm", |plan, report| storm::prove(plan, report).boxed_local()),
    ("slow-disk", |plan, report| slow_disk::prove(plan, report).boxed_local()),
    ("clock", |plan, report| clock::prove(plan, report).boxed_local()),
    ("blackhole", |plan, report| blackhole::prove(plan, report).boxed_local()),
    ("cluster", |plan, report| cluster::prove(plan, report).boxed_local()),
    ("fence", |plan, report| fence::prove(plan, report).boxed_local()),
    ("wedge", |plan, report| wedge::prove(plan, report).boxed_local()),
    ("trace", |plan, report| trace::prove(plan, report).boxed_local()),
    ("recovery", |plan, report| recovery::prove(plan, report).boxed_local()),
];

fn main() -> ExitCode {
    let names: Vec<&str> = PROOFS.iter().map(|(name, _)| *name).collect();
    let Some(plan) = Plan::from_arguments(&names) else { return ExitCode::SUCCESS };
    let (_, proof) = PROOFS.iter().find(|(name, _)| *name == plan.name).expect("the plan checked the name");
    let mut report = Report::begin(&plan.name, plan.seed);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let proved = runtime.block_on(AssertUnwindSafe(proof(plan, &mut report)).catch_unwind());
    if let Err(panicked) = proved {
        let why = panicked.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panicked.downcast_ref::<&str>().map(ToString::to_string));
        report.fail(format!("it could not go on: {}", why.unwrap_or_else(|| "it panicked".to_owned())));
    }
    report.end()
}
