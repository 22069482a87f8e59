//! How the fleet is watched: logs, readiness, metrics and traces.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod context;
mod export;
pub mod health;
mod otlp;
pub mod spans;

pub use context::{NoTrace, TraceContext, TraceId};
pub use export::{ExportError, Exporting, check as reach, exports, samples, start as export};

/// Bounds of what is measured in seconds, from a claim on loopback to a call that times out.
const SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Bounds of a job's whole life: its push is known to the second, and a mail may wait for days.
const LIFE: &[f64] = &[1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0];
/// Bounds of slices.
const JOBS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Histograms with bounds that fit what they measure. Names end in their unit.
#[must_use]
pub fn buckets(builder: PrometheusBuilder) -> PrometheusBuilder {
    let bounds = [
        (Matcher::Suffix("_seconds".to_owned()), SECONDS),
        (Matcher::Full("orderfleet_job_life_seconds".to_owned()), LIFE),
        (Matcher::Full("orderfleet_slice_jobs".to_owned()), JOBS),
    ];
    bounds.into_iter().fold(builder, |builder, (matcher, bounds)| {
        // Refused are bounds without a number alone.
        builder.set_buckets_for_metric(matcher, bounds).unwrap_or_default()
    })
}

/// Where what a process logs is written: JSON lines on standard error, or plain ones for a person at a terminal.
///
/// What may stand in a log: ids, codes, counts, durations, addresses of our own servers. Never a customer's name, e-mail,
/// phone or address, never a secret, never a provider's sentence (it may quote any of these). `RUST_LOG` chooses.
pub fn logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let plain = std::io::stderr().is_terminal();
    // A second subscriber is refused and the first one stays, which is what tests with many fleets want.
    let _ = if plain {
        registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).try_init()
    } else {
        registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init()
    };
}
