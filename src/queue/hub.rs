//! What the lanes of one worker share: one blocking read that wakes them, and one heartbeat.
//!
//! A wake token says "look" to one worker. It must reach one with a free hand: so the blocking read covers only the lanes
//! that are hungry, is ended early when another lane becomes hungry, and gives a token back that came for a lane which is
//! hungry no more. A lost token costs a few seconds: on every time-out two lanes in turn look by themselves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::backend::LaneWork;
use super::client::arg;
use super::pulse::{self, IDLE, LanePulses, Pulse};
use super::{Queue, QueueError, keys, scripts};
use crate::config::ms;
use crate::job::Lane;
use crate::time::Stopwatch;

/// Lanes that look by themselves at each time-out: eight lanes in four seconds, two commands a second.
const LOOKS: usize = 2;
/// Between two tries to connect.
const RECONNECT: Duration = Duration::from_millis(200);
/// Tries to end a blocking read that may not have reached Redis yet, and the wait between them.
const UNBLOCK_TRIES: u32 = 5;
const UNBLOCK_WAIT: Duration = Duration::from_millis(1);
/// A silent worker's card is kept this long, for operators.
const FORGET: Duration = Duration::from_hours(1);

/// One lane's side of the hub.
pub(super) struct Ear {
    pub(super) lane: Lane,
    wake: Notify,
    pub(super) pulses: Arc<LanePulses>,
    slots: usize,
    hands: Arc<Semaphore>,
}

pub(super) struct Hub {
    worker: String,
    host: String,
    state: Mutex<State>,
    changed: Notify,
    /// Of the loop that hears wake-ups, and of the heartbeat.
    pulses: [Pulse; 2],
    pub(super) stop: CancellationToken,
}

#[derive(Default)]
struct State {
    ears: Vec<Arc<Ear>>,
    hungry: BTreeSet<Lane>,
    /// The lanes of the blocking read that is on its way, and its connection's id.
    listening: Option<(i64, BTreeSet<Lane>)>,
    turn: usize,
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

/// Who lives, and for how long this Redis has been steady.
pub(super) struct Census {
    pub(super) steady: Duration,
    pub(super) live: Vec<Vec<u8>>,
    /// Whether an operator asks the one that beats to drain.
    pub(super) drain: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// The worker's hub, started at the first call; and the lane's ear in it.
    pub(super) fn join(queue: &Queue, work: &LaneWork, hands: &Arc<Semaphore>) -> (Arc<Self>, Arc<Ear>) {
        let LaneWork { worker, host, lane, .. } = work;
        let mut hubs = locked(&queue.0.hubs);
        let hub = hubs.entry(worker.clone()).or_insert_with(|| {
            let hub = Arc::new(Self {
                worker: worker.clone(),
                host: host.clone(),
                state: Mutex::default(),
                changed: Notify::new(),
                pulses: [Pulse::new(), Pulse::new()],
                stop: queue.0.stop.child_token(),
            });
            queue.0.tasks.spawn(Arc::clone(&hub).tend(queue.clone()));
            hub
        });
        let ear = Arc::new(Ear {
            lane: *lane,
            wake: Notify::new(),
            pulses: Arc::new(LanePulses::new()),
            slots: work.concurrency,
            hands: Arc::clone(hands),
        });
        locked(&hub.state).ears.push(Arc::clone(&ear));
        (Arc::clone(hub), ear)
    }

    /// The lane works no more; with the last one the hub ends, and the worker is no longer among the living.
    pub(super) fn leave(&self, queue: &Queue, lane: Lane) {
        // In the order of `join`: the hubs first, so that nobody joins a hub that ends.
        let mut hubs = locked(&queue.0.hubs);
        let mut state = locked(&self.state);
        state.ears.retain(|ear| ear.lane != lane);
        state.hungry.remove(&lane);
        if state.ears.is_empty() {
            self.stop.cancel();
            hubs.remove(&self.worker);
        }
    }

