//! What every lane holds, does and may do, and how the fleet stands with its providers.
//!
//! Redis says it; Postgres adds the dead letters, and where it is away the rest is told all the same. Rates are what was
//! seen in one second between two looks, and are said to be no more. What one worker does is known from the workers, who look
//! for longer: so this tells the same number of wanted workers as their metric.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::config::Settings;
use crate::job::{Dependency, Lane};
use crate::jobs::needed_by;
use crate::provider::called;
use crate::queue::scale::{Load, Pace, unknown, workers_of};
use crate::queue::{Depth, FleetLimits, ProviderSeen, Queue, QueueError};
use crate::store::Store;
use crate::time::Stopwatch;

/// Between the two looks that the rates are made of.
const APART: Duration = Duration::from_secs(1);

/// All lanes and providers.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Every lane, the most urgent first.
    pub lanes: Vec<LaneReport>,
    /// Those that are away or asked to be left alone, and how many calls run.
    pub providers: Vec<ProviderReport>,
}

/// One lane.
#[derive(Clone, Debug, Serialize)]
pub struct LaneReport {
    /// Its name.
    pub lane: &'static str,
    /// Waiting in each band, express first.
    pub waiting: [u64; 4],
    /// Waiting under suspicion: their last lease ended without a word.
    pub suspects: u64,
    /// Not due yet.
    pub delayed: u64,
    /// In workers' hands.
    pub in_flight: u64,
    /// Waiting for a worker that knows them.
    pub parked: u64,
    /// Buried by Redis alone; a worker moves them to Postgres.
    pub buried: u64,
    /// Dead letters in Postgres that were not replayed; null where Postgres did not answer.
    pub dead: Option<u64>,
    /// Age in seconds of the oldest that waits.
    pub oldest_seconds: Option<u64>,
    /// Jobs pushed in a second.
    pub in_per_second: f64,
    /// Jobs done in a second.
    pub out_per_second: f64,
    /// Seconds until nothing is open, at this speed; null where it does not shrink.
    pub drain_seconds: Option<u64>,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Whom every job here calls, while that one is away.
    pub waits_for: Option<&'static str>,
    /// Jobs in hand at once in the whole fleet; 0 is no limit.
    pub concurrency_limit: u32,
    /// Jobs a second in the whole fleet; 0 is no limit.
    pub rate_limit: u32,
    /// Whether an operator set one of them.
    pub limits_set: bool,
    /// Live workers of this lane.
    pub workers: u64,
    /// Workers that would do what arrives, and work the backlog off in time.
    pub wanted_workers: u64,
    /// Why so many, in a sentence.
    pub wanted_because: String,
}

/// One provider.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderReport {
    /// Its name.
    pub provider: &'static str,
    /// Whether its breaker is open.
    pub away: bool,
    /// For how many seconds.
    pub away_seconds: Option<i64>,
    /// Seconds until one call finds out whether it is back.
    pub probe_in_seconds: Option<i64>,
    /// Seconds for which it asked us to stay away.
    pub hold_seconds: Option<i64>,
    /// Calls under way, where they are limited.
    pub calls: u64,
}

impl LaneReport {
    /// All that waits, under suspicion or not.
    #[must_use]
    pub fn all_waiting(&self) -> u64 {
        self.waiting.iter().sum::<u64>() + self.suspects
    }

    /// Whether it works, and what stands in its way.
    #[must_use]
    pub fn state(&self) -> String {
        if self.paused {
            "PAUSED by an operator".to_owned()
        } else if let Some(provider) = self.waits_for {
            format!("WAITS for {provider}")
        } else if self.workers == 0 {
            "NO WORKER".to_owned()
        } else if self.all_waiting() > 0
            && self.concurrency_limit > 0
            && self.in_flight >= u64::from(self.concurrency_limit)
        {
            "at its limit".to_owned()
        } else {
            "works".to_owned()
        }
    }
}

