//! How the fleet is watched: logs, readiness and metrics.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub mod health;

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
