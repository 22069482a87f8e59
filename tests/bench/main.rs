//! The benches: how fast, how soon, how much memory, and one line of JSON. `scripts/bench NAME` builds and runs them.
//!
//! A bench is a file here and a line in [`BENCHES`]. It is given a [`Plan`] and fills a report; what it is compared with
//! runs beside it in the same run, on the same server, in turn. It must never leave a process running, and never touch a
//! server that it did not start.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on should say so, and these are no test functions to clippy"
)]

mod archive;
mod beside;
mod console;
mod floor;
mod growth;
mod intake;
mod lane;
mod memory;
mod orders;
mod peer;
mod pickup;
mod plan;
mod queue;
mod rig;
mod webhooks;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use plan::Plan;
use stage::report::Report;

type Bench = fn(Plan, &mut Report) -> LocalBoxFuture<'_, ()>;

/// Every bench, by its name on the command line.
const BENCHES: &[(&str, Bench)] = &[
    ("queue", |plan, report| queue::run(plan, report).boxed_local()),
    ("pickup", |plan, report| pickup::run(plan, report).boxed_local()),
    ("intake", |plan, report| intake::run(plan, report).boxed_local()),
    // The floor of the one before, as a process of its own.
    ("intake-floor", |plan, report| intake::serve_floor(plan, report).boxed_local()),
    ("webhooks", |plan, report| webhooks::run(plan, report).boxed_local()),
    ("webhooks-floor", |plan, report| webhooks::serve_floor(plan, report).boxed_local()),
    ("orders", |plan, report| orders::run(plan, report).boxed_local()),
    ("console", |plan, report| console::run(plan, report).boxed_local()),
    ("archive", |plan, report| archive::run(plan, report).boxed_local()),
    ("memory", |plan, report| memory::run(plan, report).boxed_local()),
];

fn main() -> ExitCode {
    let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
    let Some(plan) = Plan::from_arguments(&names) else { return ExitCode::SUCCESS };
    let (_, bench) = BENCHES.iter().find(|(name, _)| *name == plan.name).expect("the plan checked the name");
    let mut report = Report::begin(&plan.name, plan.seed);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let measured = runtime.block_on(AssertUnwindSafe(bench(plan, &mut report)).catch_unwind());
    if let Err(panicked) = measured {
        let why = panicked.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panicked.downcast_ref::<&str>().map(ToString::to_string));
        report.fail(format!("it could not go on: {}", why.unwrap_or_else(|| "it panicked".to_owned())));
    }
    report.end()
}