/// Looks twice, a second apart. `target` is how soon a backlog should be worked off.
pub async fn look(
    queue: &Queue,
    store: &Store,
    settings: &Settings,
    target: Duration,
) -> Result<Report, QueueError> {
    let watch = Stopwatch::start();
    let first = depths(queue).await?;
    let dead = async { tokio::time::timeout(APART, store.dead_by_lane()).await.ok()?.ok() };
    let (dead, ()) = tokio::join!(dead, tokio::time::sleep(APART));
    let (second, apart) = (depths(queue).await?, watch.elapsed());
    let now = queue.now_ms().await?;
    let workers = queue.workers().await?;
    let mut providers = Vec::new();
    for dependency in called(&settings.payment_providers) {
        providers.push(provider(dependency, queue.provider_seen(dependency.name()).await?, now));
    }
    let mut lanes = Vec::new();
    let paces = futures::future::try_join_all(Lane::ALL.into_iter().map(|lane| queue.pace(lane))).await?;
    let is_any_known = paces.iter().any(|pace| pace.is_known());
    for ((lane, pace), (before, after)) in Lane::ALL.into_iter().zip(paces).zip(first.into_iter().zip(second))
    {
        let load = Load::between([&before, &after], apart, workers_of(lane.name(), &workers, now));
        let limits = settings.lanes.get(lane.name()).map(FleetLimits::from).unwrap_or_default();
        let away = needed_by(lane).map(Dependency::name);
        let away =
            away.filter(|name| providers.iter().any(|provider| provider.provider == *name && provider.away));
        let report = Looked { lane, depth: after, load, pace, is_any_known }.report(limits, target, away);
        lanes.push(LaneReport {
            dead: dead.as_ref().map(|dead| dead.get(lane.name()).copied().unwrap_or_default()),
            ..report
        });
    }
    Ok(Report { lanes, providers })
}

async fn depths(queue: &Queue) -> Result<Vec<Depth>, QueueError> {
    futures::future::try_join_all(Lane::ALL.into_iter().map(|lane| queue.depth(lane))).await
}

struct Looked {
    lane: Lane,
    depth: Depth,
    load: Load,
    /// What the workers know of themselves, here and in any lane.
    pace: Pace,
    is_any_known: bool,
}

impl Looked {
    fn report(self, settings: FleetLimits, target: Duration, away: Option<&'static str>) -> LaneReport {
        let Self { lane, depth, load, pace, is_any_known } = self;
        let limits = depth.set.over(settings);
        let load = load.held(&depth, limits, away.is_some());
        // Nobody has looked at a worker's metrics yet: a second is better than nothing.
        let pace = if pace.is_known() { pace } else { pace.learn(load) };
        let wanted = pace.wanted(load, target).unwrap_or_else(|| unknown(is_any_known, load.workers));
        let Load { rates, workers, .. } = load;
        LaneReport {
            lane: lane.name(),
            waiting: depth.bands,
            suspects: depth.suspects,
            delayed: depth.delayed,
            in_flight: depth.leased,
            parked: depth.parked,
            buried: depth.dead,
            dead: None,
            oldest_seconds: depth.oldest_seconds,
            in_per_second: rates.pushed,
            out_per_second: rates.done,
            drain_seconds: rates.drain(depth.waiting() + depth.leased).map(|time| time.as_secs()),
            paused: depth.paused,
            waits_for: away,
            concurrency_limit: limits.concurrency,
            rate_limit: limits.rate,
            limits_set: depth.set.concurrency.is_some() || depth.set.rate.is_some(),
            workers,
            wanted_workers: wanted,
            wanted_because: pace.sentence(load, target, wanted),
        }
    }
}

fn provider(dependency: Dependency, seen: ProviderSeen, now: i64) -> ProviderReport {
    let seconds = |ms: i64| ms.max(0) / 1_000;
    ProviderReport {
        provider: dependency.name(),
        away: seen.probe_at_ms.is_some(),
        away_seconds: seen.open_since_ms.map(|since| seconds(now - since)),
        probe_in_seconds: seen.probe_at_ms.map(|at| seconds(at - now)),
        hold_seconds: seen.hold_until_ms.map(|until| seconds(until - now)),
        calls: seen.calls,
    }
}

