//! What the lanes of one worker share: what wakes them, and one heartbeat.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::backend::LaneWork;
use super::client::arg;
use super::listener::{Ear, Listener};
use super::partitions::Partition;
use super::pulse::{self, Pulse};
use super::{Queue, QueueError, keys, scripts};
use crate::config::ms;
use crate::job::Lane;

/// A silent worker's card is kept this long, for operators.
const FORGET: Duration = Duration::from_hours(1);

pub(super) struct Hub {
    worker: String,
    host: String,
    ears: Mutex<Vec<Arc<Ear>>>,
    /// Of the heartbeat.
    pulse: Pulse,
    pub(super) stop: CancellationToken,
}

/// What a worker says of itself with each heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The machine that it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// The lanes that it works.
    pub lanes: Vec<String>,
    /// Slices that it can have in hand at once, in all lanes.
    pub slots: usize,
    /// Slices that it has in hand.
    pub busy: usize,
}

/// A worker, as its last heartbeat showed it.
#[derive(Clone, Debug)]
pub struct WorkerSeen {
    /// Its name: unique for each start of a process.
    pub name: String,
    /// What it said of itself; none where it is of a version that says it otherwise.
    pub card: Option<Card>,
    /// Milliseconds since 1970 of its last heartbeat, by Redis's clock.
    pub beat_at_ms: i64,
}

/// Who lives, and for how long the Redis that knows it has been steady.
pub(super) struct Census {
    pub(super) steady: Duration,
    pub(super) live: Vec<Vec<u8>>,
    /// Whether an operator asks the one that beats to drain.
    pub(super) drain: bool,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// The ear of a lane's partition in the worker's hub, which is started at the first call.
    pub(super) fn join(
        queue: &Queue,
        partition: Partition,
        work: &LaneWork,
        hands: &Arc<Semaphore>,
    ) -> Arc<Ear> {
        let LaneWork { worker, host, .. } = work;
        let mut hubs = locked(&queue.0.hubs);
        let hub = hubs.entry(worker.clone()).or_insert_with(|| {
            let hub = Arc::new(Self {
                worker: worker.clone(),
                host: host.clone(),
                ears: Mutex::default(),
                pulse: Pulse::new(),
                stop: queue.0.stop.child_token(),
            });
            queue.0.tasks.spawn(Arc::clone(&hub).tend(queue.clone()));
            hub
        });
        let mut ears = locked(&hub.ears);
        let shared = ears.first().filter(|_| !queue.0.link.has_slots()).map(|ear| Arc::clone(&ear.listener));
        let listener = shared.unwrap_or_else(|| Listener::start(queue, hub.stop.child_token()));
        let ear = Ear::at(&listener, partition, work, hands);
        ears.push(Arc::clone(&ear));
        ear
    }

    /// The lane works no more; with the last one the hub ends, and the worker is no longer among the living.
    pub(super) fn leave(&self, queue: &Queue, lane: Lane) {
        // In the order of `join`: the hubs first, so that nobody joins a hub that ends.
        let mut hubs = locked(&queue.0.hubs);
        let mut ears = locked(&self.ears);
        ears.extract_if(.., |ear| ear.partition.lane == lane).for_each(|ear| ear.leave());
        if ears.is_empty() {
            self.stop.cancel();
            hubs.remove(&self.worker);
        }
    }

