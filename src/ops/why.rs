//! Why a job is not running: everything that Postgres, Redis and the fleet know of it, in one sentence and what to do next.
//!
//! [`gather`] asks; [`explain`] judges what was found and asks nobody, so that every answer can be tested.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::queues::span;
use crate::config::Settings;
use crate::ids::JobId;
use crate::job::{Dependency, Lane};
use crate::jobs::needed_by;
use crate::queue::scale::workers_of;
use crate::queue::{FleetLimits, Place, Queue, QueueError, Standing};
use crate::store::Store;
use crate::store::standing::{Given, Row};

/// How long Postgres may take: an answer without it is better than none.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of a job.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its row in Postgres.
    pub row: Option<Row>,
    /// Its dead letter.
    pub given: Option<Given>,
    /// Whether Postgres did not answer.
    pub postgres_silent: bool,
    /// Where Redis has it.
    pub found: Option<(Lane, Standing)>,
    /// How its lane stands.
    pub lane: LaneFacts,
}

/// How a job's lane stands.
#[derive(Clone, Debug, Default)]
pub struct LaneFacts {
    /// Whether an operator paused it.
    pub paused: bool,
    /// Jobs in workers' hands.
    pub leased: u64,
    /// What the whole fleet may do.
    pub limits: FleetLimits,
    /// Live workers.
    pub workers: u64,
    /// Whom every job here calls, while that one is away, and seconds until somebody finds out.
    pub away: Option<(Dependency, u64)>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// A stable code, for scripts.
    pub code: &'static str,
    /// The lane, where it is known.
    pub lane: Option<String>,
    /// The kind, where it is known.
    pub kind: Option<String>,
    /// Why.
    pub because: String,
    /// What to do.
    pub next: String,
}

/// Asks everybody who may know.
pub async fn gather(
    queue: &Queue,
    store: &Store,
    settings: &Settings,
    job: JobId,
) -> Result<Facts, QueueError> {
    let rows = async {
        Ok::<_, crate::store::StoreError>((store.job_row(job).await?, store.job_given_up(job).await?))
    };
    let rows = tokio::time::timeout(PATIENCE, rows).await.ok().and_then(Result::ok);
    let postgres_silent = rows.is_none();
    let (row, given) = rows.unwrap_or_default();
    let mut found = None;
    for lane in Lane::ALL {
        if let Some(standing) = queue.locate(lane, job).await? {
            found = Some((lane, standing));
            break;
        }
    }
    let lane = found.as_ref().map(|(lane, _)| *lane);
    let lane = lane.or_else(|| row.as_ref().and_then(|row| Lane::named(&row.lane)));
    let lane = match lane {
        Some(lane) => lane_facts(queue, settings, lane).await?,
        None => LaneFacts::default(),
    };
    Ok(Facts { row, given, postgres_silent, found, lane })
}

async fn lane_facts(queue: &Queue, settings: &Settings, lane: Lane) -> Result<LaneFacts, QueueError> {
    let (depth, now) = (queue.depth(lane).await?, queue.now_ms().await?);
    let limits = settings.lanes.get(lane.name()).map(FleetLimits::from).unwrap_or_default();
    let workers = workers_of(lane.name(), &queue.workers().await?, now);
    let mut away = None;
    if let Some(needed) = needed_by(lane) {
        let seen = queue.provider_seen(needed.name()).await?;
        away = seen.probe_at_ms.map(|at| (needed, at.saturating_sub(now).max(0).unsigned_abs() / 1_000));
    }
    Ok(LaneFacts {
        paused: depth.paused,
        leased: depth.leased,
        limits: depth.set.over(limits),
        workers,
        away,
    })
}