    /// Waits until somebody says that there is work in the lane.
    pub(super) async fn hunger(&self, queue: &Queue, ear: &Ear) {
        locked(&self.state).hungry.insert(ear.lane);
        self.changed.notify_one();
        for _ in 0..UNBLOCK_TRIES {
            let Some(id) = self.deaf_connection(ear.lane) else { break };
            let mut unblock = redis::cmd("CLIENT");
            unblock.arg("UNBLOCK").arg(id);
            // If it cannot be done, the read ends by itself after `block_ms`.
            if !matches!(queue.0.link.send::<i64>(&unblock).await, Ok(0)) {
                break;
            }
            tokio::time::sleep(UNBLOCK_WAIT).await;
        }
        ear.wake.notified().await;
    }

    /// The lane has work in its hands. Until then it counts as hungry even while it looks: what is read for it meanwhile is
    /// not lost, it looks once more.
    pub(super) fn sated(&self, lane: Lane) {
        locked(&self.state).hungry.remove(&lane);
    }

    /// The connection of a blocking read that does not cover the lane, if there is one.
    fn deaf_connection(&self, lane: Lane) -> Option<i64> {
        let state = locked(&self.state);
        let (id, lanes) = state.listening.as_ref()?;
        (!lanes.contains(&lane)).then_some(*id)
    }

    /// How long ago the loops turned last, by lane and for what the lanes share.
    fn turning(&self) -> Vec<(&'static str, Duration)> {
        let lanes = locked(&self.state)
            .ears
            .iter()
            .map(|ear| (ear.lane.name(), ear.pulses.age()))
            .collect::<Vec<_>>();
        let [hearing, beating] = &self.pulses;
        lanes.into_iter().chain([("wake-ups", hearing.age()), ("heartbeat", beating.age())]).collect()
    }

    /// Keeps both loops turning.
    async fn tend(self: Arc<Self>, queue: Queue) {
        let [hearing, beating] = &self.pulses;
        let (tasks, wedged) = (&queue.0.tasks, &queue.0.wedged);
        let listen = || Arc::clone(&self).listen(queue.clone());
        let beat = || Arc::clone(&self).beat(queue.clone());
        tokio::join!(
            pulse::tend(tasks, "wake-ups", hearing, wedged, listen),
            pulse::tend(tasks, "heartbeat", beating, wedged, beat),
        );
    }

    async fn listen(self: Arc<Self>, queue: Queue) {
        while !self.stop.is_cancelled() {
            self.pulses[0].beat();
            tokio::select! {
                () = self.stop.cancelled() => {}
                result = self.listen_on_one(&queue) => if let Err(error) = result {
                    warn!(%error, "not hearing wake-ups");
                    tokio::time::sleep(RECONNECT).await;
                }
            }
            locked(&self.state).listening = None;
        }
    }

    /// Reads until the connection breaks.
    async fn listen_on_one(&self, queue: &Queue) -> Result<(), QueueError> {
        let mut connection = queue.0.link.own().await?;
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await?;
        // Whatever happened while nobody listened: everybody looks.
        self.wake_in_turn(usize::MAX);
        loop {
            self.pulses[0].beat();
            let lanes = {
                let mut state = locked(&self.state);
                let lanes = state.hungry.clone();
                state.listening = (!lanes.is_empty()).then(|| (id, lanes.clone()));
                lanes
            };
            if lanes.is_empty() {
                let _ = tokio::time::timeout(IDLE, self.changed.notified()).await;
                continue;
            }
            let started = Stopwatch::start();
            let heard = block(queue, &mut connection, &lanes).await;
            locked(&self.state).listening = None;
            match heard? {
                Some(key) => self.pass_on(queue, &key).await?,
                None if started.elapsed() >= ms(queue.0.settings.block_ms) => self.wake_in_turn(LOOKS),
                // Ended early: another lane is hungry too.
                None => {}
            }
        }
    }

    /// The token of this key to its lane; back to Redis if the lane has no free hand any more.
    async fn pass_on(&self, queue: &Queue, key: &str) -> Result<(), QueueError> {
        let Some(lane) = Lane::ALL.into_iter().find(|lane| queue.0.keys(*lane).wake() == key) else {
            return Ok(());
        };
        if !self.wake(lane) {
            let _done: i64 = queue.0.call(lane, &scripts::WAKE, Vec::new()).await?;
        }
        Ok(())
    }

