//! `doctor`: what stands between this configuration and a fleet that keeps its promises, and what to change.
//!
//! It asks every server that the role needs, all at once, each for a few seconds at most, and changes nothing anywhere.
//! It judges what was found; it never prints a secret, so addresses are shown without their login.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Need, Settings};
use crate::domain::country;

mod accounts;
mod postgres_server;
mod providers;
mod redis_server;

/// How long one question may take: a server that needs longer for `select 1` can't carry a fleet.
const PATIENCE: Duration = Duration::from_secs(3);
/// Clocks in one network agree to milliseconds; more than this means that nobody sets one of them.
const SKEW_NOTED: Duration = Duration::from_secs(1);
/// A webhook may be five minutes old by our clock. From here on its way and its repeats no longer fit into that.
const SKEW_REFUSED: Duration = Duration::from_mins(1);

/// What was found, in the order in which an operator should mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One for each question.
    pub checks: Vec<Check>,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at; stable, for scripts.
    pub name: &'static str,
    /// How it stands.
    pub status: Status,
    /// What was seen, without secrets.
    pub found: String,
    /// What to change; empty where all is well.
    pub advice: Vec<String>,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Not looked at: the role does not need it, or what it depends on failed.
    Skipped,
    /// It works, and something would be lost that need not be.
    Warn,
    /// The fleet can't work like this, or can't keep what it promises.
    Fail,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

impl Report {
    /// Whether anything has to be mended before the fleet starts.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.status == Status::Fail)
    }
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), advice: Vec::new() }
    }

    fn skipped(name: &'static str, found: impl Into<String>) -> Self {
        Self { status: Status::Skipped, ..Self::ok(name, found) }
    }

    /// Adds what is to be changed, and how grave it is; the gravest counts.
    fn but(mut self, status: Status, advice: impl Into<String>) -> Self {
        self.status = self.status.max(status);
        self.advice.push(advice.into());
        self
    }

    /// The same, if it `stands`.
    fn but_if(self, stands: bool, status: Status, advice: impl FnOnce() -> String) -> Self {
        if stands { self.but(status, advice()) } else { self }
    }
}

/// Looks at everything that these needs name.
pub async fn examine(settings: &Settings, needs: &[Need]) -> Report {
    // Boxed: three clients' handshakes are large futures.
    let (postgres, redis, providers) = tokio::join!(
        Box::pin(postgres_server::examine(&settings.postgres, needs)),
        Box::pin(redis_server::examine(settings, needs)),
        Box::pin(providers::examine(settings, needs)),
    );
    let mut checks = vec![configuration(settings, needs), open_ports(settings), ops_port(settings)];
    checks.extend(postgres);
    checks.extend(redis);
    checks.extend(providers);
    Report { checks }
}

fn configuration(settings: &Settings, needs: &[Need]) -> Check {
    let mut check = Check::ok("configuration", "complete");
    if let Err(error) = settings.require(needs) {
        check.found = format!("missing settings: {}", error.faults().len());
        check = error.faults().iter().fold(check, |check, fault| check.but(Status::Fail, fault.to_string()));
    }
    check.but_if(!country::exists(&settings.ship_from.country), Status::Fail, || {
        "ship_from.country: there is no such country in ISO 3166: carriers would refuse every label"
            .to_owned()
    })
}

/// Metrics and readiness ask nobody's name: whoever reaches their port reads them.
fn open_ports(settings: &Settings) -> Check {
    let open = [
        ("intake.health_host", settings.intake.health_host, settings.intake.health_port),
        ("worker.health_host", settings.worker.health_host, settings.worker.health_port),
        ("ops.health_host", settings.ops.health_host, settings.ops.health_port),
    ];
    let open: Vec<String> = open
        .into_iter()
        .filter(|(_, host, _)| !host.is_loopback())
        .map(|(setting, host, port)| format!("{setting} {host}, port {port}"))
        .collect();
    let found = if open.is_empty() { "on this machine only".to_owned() } else { open.join("; ") };
    Check::ok("health ports", found).but_if(!open.is_empty(), Status::Warn, || {
        "let nobody but your probes and Prometheus reach it (a firewall, deploy/kubernetes/network.yaml): it asks for no key".to_owned()
    })
}

/// The operators' side asks for a key, and whoever reads keys on their way has them. That TLS stands in front is believed.
fn ops_port(settings: &Settings) -> Check {
    let address = settings.ops.address;
    let is_open = !address.ip().is_loopback();
    let found =
        if is_open { format!("ops.address {address}") } else { format!("{address}, on this machine only") };
    Check::ok("ops port", found).but_if(is_open, Status::Warn, || {
        "let nobody but your TLS proxy reach it (a firewall, deploy/kubernetes/network.yaml): it speaks plain HTTP, and \
         ops.tls_in_front only says that a proxy stands before it"
            .to_owned()
    })
}

/// The report as text: one line for each check, and below it what to change.
#[must_use]
pub fn render(report: &Report) -> String {
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Check { name, status, found, advice } in &report.checks {
        // Writing into a text can't fail.
        let _ = writeln!(text, "{:<7}  {name:<width$}  {found}", status.name());
        for line in advice {
            let _ = writeln!(text, "{:<7}  {:<width$}  → {line}", "", "");
        }
    }
    let count = |status| report.checks.iter().filter(|check| check.status == status).count();
    let _ = match (count(Status::Fail), count(Status::Warn)) {
        (0, 0) => writeln!(text, "\nAll is well."),
        (0, warnings) => writeln!(text, "\nThe fleet can start; warnings: {warnings}."),
        (failures, _) => writeln!(text, "\nNot fit to start; failures: {failures}."),
    };
    text
}

/// How far another clock is from ours, which read `before` and `after` around the question.
fn skew(name: &'static str, before: i64, theirs: i64, after: i64) -> Check {
    let apart = if theirs < before {
        before.abs_diff(theirs)
    } else {
        theirs.saturating_sub(after).max(0).unsigned_abs()
    };
    let apart = Duration::from_millis(apart);
    let status = if apart >= SKEW_REFUSED { Status::Fail } else { Status::Warn };
    let way = if theirs < before { "behind" } else { "ahead of" };
    let found = if apart.is_zero() { "agrees with ours".to_owned() } else { format!("{apart:?} {way} ours") };
    Check::ok(name, found).but_if(apart > SKEW_NOTED, status, || {
        "let NTP set both clocks: signatures of webhooks are judged by ours, deadlines by the database's, leases by Redis's"
            .to_owned()
    })
}

#[cfg(test)]
mod tests;
