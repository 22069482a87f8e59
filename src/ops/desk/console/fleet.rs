//! The fleet's pages: the overview, one lane with what may be changed of it, one job, `doctor`, the settings in force.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Redirect;
use serde_json::{Value, json};

use super::pages::Page;
use super::session::{Posted, Visitor};
use crate::auth::Action;
use crate::config::shown;
use crate::ids::JobId;
use crate::job::Lane;
use crate::ops::controls;
use crate::ops::desk::Desk;
use crate::ops::desk::fleet::Limit;
use crate::ops::desk::problem::{Code, Problem};
use crate::ops::desk::watch::Seen;
use crate::queue::Change;

/// What the moving part of the overview shows.
pub(super) fn live_facts(seen: &Seen) -> Value {
    let lanes: Vec<Value> =
        seen.report.iter().flat_map(|report| &report.lanes).map(|lane| lane_facts(seen, lane)).collect();
    let sum = |field: &str| lanes.iter().filter_map(|lane| lane[field].as_f64()).sum::<f64>();
    let oldest = lanes.iter().filter_map(|lane| lane["oldest_seconds"].as_u64()).max();
    let live = seen.workers.iter().filter(|worker| worker.live).count();
    let away: Vec<_> =
        seen.report.iter().flat_map(|report| &report.providers).filter(|provider| provider.away).collect();
    json!({
        "at": seen.at, "fault": seen.fault, "workers": seen.workers, "away": away,
        "providers": seen.report.as_ref().map(|report| &report.providers),
        "sums": { "waiting": sum("all_waiting"), "in_flight": sum("in_flight"), "out": sum("out_per_second"),
                  "in": sum("in_per_second"), "dead": sum("all_dead"), "oldest": oldest, "live": live },
        "audit": seen.audit.as_ref().map(|last| json!({
            "ended_at": last.ended_at, "violations": last.violations.values().sum::<u64>(),
            "broken": last.violations.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name).collect::<Vec<_>>() })),
        "has_audit": seen.is_audit_told,
        "lanes": lanes,
    })
}

fn lane_facts(seen: &Seen, lane: &crate::ops::queues::LaneReport) -> Value {
    let mut facts = json!(lane);
    facts["all_waiting"] = json!(lane.all_waiting());
    facts["all_dead"] = json!(lane.dead.map(|dead| dead + lane.buried));
    facts["state"] = json!(lane.state());
    facts["is_held"] = json!(lane.paused || lane.waits_for.is_some() || lane.workers == 0);
    facts["past"] = json!(seen.past.get(lane.lane));
    facts
}

pub(super) async fn overview(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Page {
    let seen = desk.looks.borrow().clone();
    desk.page("overview.html", &visitor, live_facts(&seen))
}

pub(super) async fn lane(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Page, Problem> {
    let lane = controls::lane(&name)?;
    let seen = desk.looks.borrow().clone();
    let found = seen.report.iter().flat_map(|report| &report.lanes).find(|found| found.lane == lane.name());
    let kinds: Vec<&str> =
        crate::jobs::Kind::ALL.iter().filter(|kind| kind.lane() == lane).map(|kind| kind.name()).collect();
    let facts =
        json!({ "name": lane.name(), "lane": found.map(|found| lane_facts(&seen, found)), "kinds": kinds });
    Ok(desk.page("lane.html", &visitor, facts))
}

/// Pauses, resumes or limits a lane.
pub(super) async fn change_lane(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Redirect, Problem> {
    let operator = &posted.visitor.operator;
    operator.require(Action::Configure)?;
    let lane: Lane = controls::lane(&name)?;
    let actor = operator.actor();
    let controls = desk.controls(&actor);
    match posted.field("do") {
        Some("pause") => controls.pause(lane).await?,
        Some("resume") => controls.resume(lane).await?,
        Some("limit") => {
            let limits = (limit(posted.field("concurrency"))?, limit(posted.field("rate"))?);
            controls.limit(lane, desk.settings.lanes.get(lane.name()), limits).await?;
        }
        Some(_) | None => return Err(nothing()),
    }
    Ok(Redirect::to(&format!("/lanes/{}", lane.name())))
}

/// A limit from a form: a number, or nothing typed for what the settings say.
fn limit(typed: Option<&str>) -> Result<Option<Change>, Problem> {
    let limit = match typed {
        None => Limit::Named("default".to_owned()),
        Some(text) => text.trim().parse().map_or_else(|_| Limit::Named(text.to_owned()), Limit::To),
    };
    limit.change().map(Some)
}

fn nothing() -> Problem {
    Problem::new(Code::NothingChosen, "the form does not say what to do. Nothing was changed")
}

pub(super) async fn drain(State(desk): State<Arc<Desk>>, posted: Posted) -> Result<Redirect, Problem> {
    let operator = &posted.visitor.operator;
    operator.require(Action::Configure)?;
    let worker = posted.field("worker").ok_or_else(nothing)?;
    desk.controls(&operator.actor()).drain(worker).await?;
    Ok(Redirect::to("/"))
}

/// Why a job is not running.
pub(super) async fn job(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Page, Problem> {
    let unreadable = |_| Problem::new(Code::NotFound, "a job's id is job_ and 26 letters or digits");
    let job: JobId = id.parse().map_err(unreadable)?;
    Ok(desk.page("job.html", &visitor, json!({ "job": job, "answer": desk.why(job).await? })))
}

pub(super) async fn doctor(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Page, Problem> {
    let found = desk.examined_soon().await?;
    let (seconds, is_old) = (found.since.elapsed().as_secs(), found.is_old());
    let shown = json!({ "checks": found.what.checks, "seconds": seconds, "looks_again": is_old });
    Ok(desk.page("doctor.html", &visitor, shown))
}

pub(super) async fn settings(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Page {
    desk.page("settings.html", &visitor, json!({ "sections": shown::sections(&desk.settings) }))
}