    fn wake(&self, lane: Lane) -> bool {
        let mut state = locked(&self.state);
        if !state.hungry.remove(&lane) {
            return false;
        }
        if let Some(ear) = state.ears.iter().find(|ear| ear.lane == lane) {
            ear.wake.notify_one();
        }
        true
    }

    /// The next lanes look by themselves. They stay hungry: the next blocking read covers them too.
    fn wake_in_turn(&self, count: usize) {
        let mut state = locked(&self.state);
        let lanes = state.ears.len();
        for _ in 0..count.min(lanes) {
            state.turn = (state.turn + 1) % lanes;
            if let Some(ear) = state.ears.get(state.turn).filter(|ear| state.hungry.contains(&ear.lane)) {
                ear.wake.notify_one();
            }
        }
    }

    fn card(&self) -> Card {
        let state = locked(&self.state);
        Card {
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lanes: state.ears.iter().map(|ear| ear.lane.name().to_owned()).collect(),
            slots: state.ears.iter().map(|ear| ear.slots).sum(),
            busy: state.ears.iter().map(|ear| ear.slots.saturating_sub(ear.hands.available_permits())).sum(),
        }
    }

    async fn beat(self: Arc<Self>, queue: Queue) {
        let every = ms(queue.0.settings.renew_ms);
        loop {
            self.pulses[1].beat();
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
        let [beats, cards, _, drains] = keys::workers(&queue.0.prefix);
        for (remove, key) in [("ZREM", beats), ("HDEL", cards), ("HDEL", drains)] {
            let _: Result<i64, _> = queue.0.link.send(redis::cmd(remove).arg(key).arg(&self.worker)).await;
        }
    }
}

async fn block(
    queue: &Queue,
    connection: &mut MultiplexedConnection,
    lanes: &BTreeSet<Lane>,
) -> Result<Option<String>, QueueError> {
    let mut pop = redis::cmd("BLPOP");
    for lane in lanes {
        pop.arg(queue.0.keys(*lane).wake());
    }
    let block = ms(queue.0.settings.block_ms);
    pop.arg(block.as_secs_f64());
    // Redis should have answered by then: else the connection is dead, however alive it looks.
    let answer = tokio::time::timeout(block + queue.0.link.response_timeout(), pop.query_async(connection));
    let popped: Option<(String, String)> = answer.await.map_err(|_| QueueError::TimedOut)??;
    Ok(popped.map(|(key, _)| key))
}

/// Beats for `worker` (nobody, if it is empty) and asks who lives. A beat is good for a lease less a renewal: leases are
/// renewed at the same rhythm, so whoever let one end beats no more, or lives.
pub(super) async fn census(queue: &Queue, worker: &str, card: &str) -> Result<Census, QueueError> {
    let settings = &queue.0.settings;
    let good_for = settings.lease_ms.saturating_sub(settings.renew_ms);
    let args = vec![worker.into(), card.into(), arg(good_for), arg(FORGET.as_millis())];
    let answer: Vec<redis::Value> =
        queue.0.link.call(&scripts::BEAT, &keys::workers(&queue.0.prefix), args).await?;
    let mut answer = answer.into_iter();
    let steady = answer.next().map(super::client::number).transpose()?.unwrap_or_default();
    let drain = answer.next().map(super::client::number).transpose()? == Some(1);
    let live = answer.map(super::client::bytes).collect::<Result<_, _>>()?;
    Ok(Census { steady: ms(u64::try_from(steady).unwrap_or_default()), live, drain })
}

impl Queue {
    /// Every worker that beat within the last hour, and did not end on purpose.
    pub async fn workers(&self) -> Result<Vec<WorkerSeen>, QueueError> {
        let [beats, cards, ..] = keys::workers(&self.0.prefix);
        let mut range = redis::cmd("ZRANGE");
        range.arg(beats).arg(0).arg(-1).arg("WITHSCORES");
        let found: Vec<(String, f64)> = self.0.link.send(&range).await?;
        let known: std::collections::HashMap<String, String> =
            self.0.link.send(redis::cmd("HGETALL").arg(cards)).await?;
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
        let [.., drains] = keys::workers(&self.0.prefix);
        let _new: i64 = self.0.link.send(redis::cmd("HSET").arg(drains).arg(worker).arg(1)).await?;
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
