//! What a proof or a bench ends with: one line of JSON, and an exit status that says whether every bar was met.

use std::collections::BTreeMap;
use std::process::ExitCode;

use orderfleet::time::Stopwatch;
use serde::Serialize;

/// Figures, bars and where they were taken. Made at the start, so that it knows how long it took and the load before.
#[derive(Debug, Serialize)]
pub struct Report {
    name: String,
    ok: bool,
    figures: BTreeMap<String, f64>,
    bars: BTreeMap<String, Bar>,
    /// What no number says: settings that were in force, peers that could not be had.
    notes: Vec<String>,
    seed: u64,
    seconds: f64,
    machine: Machine,
    #[serde(skip)]
    since: Stopwatch,
}

/// How a figure is compared with its bar.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Op {
    /// The figure is at most the bar.
    #[serde(rename = "<=")]
    AtMost,
    /// The figure is at least the bar.
    #[serde(rename = ">=")]
    AtLeast,
    /// The figure is the bar.
    #[serde(rename = "==")]
    Is,
}

/// A bar, and whether its figure met it.
#[derive(Debug, Serialize)]
pub struct Bar {
    op: Op,
    value: f64,
    met: bool,
}

/// Where it ran. A load above the number of cores says that others ran too.
#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    load_before: f64,
    load_after: f64,
}

impl Report {
    /// Begins.
    #[must_use]
    pub fn begin(name: &str, seed: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let machine = Machine { cores, load_before: load(), load_after: 0.0 };
        Self {
            name: name.to_owned(),
            ok: true,
            figures: BTreeMap::new(),
            bars: BTreeMap::new(),
            notes: Vec::new(),
            seed,
            seconds: 0.0,
            machine,
            since: Stopwatch::start(),
        }
    }

    /// Tells the one who waits how far it is; on standard error.
    pub fn progress(&self, words: impl std::fmt::Display) {
        eprintln!("[{:>6.1} s] {}: {words}", self.since.elapsed().as_secs_f64(), self.name);
    }

    /// A figure without a bar. The name ends with its unit.
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "figures are for people and ratios"
    )]
    pub fn count(&mut self, name: &str, value: impl TryInto<i64>) {
        self.figure(name, value.try_into().map_or(f64::NAN, |value| value as f64));
    }

    /// A figure without a bar. The name ends with its unit.
    pub fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// A figure and the bar that it must meet.
    pub fn bar(&mut self, name: &str, value: f64, op: Op, bar: f64) {
        let met = match op {
            Op::AtMost => value <= bar,
            Op::AtLeast => value >= bar,
            #[expect(clippy::float_cmp, reason = "counts, which are exact")]
            Op::Is => value == bar,
        };
        if !met {
            self.progress(format_args!("MISSED: {name} is {value}, wanted {op:?} {bar}"));
        }
        self.ok &= met;
        self.figure(name, value);
        self.bars.insert(name.to_owned(), Bar { op, value: bar, met });
    }

    /// A count that must be exactly this.
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub fn exactly(&mut self, name: &str, value: i64, bar: i64) {
        self.bar(name, value as f64, Op::Is, bar as f64);
    }

    /// What no number says.
    pub fn note(&mut self, words: impl Into<String>) {
        self.notes.push(words.into());
    }

    /// It could not go on: no bar is met by what was not measured.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.ok = false;
        self.note(why);
    }

    /// Whether every bar so far is met.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.ok
    }

    /// Prints the line; the status says whether every bar was met.
    #[must_use]
    pub fn end(mut self) -> ExitCode {
        self.seconds = self.since.elapsed().as_secs_f64();
        self.machine.load_after = load();
        println!("{}", serde_json::to_string(&self).expect("numbers and words"));
        if self.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The machine's load over the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// The value below which this share of the samples lies (0.5 is the median); 0 of none. Sorts them.
#[must_use]
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list that fits into memory"
)]
pub fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let place = (share * samples.len() as f64).ceil() as usize;
    samples.get(place.clamp(1, samples.len().max(1)) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_bar_fails_the_report_and_a_met_one_does_not() {
        let mut report = Report::begin("test", 1);
        report.bar("pickup_ms", 1.0, Op::AtMost, 1.5);
        report.exactly("lost_jobs", 0, 0);
        assert!(report.is_ok());
        report.bar("ratio", 4.9, Op::AtLeast, 5.0);
        assert!(!report.is_ok());
    }

    #[test]
    fn quantiles_are_samples() {
        let mut samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!((quantile(&mut samples, 0.5) - 50.0).abs() < 1e-9);
        assert!((quantile(&mut samples, 0.99) - 99.0).abs() < 1e-9);
        assert!((quantile(&mut samples, 1.0) - 100.0).abs() < 1e-9);
        assert!(quantile(&mut [], 0.5).abs() < 1e-9);
    }
}
