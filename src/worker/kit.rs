//! What every attempt of this process needs, and the words in which one is told.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exemplars::Exemplars;
use super::pace::Pace;
use super::reach::Reach;
use crate::ids::JobId;
use crate::jobs::{Job, Loaded, Rules};
use crate::provider::Providers;
use crate::queue::Origin;
use crate::relay::Relay;
use crate::store::Store;
use crate::telemetry::TraceContext;

/// What every attempt of this process needs.
#[derive(Clone)]
pub(super) struct Kit {
    pub(super) store: Store,
    pub(super) relay: Relay,
    pub(super) providers: Arc<Providers>,
    pub(super) rules: Arc<Rules>,
    /// This worker's name: unique for each start of a process.
    pub(super) worker: Arc<str>,
    /// Cancelled when the grace of a drain is over: whatever still runs is handed back.
    pub(super) halt: CancellationToken,
    /// Who outside is there.
    pub(super) reach: Reach,
    /// How much one transaction takes.
    pub(super) pace: Pace,
    /// What jobs look like that end well.
    pub(super) exemplars: Exemplars,
    pub(super) tasks: TaskTracker,
}

/// A delivered job that could be read.
#[derive(Clone)]
pub(super) struct Item<J> {
    pub(super) id: JobId,
    pub(super) origin: Origin,
    pub(super) band: i16,
    pub(super) job: J,
    /// Its last lease ended under a living worker.
    pub(super) overran: bool,
    /// The trace that it belongs to.
    pub(super) trace: Option<TraceContext>,
}

/// A job on its way to the provider.
pub(super) struct Calling<J: Job> {
    pub(super) item: Item<J>,
    pub(super) loaded: Arc<Loaded<J>>,
    pub(super) plan: Arc<J::Plan>,
    /// The fence: settled only where the row still holds it.
    pub(super) run: i32,
    /// Outcomes that counted so far.
    pub(super) attempts: i32,
}

/// Where a job stands after a commit.
pub(super) enum After<J: Job> {
    /// It ended here: its copy goes.
    Finished,
    /// It was given up, for this code: its copy goes too.
    Buried(&'static str),
    /// Its copy waits, with this many attempts spent; with the code of what came between.
    Later(Duration, i32, Option<&'static str>),
    /// It has to be asked for.
    Call(Calling<J>),
    /// One step is done: load it once more.
    Again(Item<J>),
    /// A successor has loaded it: nothing was written but its receipt.
    Overtaken,
}
