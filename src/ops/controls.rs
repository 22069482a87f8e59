//! What an operator changes while the fleet runs: pauses, limits, drains. Each is written down with its actor.
//!
//! Redis decides about lanes and workers, Postgres keeps who did what. Where Postgres is away the change is made all the
//! same, because that is when somebody has to pause a lane; then the record is a line of the log.

use serde_json::json;
use tracing::warn;

use super::workers::{self, DrainError};
use crate::config::LaneSettings;
use crate::job::Lane;
use crate::queue::{Change, Queue, QueueError};
use crate::store::Store;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlRefused {
    /// Redis.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is no such lane.
    #[error("there is no lane {0:?}; the lanes are {lanes}. Nothing was changed", lanes = Lane::ALL.map(Lane::name).join(", "))]
    UnknownLane(String),
    /// Each partition needs a share of the limit.
    #[error(
        "{0} has {1} partitions, and each needs a share of the limit: say concurrency={1} or more, or 0 for no limit. \
         Nothing was changed"
    )]
    TooFew(Lane, usize),
}

/// Who changes something, and what it is changed in.
#[derive(Clone, Copy)]
pub struct Controls<'a> {
    /// Where the fleet hears of it.
    pub queue: &'a Queue,
    /// Where it is written down.
    pub store: &'a Store,
    /// Who does it.
    pub actor: &'a str,
}

/// The lane of this name.
pub fn lane(name: &str) -> Result<Lane, ControlRefused> {
    Lane::named(name).ok_or_else(|| ControlRefused::UnknownLane(name.to_owned()))
}

impl Controls<'_> {
    /// Hands nothing more of a lane over, in the whole fleet.
    pub async fn pause(&self, lane: Lane) -> Result<(), ControlRefused> {
        self.queue.pause(lane).await?;
        self.note("queues.pause", &json!({ "lane": lane.name() })).await;
        Ok(())
    }

    /// Hands a lane's jobs over again.
    pub async fn resume(&self, lane: Lane) -> Result<(), ControlRefused> {
        self.queue.resume(lane).await?;
        self.note("queues.resume", &json!({ "lane": lane.name() })).await;
        Ok(())
    }

    /// Limits a lane in the whole fleet, from the next claim on; `None` leaves a limit as it is.
    pub async fn limit(
        &self,
        lane: Lane,
        settings: Option<&LaneSettings>,
        (concurrency, rate): (Option<Change>, Option<Change>),
    ) -> Result<(), ControlRefused> {
        let partitions = settings.map_or(1, |set| set.partitions);
        if let Some(Change::To(most @ 1..)) = concurrency
            && usize::try_from(most).is_ok_and(|most| most < partitions)
        {
            return Err(ControlRefused::TooFew(lane, partitions));
        }
        self.queue.limit(lane, concurrency, rate).await?;
        let said = |change: Option<Change>| match change {
            Some(Change::To(most)) => json!(most),
            Some(Change::Default) => json!("default"),
            None => json!(null),
        };
        let detail = json!({ "lane": lane.name(), "concurrency": said(concurrency), "rate": said(rate) });
        self.note("queues.set", &detail).await;
        Ok(())
    }

    /// Asks a worker to drain, as SIGTERM would.
    pub async fn drain(&self, worker: &str) -> Result<(), DrainError> {
        workers::drain(self.queue, worker).await?;
        self.note("workers.drain", &json!({ "worker": worker })).await;
        Ok(())
    }

    async fn note(&self, action: &str, detail: &serde_json::Value) {
        let written = self.store.within(self.store.note(self.actor, action, detail));
        if let Err(error) = written.await {
            warn!(actor = self.actor, action, %detail, %error, "done, and not written down: Postgres is away");
        }
    }
}
