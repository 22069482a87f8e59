//! The queue: all Redis, all apalis.
//!
//! Redis carries, Postgres decides: this room hands jobs over, at least once, each under a lease with a token, and
//! forgets them when it is told that they are done. It knows no kind, no transaction and no provider. What it must never
//! do: lose what it acknowledged, give a job to two owners who can both finish it, end a worker because Redis is away.
//!
//! ```text
//! push ──► w0…w3 ──claim──► lease ──finish──► gone            every arrow is one script: scripts/*.lua
//!            ▲  ▲             │ ├─delay──► d ──promote──► w
//!            │  └─hand back───┤ ├─park───► pk ──unpark──► w
//!            └──── s, a ◄sweep┘ └─bury───► x
//! ```
//!
//! This is one partition; a lane has one, or several to use several masters of a cluster (`partitions.rs`).
//! [`Queue`] is what intake, relay and operators call; [`Queue::lane`] is what a worker runs: an apalis backend whose
//! task is a [`Slice`], and the [`Outcomes`] that end each delivery.

mod backend;
mod claim;
mod client;
mod durability;
mod entry;
mod envelope;
mod error;
mod gate;
mod hub;
mod intents;
mod keys;
mod lane;
mod lease;
mod limits;
mod listener;
mod locate;
mod looks;
mod news;
mod outcomes;
mod partitions;
mod permits;
mod pulse;
mod resplit;
mod rule;
pub mod scale;
mod scripts;
mod shorthand;
mod slice;
mod sold_out;
#[cfg(test)]
pub(crate) mod tests;
mod visits;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use backend::{LaneBackend, LaneWork, Opening};
pub use client::place;
pub use durability::Durability;
pub use envelope::{Decoded, Envelope, Origin};
pub use error::QueueError;
pub use gate::{Gate, Gauge};
pub use hub::{Card, WorkerSeen};
pub use intents::{Changed, IntentPush, IntentPushed, IntentState, Projection};
pub use lease::Lease;
pub use limits::{FleetLimits, SetLimits};
pub use locate::{Place, Standing};
pub use looks::{Buried, Depth};
pub use outcomes::Outcomes;
pub use permits::{CallLimits, Permits, ProviderSeen, Word};
pub use rule::Change;
pub use slice::{Delivery, Slice};
pub use visits::Allowance;

use crate::config::{LaneSettings, QueueSettings, RedisSettings, ms};
use crate::ids::JobId;
use crate::job::{Band, Lane};
use crate::telemetry::TraceContext;
use crate::time::Clock;
use client::{Link, arg};
use entry::Entry;
use hub::Hub;
use keys::LaneKeys;
use partitions::{Partition, Partitions};

/// The most that one script call may move, whatever is set: Lua unpacks at most some thousand values, and Redis serves
/// nobody else meanwhile.
const MAX_BATCH: usize = 256;

/// The queue's handle; clones share one connection.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    link: Link,
    /// The way of pushes, which may have to wait for replicas.
    door: Link,
    prefix: String,
    settings: QueueSettings,
    partitions: Partitions,
    clock: Clock,
    news: news::News,
    /// One for each worker name that runs lanes in this process (one, outside tests).
    hubs: Mutex<HashMap<String, Arc<Hub>>>,
    /// One lone suspect at a time in this process: two of them would accuse each other.
    solitude: Arc<Semaphore>,
    entry: Entry,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Cancelled when an operator asks this process's worker to drain.
    drain: CancellationToken,
    /// Cancelled when a loop stands still that can not be ended.
    wedged: CancellationToken,
}

/// A job to be pushed.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Its id: pushed twice, it is queued once.
    pub id: JobId,
    /// Its stored kind.
    pub kind: String,
    /// Where it waits.
    pub lane: Lane,
    /// How urgent it is there.
    pub band: Band,
    /// Where it was born.
    pub origin: Origin,
    /// Attempts that its row counts.
    pub attempts: u16,
    /// How long from now until it is due, by Redis's clock; zero is at once.
    pub delay: Duration,
    /// Its payload, as its kind writes it.
    pub body: Vec<u8>,
    /// The trace it belongs to.
    pub traceparent: Option<TraceContext>,
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The queue has it now.
    Queued,
    /// The queue had it already, or keeps it buried.
    Duplicate,
}

impl Queue {
    /// Connects, and refuses a Redis that may lose or evict what it acknowledges, if the settings demand so. `lanes` by their
    /// names say how each is split; one without is not.
    pub async fn connect(
        redis: &RedisSettings,
        queue: &QueueSettings,
        lanes: &BTreeMap<String, LaneSettings>,
    ) -> Result<Self, QueueError> {
        let link = Link::new(redis)?;
        let kept = ms(queue.idempotency_ttl_seconds.saturating_mul(1_000));
        let inner = Inner {
            door: link.for_pushes(redis)?,
            link,
            prefix: redis.prefix.clone(),
            settings: queue.clone(),
            partitions: Partitions::new(&redis.prefix, lanes, kept),
            clock: Clock::real(),
            news: news::News::default(),
            hubs: Mutex::default(),
            solitude: Arc::new(Semaphore::new(1)),
            entry: Entry::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            drain: CancellationToken::new(),
            wedged: CancellationToken::new(),
        };
        let found = durability::examine(&inner.link).await?;
        if redis.require_durable && !found.faults.is_empty() {
            return Err(QueueError::NotDurable(found.faults));
        }
        let queue = Self(Arc::new(inner));
        queue.open_partitions().await?;
        Ok(queue)
    }