    /// How long ago the loops turned last, by lane and for what the lanes share.
    fn turning(&self) -> Vec<(&'static str, Duration)> {
        let ears = locked(&self.ears);
        let mut lanes: Vec<(&'static str, Duration)> = Vec::new();
        for ear in ears.iter() {
            let (lane, age) = (ear.partition.lane.name(), ear.pulses.age());
            match lanes.iter_mut().find(|(name, _)| *name == lane) {
                Some((_, oldest)) => *oldest = age.max(*oldest),
                None => lanes.push((lane, age)),
            }
        }
        let hearing = ears.iter().map(|ear| ear.listener.pulse.age()).max().unwrap_or_default();
        lanes.extend([("wake-ups", hearing), ("heartbeat", self.pulse.age())]);
        lanes
    }

    /// Keeps the heartbeat turning.
    async fn tend(self: Arc<Self>, queue: Queue) {
        let beat = || Arc::clone(&self).beat(queue.clone());
        pulse::tend(&queue.0.tasks, "heartbeat", &self.pulse, &queue.0.wedged, beat).await;
    }

    fn card(&self) -> Card {
        let ears = locked(&self.ears);
        // The partitions of a lane share its hands.
        let lanes = || ears.iter().filter(|ear| ear.partition.is_home());
        Card {
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lanes: lanes().map(|ear| ear.partition.lane.name().to_owned()).collect(),
            slots: lanes().map(|ear| ear.slots).sum(),
            busy: lanes().map(|ear| ear.busy()).sum(),
        }
    }

    async fn beat(self: Arc<Self>, queue: Queue) {
        let every = ms(queue.0.settings.renew_ms);
        loop {
            self.pulse.beat();
            let card = serde_json::to_string(&self.card()).unwrap_or_default();
            match census(&queue, &self.worker, &card).await {
                Ok(census) if census.drain => queue.0.drain.cancel(),
                Ok(_) => {}
                Err(error) => warn!(%error, "heartbeat failed"),
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(every) => {}
            }
        }
        // Ended on purpose: it holds nothing, so nothing can be laid to its charge.
        let [beats, cards, _, drains, _] = keys::workers(&queue.0.prefix);
        for (remove, key) in [("ZREM", beats), ("HDEL", cards), ("HDEL", drains)] {
            let _: Result<i64, _> =
                queue.0.link.send(&key, redis::cmd(remove).arg(&key).arg(&self.worker)).await;
        }
    }
}

/// Beats for `worker` (nobody, if it is empty), asks who lives, and tells and hears how the lanes are split. A beat is good for a lease less a renewal: leases are
/// renewed at the same rhythm, so whoever let one end beats no more, or lives.
pub(super) async fn census(queue: &Queue, worker: &str, card: &str) -> Result<Census, QueueError> {
    let settings = &queue.0.settings;
    let good_for = settings.lease_ms.saturating_sub(settings.renew_ms);
    let mut args = vec![worker.into(), card.into(), arg(good_for), arg(FORGET.as_millis())];
    args.extend(queue.0.partitions.told());
    let answer: Vec<redis::Value> =
        queue.0.link.call(&scripts::BEAT, &keys::workers(&queue.0.prefix), args).await?;
    let mut answer = answer.into_iter();
    let steady = answer.next().map(super::client::number).transpose()?.unwrap_or_default();
    let drain = answer.next().map(super::client::number).transpose()? == Some(1);
    let partitions = answer.next().map(redis::from_redis_value).transpose().map_err(QueueError::answer)?;
    queue.0.partitions.hear(partitions.unwrap_or_default())?;
    let live = answer.map(super::client::bytes).collect::<Result<_, _>>()?;
    Ok(Census { steady: ms(u64::try_from(steady).unwrap_or_default()), live, drain })
}

impl Queue {
    /// Every worker that beat within the last hour, and did not end on purpose.
    pub async fn workers(&self) -> Result<Vec<WorkerSeen>, QueueError> {
        let [beats, cards, ..] = keys::workers(&self.0.prefix);
        let mut range = redis::cmd("ZRANGE");
        range.arg(&beats).arg(0).arg(-1).arg("WITHSCORES");
        let found: Vec<(String, f64)> = self.0.link.send(&beats, &range).await?;
        let known: std::collections::HashMap<String, String> =
            self.0.link.send(&cards, redis::cmd("HGETALL").arg(&cards)).await?;
        Ok(found
            .into_iter()
            .map(|(name, at)| WorkerSeen {
                card: known.get(&name).and_then(|card| serde_json::from_str(card).ok()),
                beat_at_ms: super::looks::whole(at),
                name,
            })
            .collect())
    }

    /// Asks a worker to drain, as SIGTERM would: it hears it with its next heartbeat.
    pub async fn ask_to_drain(&self, worker: &str) -> Result<(), QueueError> {
        let [_, _, _, drains, _] = keys::workers(&self.0.prefix);
        let _new: i64 = self.0.link.send(&drains, redis::cmd("HSET").arg(&drains).arg(worker).arg(1)).await?;
        Ok(())
    }

    /// Waits until an operator asks the worker of this process to drain.
    pub async fn drain_asked(&self) {
        self.0.drain.cancelled().await;
    }

    /// How long ago the loops of a worker turned last, by lane and for what the lanes share. They turn every few seconds, work
    /// or not: readiness.
    #[must_use]
    pub fn turning(&self, worker: &str) -> Vec<(&'static str, Duration)> {
        self.0.hub(worker).map(|hub| hub.turning()).unwrap_or_default()
    }
}
