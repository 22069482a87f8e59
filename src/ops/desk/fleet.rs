//! Lanes, workers, the last audit and what `doctor` finds, as their commands tell them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::answer::{self, fresh};
use super::guard::Operator;
use super::problem::{Code, Problem};
use crate::auth::Action;
use crate::ids::JobId;
use crate::ops::controls::{self, Controls};
use crate::ops::{queues, why, workers};
use crate::queue::Change;

/// The longest target: a day, far beyond what anybody waits for.
const LONGEST_TARGET: u64 = 86_400;

impl Desk {
    /// What this operator may change the fleet by.
    pub(super) fn controls<'a>(&'a self, actor: &'a str) -> Controls<'a> {
        Controls { queue: &self.queue, store: &self.store, actor }
    }

    /// How soon a backlog should be worked off where nobody says it.
    pub(super) fn target(&self) -> Duration {
        Duration::from_secs(self.settings.worker.target_wait_seconds)
    }

    /// Why a job is not running.
    pub(super) async fn why(&self, job: JobId) -> Result<why::Answer, Problem> {
        let facts = why::gather(&self.queue, &self.store, &self.settings, job).await?;
        let mut answer = why::explain(&facts);
        if let Some(lane) = &answer.lane {
            answer.next = answer.next.replace("LANE", lane);
        }
        Ok(answer)
    }

    /// The last audit that ended, as JSON; null before the first.
    async fn last_audit(&self) -> Result<Value, Problem> {
        let last = self.store.within(self.store.last_audit()).await?;
        Ok(last.map_or(Value::Null, |last| {
            json!({ "ended_at": last.ended_at, "seconds": last.took.as_secs_f64(),
                    "violations": last.violations.values().sum::<u64>(), "invariants": last.violations })
        }))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    target: Option<String>,
}

pub(super) async fn queues(
    State(desk): State<Arc<Desk>>,
    _operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let target = match answer::query::<Target>(query.as_deref())?.target {
        None => desk.target(),
        Some(text) => {
            let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST_TARGET).contains(seconds));
            Duration::from_secs(seconds.ok_or_else(|| {
                Problem::new(Code::InvalidQuery, format!("target must be seconds, 1 to {LONGEST_TARGET}"))
            })?)
        }
    };
    Ok(fresh(queues::look(&desk.queue, &desk.store, &desk.settings, target).await?))
}

pub(super) async fn why(
    State(desk): State<Arc<Desk>>,
    _operator: Operator,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    let unreadable = |_| Problem::new(Code::NotFound, "a job's id is job_ and 26 letters or digits");
    Ok(fresh(desk.why(job.parse().map_err(unreadable)?).await?))
}

pub(super) async fn pause(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    Path(lane): Path<String>,
) -> Result<Response, Problem> {
    operator.require(Action::Configure)?;
    let lane = controls::lane(&lane)?;
    desk.controls(&operator.actor()).pause(lane).await?;
    Ok(fresh(json!({ "lane": lane.name(), "paused": true })))
}

pub(super) async fn resume(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    Path(lane): Path<String>,
) -> Result<Response, Problem> {
    operator.require(Action::Configure)?;
    let lane = controls::lane(&lane)?;
    desk.controls(&operator.actor()).resume(lane).await?;
    Ok(fresh(json!({ "lane": lane.name(), "paused": false })))
}

/// A limit: a number (0 is none), or `"default"` for what the settings say.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Limit {
    To(u32),
    Named(String),
}

impl Limit {
    pub(super) fn change(self) -> Result<Change, Problem> {
        match self {
            Self::To(most) => Ok(Change::To(most)),
            Self::Named(name) if name == "default" => Ok(Change::Default),
            Self::Named(_) => {
                let detail = "a limit is a whole number (0: no limit) or \"default\". Nothing was changed";
                Err(Problem::new(Code::InvalidBody, detail))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    concurrency: Option<Limit>,
    rate: Option<Limit>,
}

pub(super) async fn limit(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    Path(lane): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    operator.require(Action::Configure)?;
    let lane = controls::lane(&lane)?;
    let Limits { concurrency, rate } = answer::body(body)?;
    if concurrency.is_none() && rate.is_none() {
        return Err(Problem::new(Code::NothingChosen, "say concurrency, rate, or both. Nothing was changed"));
    }
    let change = |limit: Option<Limit>| limit.map(Limit::change).transpose();
    let changes = (change(concurrency)?, change(rate)?);
    desk.controls(&operator.actor()).limit(lane, desk.settings.lanes.get(lane.name()), changes).await?;
    Ok(fresh(json!({ "lane": lane.name(), "set": true })))
}

pub(super) async fn workers(State(desk): State<Arc<Desk>>, _operator: Operator) -> Result<Response, Problem> {
    Ok(fresh(json!({ "workers": workers::look(&desk.queue).await? })))
}

pub(super) async fn drain(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    operator.require(Action::Configure)?;
    desk.controls(&operator.actor()).drain(&id).await?;
    Ok(fresh(json!({ "worker": id, "draining": true })))
}

pub(super) async fn audit(State(desk): State<Arc<Desk>>, _operator: Operator) -> Result<Response, Problem> {
    Ok(fresh(json!({ "last": desk.last_audit().await? })))
}

pub(super) async fn examine(State(desk): State<Arc<Desk>>, _operator: Operator) -> Result<Response, Problem> {
    Ok(fresh(desk.examined().await?.what))
}
