//! Blocking reads that wake lanes.
//!
//! A wake token says "look" to one worker. It must reach one with a free hand: so a blocking read covers only the lanes
//! that are hungry, is ended early when another lane becomes hungry, and gives a token back that came for a lane which is
//! hungry no more. A lost token costs a few seconds: on every time-out two lanes in turn look by themselves.
//!
//! One read covers all lanes of a worker, at one server. In a cluster a read has one slot, so each lane has its own: it
//! blocks for longer, and all together cost no more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::backend::LaneWork;
use super::hub::locked;
use super::pulse::{self, IDLE, LanePulses, Pulse};
use super::{Queue, QueueError, scripts};
use crate::config::ms;
use crate::job::Lane;
use crate::time::Stopwatch;

/// Lanes that look by themselves at each time-out: eight lanes in four seconds, two commands a second.
const LOOKS: usize = 2;
/// How much longer the read of a lane alone blocks: eight of them then cost as much as one over all, looks included.
const ALONE: u32 = 4;
/// Between two tries to connect.
const RECONNECT: Duration = Duration::from_millis(200);
/// Tries to end a blocking read that may not have reached Redis yet, and the wait between them.
const UNBLOCK_TRIES: u32 = 5;
const UNBLOCK_WAIT: Duration = Duration::from_millis(1);

/// One lane's side of its listener.
pub(super) struct Ear {
    pub(super) lane: Lane,
    pub(super) listener: Arc<Listener>,
    wake: Notify,
    pub(super) pulses: Arc<LanePulses>,
    pub(super) slots: usize,
    hands: Arc<Semaphore>,
}

/// One blocking read and the lanes that it may cover.
pub(super) struct Listener {
    state: Mutex<State>,
    changed: Notify,
    pub(super) pulse: Pulse,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    ears: Vec<Arc<Ear>>,
    hungry: BTreeSet<Lane>,
    /// The lanes of the blocking read that is on its way, and its connection's id.
    listening: Option<(i64, BTreeSet<Lane>)>,
    turn: usize,
}

impl Ear {
    /// A lane's, at this listener.
    pub(super) fn at(listener: &Arc<Listener>, work: &LaneWork, hands: &Arc<Semaphore>) -> Arc<Self> {
        let ear = Arc::new(Self {
            lane: work.lane,
            listener: Arc::clone(listener),
            wake: Notify::new(),
            pulses: Arc::new(LanePulses::new()),
            slots: work.concurrency,
            hands: Arc::clone(hands),
        });
        locked(&listener.state).ears.push(Arc::clone(&ear));
        ear
    }

    /// The lane works no more; with its last lane the listener ends.
    pub(super) fn leave(&self) {
        let mut state = locked(&self.listener.state);
        state.ears.retain(|ear| ear.lane != self.lane);
        state.hungry.remove(&self.lane);
        if state.ears.is_empty() {
            self.listener.stop.cancel();
        }
    }

    /// Hands of the lane that are full.
    pub(super) fn busy(&self) -> usize {
        self.slots.saturating_sub(self.hands.available_permits())
    }

    /// Waits until somebody says that there is work in the lane.
    pub(super) async fn hunger(&self, queue: &Queue) {
        locked(&self.listener.state).hungry.insert(self.lane);
        self.listener.changed.notify_one();
        for _ in 0..UNBLOCK_TRIES {
            let Some(id) = self.listener.deaf_connection(self.lane) else { break };
            let mut unblock = redis::cmd("CLIENT");
            unblock.arg("UNBLOCK").arg(id);
            // If it cannot be done, the read ends by itself after `block_ms`. Never so in a cluster: its reads cover the
            // only lane that they have.
            let wake = queue.0.keys(self.lane).wake();
            if !matches!(queue.0.link.send::<i64>(&wake, &unblock).await, Ok(0)) {
                break;
            }
            tokio::time::sleep(UNBLOCK_WAIT).await;
        }
        self.wake.notified().await;
    }

    /// The lane has work in its hands. Until then it counts as hungry even while it looks: what is read for it meanwhile is
    /// not lost, it looks once more.
    pub(super) fn sated(&self) {
        locked(&self.listener.state).hungry.remove(&self.lane);
    }
}

impl Listener {
    /// Listens on a task of the queue's, kept turning until `stop` or until its last lane leaves.
    pub(super) fn start(queue: &Queue, stop: CancellationToken) -> Arc<Self> {
        let listener =
            Arc::new(Self { state: Mutex::default(), changed: Notify::new(), pulse: Pulse::new(), stop });
        let (queue_of_task, kept) = (queue.clone(), Arc::clone(&listener));
        queue.0.tasks.spawn(async move {
            let listen = || Arc::clone(&kept).listen(queue_of_task.clone());
            let (tasks, wedged) = (&queue_of_task.0.tasks, &queue_of_task.0.wedged);
            pulse::tend(tasks, "wake-ups", &kept.pulse, wedged, listen).await;
        });
        listener
    }

    /// The connection of a blocking read that does not cover the lane, if there is one.
    fn deaf_connection(&self, lane: Lane) -> Option<i64> {
        let state = locked(&self.state);
        let (id, lanes) = state.listening.as_ref()?;
        (!lanes.contains(&lane)).then_some(*id)
    }

    async fn listen(self: Arc<Self>, queue: Queue) {
        while !self.stop.is_cancelled() {
            self.pulse.beat();
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
        let Some(lane) = locked(&self.state).ears.first().map(|ear| ear.lane) else {
            let _ = tokio::time::timeout(IDLE, self.changed.notified()).await;
            return Ok(());
        };
        let mut connection = queue.0.link.own(&queue.0.keys(lane).wake()).await?;
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await?;
        // Whatever happened while nobody listened: everybody looks.
        self.wake_in_turn(usize::MAX);
        let usual = ms(queue.0.settings.block_ms);
        let block = if queue.0.link.has_slots() { (usual * ALONE).min(IDLE).max(usual) } else { usual };
        loop {
            self.pulse.beat();
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
            let heard = pop(queue, &mut connection, &lanes, block).await;
            locked(&self.state).listening = None;
            if let Err(error) = &heard {
                queue.0.link.look_again(error).await;
            }
            match heard? {
                Some(key) => self.pass_on(queue, &key).await?,
                None if started.elapsed() >= block => self.wake_in_turn(LOOKS),
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
}

async fn pop(
    queue: &Queue,
    connection: &mut MultiplexedConnection,
    lanes: &BTreeSet<Lane>,
    block: Duration,
) -> RedisResult<Option<String>> {
    let mut pop = redis::cmd("BLPOP");
    for lane in lanes {
        pop.arg(queue.0.keys(*lane).wake());
    }
    pop.arg(block.as_secs_f64());
    // Redis should have answered by then: else the connection is dead, however alive it looks.
    let answer = tokio::time::timeout(block + queue.0.link.response_timeout(), pop.query_async(connection));
    let silent = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let popped: Option<(String, String)> = answer.await.map_err(silent)??;
    Ok(popped.map(|(key, _)| key))
}