/// The report as a table, and below it whatever stands in the way of something.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = format!(
        "{:<13} {:>8} {:>7} {:>9} {:>8} {:>7} {:>8} {:>8} {:>8} {:>6} {:>7} {:>11}  {}\n",
        "lane",
        "waiting",
        "oldest",
        "in flight",
        "delayed",
        "parked",
        "in/s",
        "out/s",
        "drained",
        "dead",
        "workers",
        "limits",
        "state"
    );
    for lane in &report.lanes {
        let waiting = lane.all_waiting();
        let dead = lane.dead.map_or_else(|| "?".to_owned(), |dead| (dead + lane.buried).to_string());
        // Writing into a text can't fail.
        let _ = writeln!(
            text,
            "{:<13} {waiting:>8} {:>7} {:>9} {:>8} {:>7} {:>8.1} {:>8.1} {:>8} {dead:>6} {:>7} {:>11}  {}",
            lane.lane,
            lane.oldest_seconds.map_or_else(|| "–".to_owned(), span),
            lane.in_flight,
            lane.delayed,
            lane.parked,
            lane.in_per_second,
            lane.out_per_second,
            if waiting == 0 {
                "–".to_owned()
            } else {
                lane.drain_seconds.map_or_else(|| "never".to_owned(), span)
            },
            format!("{}/{}", lane.workers, lane.wanted_workers),
            limits(lane),
            lane.state(),
        );
    }
    text.push_str("\nworkers: live/wanted; rates: of the last second; limits: jobs at once, jobs a second, in the whole fleet (* set by an operator)\n");
    for lane in report.lanes.iter().filter(|lane| lane.wanted_workers > lane.workers) {
        let _ = writeln!(text, "{}: {}", lane.lane, lane.wanted_because);
    }
    for provider in &report.providers {
        if provider.away {
            let _ = writeln!(
                text,
                "{} is away for {}: one call finds out in {}; its jobs wait and spend no attempt",
                provider.provider,
                span(provider.away_seconds.unwrap_or_default().unsigned_abs()),
                span(provider.probe_in_seconds.unwrap_or_default().unsigned_abs())
            );
        } else if let Some(seconds) = provider.hold_seconds {
            let _ = writeln!(
                text,
                "{} asked us to stay away for {} more",
                provider.provider,
                span(seconds.unsigned_abs())
            );
        }
    }
    text
}

fn limits(lane: &LaneReport) -> String {
    let limit = |most: u32, unit: &str| if most == 0 { "–".to_owned() } else { format!("{most}{unit}") };
    let mark = if lane.limits_set { "*" } else { "" };
    format!("{} {}{mark}", limit(lane.concurrency_limit, ""), limit(lane.rate_limit, "/s"))
}

/// Seconds for a narrow column.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5_999 => format!("{}m", seconds / 60),
        6_000..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::scale::Rates;

    fn looked(depth: Depth, workers: u64) -> LaneReport {
        let rates = Rates { pushed: 1.0, done: 11.0 };
        let (waiting, is_held) = (depth.waiting(), depth.paused);
        let oldest = Duration::from_secs(depth.oldest_seconds.unwrap_or_default());
        let load = Load { rates, waiting, oldest, is_behind: true, is_held, workers };
        let looked = Looked { lane: Lane::Mail, depth, load, pace: Pace::default(), is_any_known: false };
        looked.report(FleetLimits { concurrency: 8, rate: 0 }, Duration::from_secs(30), None)
    }

    #[test]
    fn a_lane_says_what_it_holds_and_what_stands_in_its_way() {
        let depth = Depth { bands: [1, 2, 3, 4], leased: 8, oldest_seconds: Some(75), ..Depth::default() };
        let lane = looked(depth.clone(), 2);
        assert_eq!((lane.drain_seconds, lane.concurrency_limit), (Some(1), 8));
        assert_eq!(lane.state(), "at its limit");
        assert_eq!(looked(depth.clone(), 0).state(), "NO WORKER");
        let paused = looked(Depth { paused: true, ..depth.clone() }, 0);
        assert_eq!((paused.state().as_str(), paused.wanted_workers), ("PAUSED by an operator", 0));
        let waits = LaneReport { waits_for: Some("smtp"), ..looked(depth, 1) };
        assert_eq!(waits.state(), "WAITS for smtp");
        let text = render(&Report { lanes: vec![waits], providers: Vec::new() });
        let columns: Vec<usize> = text.lines().take(2).map(|line| line.chars().count()).collect();
        assert!(columns[1] >= columns[0], "the columns stand below their names:\n{text}");
        assert!(text.contains("75s") && text.contains('?'), "{text}");
    }

    #[test]
    fn spans_are_short() {
        let spans = [0, 99, 100, 6_000, 172_800].map(span);
        assert_eq!(spans, ["0s", "99s", "1m", "1h", "2d"]);
    }
}