/// What follows from the facts.
#[must_use]
pub fn explain(facts: &Facts) -> Answer {
    let kind = facts.found.as_ref().and_then(|(_, standing)| standing.kind.clone());
    let kind = kind.or_else(|| facts.row.as_ref().map(|row| row.kind.clone()));
    let lane = facts.found.as_ref().map(|(lane, _)| lane.name().to_owned());
    let lane = lane.or_else(|| facts.row.as_ref().map(|row| row.lane.clone()));
    let (code, because, next) = match (&facts.given, &facts.found, &facts.row) {
        (Some(given), None, _) => given_up(given),
        (_, Some((_, standing)), _) => in_redis(standing, facts),
        (None, None, Some(row)) => in_postgres(row, &facts.lane),
        (None, None, None) if facts.postgres_silent => (
            "unknown",
            "Redis does not know it, and Postgres did not answer".to_owned(),
            "bring Postgres back (`orderfleet doctor`), and ask again".to_owned(),
        ),
        (None, None, None) => (
            "gone",
            "neither Postgres nor Redis knows it: it is done, or never was. A job's row goes with its end"
                .to_owned(),
            "`orderfleet orders show` tells what became of its order".to_owned(),
        ),
    };
    Answer { code, lane, kind, because, next }
}

type Told = (&'static str, String, String);

fn given_up(given: &Given) -> Told {
    let Given { id, died_at, code, detail, replayed_at, dropped } = given;
    match (replayed_at, dropped) {
        (Some(at), _) => (
            "replayed",
            format!(
                "it was given up at {} ({code}), and replayed at {} under a new id",
                when(*died_at),
                when(*at)
            ),
            format!("ask for the new job: its `caused_by` is this one. The dead letter is {id}"),
        ),
        (None, Some((at, reason))) => (
            "dropped",
            format!("it was given up at {} ({code}), and dropped at {}: {reason}", when(*died_at), when(*at)),
            format!("nothing: nobody will run it. `orderfleet dead show {id}` tells what it was"),
        ),
        (None, None) => (
            "dead",
            format!("it was given up at {}: {code}: {detail}", when(*died_at)),
            format!("mend the cause, then `orderfleet dead replay {id}`"),
        ),
    }
}

fn in_postgres(row: &Row, lane: &LaneFacts) -> Told {
    let due = (row.run_at - row.now).num_seconds();
    let failed = last_failure(row);
    if row.relayed_at.is_none() && due > 60 {
        let because = format!(
            "it is due in {}, at {}{failed}; until a minute before it waits in Postgres alone",
            span(due.unsigned_abs()),
            when(row.run_at)
        );
        return ("due_later", because, "nothing".to_owned());
    }
    if row.relayed_at.is_none() {
        let next = if lane.workers == 0 {
            "start a worker: nobody is there to push it".to_owned()
        } else {
            "wait: every worker pushes such rows once a second. If it stays, read the workers' logs for `the sweep could not be done`"
                .to_owned()
        };
        return ("not_pushed", format!("its row waits to be pushed into the queue{failed}"), next);
    }
    let because = format!(
        "it was pushed, and Redis knows it no more: Redis lost it, or it is being settled just now{failed}"
    );
    (
        "lost_by_redis",
        because,
        "wait: the reaper pushes it again within some ten seconds, while a worker runs".to_owned(),
    )
}

fn in_redis(standing: &Standing, facts: &Facts) -> Told {
    let failed = facts.row.as_ref().map(last_failure).unwrap_or_default();
    let Standing { place, deliveries, strikes, .. } = standing;
    match place {
        Place::Leased(worker, left) => (
            "running",
            format!(
                "{worker} has it, for the {deliveries}. time since its last outcome; the lease is renewed, and holds for {left:.1?} now"
            ),
            "nothing: it is running. A kind's deadline ends a call that hangs".to_owned(),
        ),
        Place::Buried(reason) => (
            "buried",
            format!("Redis buried it: {reason}"),
            "wait: a worker of its lane moves it to the dead letters within a second".to_owned(),
        ),
        Place::Parked(since) => (
            "parked",
            format!("no worker knew its kind or version, {} ago", span(since.as_secs())),
            "start a worker of the version that wrote it: it comes back by itself within seconds".to_owned(),
        ),
        Place::Delayed(due) => (
            "delayed",
            format!("it is due in {due:.1?}{failed}"),
            "nothing: it runs when it is due".to_owned(),
        ),
        Place::Waiting(..) | Place::Suspect(_) | Place::Alone(_) | Place::FarBack => {
            held_back(&facts.lane).unwrap_or_else(|| in_line(place, *strikes, &facts.lane, &failed))
        }
    }
}

/// What holds the whole lane back.
fn held_back(lane: &LaneFacts) -> Option<Told> {
    if lane.paused {
        let next = "`orderfleet queues resume LANE`, once the reason for the pause is gone".to_owned();
        return Some(("paused", "an operator paused its lane".to_owned(), next));
    }
    if lane.workers == 0 {
        let next = "start a worker that works this lane; `orderfleet workers` shows which do".to_owned();
        return Some(("no_worker", "no live worker works its lane".to_owned(), next));
    }
    if let Some((provider, probe)) = lane.away {
        let because = format!(
            "{} is away, and every job of the lane calls it; one call finds out in {}",
            provider.name(),
            span(probe)
        );
        return Some((
            "provider_away",
            because,
            "wait, or mend the way to the provider; no attempt is spent".to_owned(),
        ));
    }
    let FleetLimits { concurrency, .. } = lane.limits;
    (concurrency > 0 && lane.leased >= u64::from(concurrency)).then(|| {
        (
            "at_limit",
            format!("its lane is at its limit of {concurrency} jobs in hand at once"),
            "wait, or `orderfleet queues set LANE concurrency=N`".to_owned(),
        )
    })
}

/// Nothing but its turn.
fn in_line(place: &Place, strikes: u32, lane: &LaneFacts, failed: &str) -> Told {
    let next = if lane.limits.rate > 0 {
        format!(
            "wait, or raise the lane's limit of {} jobs a second: `orderfleet queues set LANE rate=N`",
            lane.limits.rate
        )
    } else {
        "wait, or add workers: `orderfleet queues` says how many would do".to_owned()
    };
    match place {
        Place::Waiting(band, before) => {
            let band = format!("{band:?}").to_lowercase();
            ("waiting", format!("it waits its turn: {before} are before it in the band {band}{failed}"), next)
        }
        Place::Suspect(before) => (
            "suspect",
            format!(
                "its worker was lost with it in hand, so it runs in a small slice next: {before} are before it"
            ),
            next,
        ),
        Place::Alone(before) => (
            "alone",
            format!(
                "its workers were lost with it in hand more than once ({strikes} of them with it alone), so it runs alone next: \
                 {before} are before it. Such jobs wait until every hand of a lane is free"
            ),
            "if workers go on dying with it: the third time it is quarantined as a dead letter".to_owned(),
        ),
        Place::FarBack | Place::Delayed(_) | Place::Leased(..) | Place::Parked(_) | Place::Buried(_) => {
            ("waiting", "it waits its turn, behind more than 100,000 others".to_owned(), next)
        }
    }
}

fn last_failure(row: &Row) -> String {
    match &row.last_failure {
        Some((code, detail)) => format!("; attempt {} ended with {code}: {detail}", row.attempts),
        None => String::new(),
    }
}

fn when(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The answer as text.
#[must_use]
pub fn render(job: JobId, answer: &Answer) -> String {
    let Answer { code, lane, kind, because, next } = answer;
    let of = match (kind, lane) {
        (Some(kind), Some(lane)) => format!("  ({kind}, lane {lane})"),
        (None, Some(lane)) => format!("  (lane {lane})"),
        (_, None) => String::new(),
    };
    let next = lane.as_ref().map_or_else(|| next.clone(), |lane| next.replace("LANE", lane));
    format!("{job}{of}  {code}\n  because  {because}\n  do       {next}\n")
}

#[cfg(test)]
#[path = "why/tests.rs"]
mod tests;