    /// What `doctor` says about this Redis.
    pub async fn durability(&self) -> Result<Durability, QueueError> {
        durability::examine(&self.0.link).await
    }

    /// Pushes jobs of any lanes; an answer for each, in order. After an error some may have been pushed: push again.
    pub async fn push(&self, copies: &[Copy]) -> Result<Vec<Pushed>, QueueError> {
        let mut partitions: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
        for (at, copy) in copies.iter().enumerate() {
            let partition = self.0.partitions.of(copy.lane, copy.id.uuid());
            partitions.entry(partition).or_default().push(at);
        }
        // Sent without waiting for each other: one round trip, many calls. One that fails stops no other: they may be
        // for another server.
        let calls = partitions.iter().flat_map(|(partition, places)| {
            places.chunks(self.0.batch()).map(move |places| self.push_batch(*partition, copies, places))
        });
        let mut pushed = vec![Pushed::Duplicate; copies.len()];
        for answered in join_all(calls).await {
            for (at, became) in answered? {
                if let Some(place) = pushed.get_mut(at) {
                    *place = became;
                }
            }
        }
        Ok(pushed)
    }

    async fn push_batch(
        &self,
        partition: Partition,
        copies: &[Copy],
        places: &[usize],
    ) -> Result<Vec<(usize, Pushed)>, QueueError> {
        let pushed_at = self.0.seconds();
        let is_due = |at: &usize| copies.get(*at).is_none_or(|copy| copy.delay.is_zero());
        let (due, later): (Vec<usize>, Vec<usize>) = places.iter().copied().partition(is_due);
        let mut args = Vec::with_capacity(1 + due.len() * 2 + later.len() * 3);
        args.push(arg(due.len()));
        for copy in due.iter().chain(&later).filter_map(|at| copies.get(*at)) {
            args.push(copy.id.uuid().as_bytes().to_vec());
            args.push(copy.envelope(pushed_at).encode());
            if !copy.delay.is_zero() {
                args.push(arg(copy.delay.as_millis()));
            }
        }
        let answers: Vec<i64> = self.0.door.call(&scripts::PUSH, self.0.keys(partition).all(), args).await?;
        let became = answers.into_iter().map(|new| if new == 1 { Pushed::Queued } else { Pushed::Duplicate });
        Ok(due.into_iter().chain(later).zip(became).collect())
    }

    /// Removes jobs, whatever state they are in; answers how many there were. Their holders finish nothing.
    pub async fn drop_jobs(&self, lane: Lane, ids: &[JobId]) -> Result<u64, QueueError> {
        let mut count = 0;
        for partition in self.0.partitions.in_use(lane) {
            for ids in ids.chunks(self.0.batch()) {
                count += self.0.call::<u64>(partition, &scripts::DROP, raw(ids)).await?;
            }
        }
        Ok(count)
    }

    /// Ends what [`Queue::lane`] started and waits for it. Call it after the workers have been drained.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    fn keys(&self, partition: Partition) -> &LaneKeys {
        self.partitions.keys(partition)
    }

    fn batch(&self) -> usize {
        self.settings.batch.clamp(1, MAX_BATCH)
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.clock.unix_seconds()).unwrap_or_default()
    }

    async fn call<T: redis::FromRedisValue + Send>(
        &self,
        partition: Partition,
        script: &redis::Script,
        args: Vec<Vec<u8>>,
    ) -> Result<T, QueueError> {
        self.link.call(script, self.keys(partition).all(), args).await
    }

    fn hub(&self, worker: &str) -> Option<Arc<Hub>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner).get(worker).cloned()
    }
}

impl Copy {
    fn envelope(&self, pushed_at: u32) -> Envelope {
        Envelope {
            band: self.band,
            kind: self.kind.clone(),
            origin: self.origin,
            attempts: self.attempts,
            pushed_at,
            traceparent: self.traceparent,
            body: self.body.clone(),
        }
    }
}

/// Ids as Redis has them: sixteen raw bytes.
fn raw(ids: &[JobId]) -> Vec<Vec<u8>> {
    ids.iter().map(|id| id.uuid().as_bytes().to_vec()).collect()
}

/// An id that Redis gave back.
fn job_id(bytes: &[u8]) -> Result<JobId, QueueError> {
    uuid::Uuid::from_slice(bytes).map(JobId::from).map_err(QueueError::answer)
}
