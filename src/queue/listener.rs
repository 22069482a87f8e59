//! Blocking reads that wake lanes.
//!
//! A wake token says "look" to one worker. It must reach one with a free hand: so a blocking read covers only the lanes
//! that are hungry, is ended early when another lane becomes hungry, and gives a token back that came for a lane which is
//! hungry no more. A lost token costs a few seconds: on every time-out two lanes in turn look by themselves.
//!
//! One read covers all lanes of a worker, with all of their partitions, at one server. In a cluster a read has one slot, so
//! each partition has its own: it blocks for longer, and eight lanes together cost no more.

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
use super::partitions::Partition;
use super::pulse::{self, IDLE, LanePulses, Pulse};
use super::{Queue, QueueError, scripts};
use crate::config::ms;
use crate::time::Stopwatch;

/// Partitions that look by themselves at each time-out: eight lanes in four seconds, two commands a second.
const LOOKS: usize = 2;
/// How much longer the read of a partition alone blocks: eight of them then cost as much as one over all, looks included.
const ALONE: u32 = 4;
/// Between two tries to connect.
const RECONNECT: Duration = Duration::from_millis(200);
/// Tries to end a blocking read that may not have reached Redis yet, and the wait between them.
const UNBLOCK_TRIES: u32 = 5;
const UNBLOCK_WAIT: Duration = Duration::from_millis(1);

/// The side of its listener that belongs to one partition of a lane.
pub(super) struct Ear {
    pub(super) partition: Partition,
    pub(super) listener: Arc<Listener>,
    wake: Notify,
    pub(super) pulses: Arc<LanePulses>,
    pub(super) slots: usize,
    hands: Arc<Semaphore>,
}

/// One blocking read and the partitions that it may cover.
pub(super) struct Listener {
    state: Mutex<State>,
    changed: Notify,
    pub(super) pulse: Pulse,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    ears: Vec<Arc<Ear>>,
    hungry: BTreeSet<Partition>,
    /// The partitions of the blocking read that is on its way, and its connection's id.
    listening: Option<(i64, BTreeSet<Partition>)>,
    turn: usize,
}

impl Ear {
    /// A partition's, at this listener.
    pub(super) fn at(
        listener: &Arc<Listener>,
        partition: Partition,
        work: &LaneWork,
        hands: &Arc<Semaphore>,
    ) -> Arc<Self> {
        let ear = Arc::new(Self {
            partition,
            listener: Arc::clone(listener),
            wake: Notify::new(),
            pulses: Arc::new(LanePulses::new()),
            slots: work.concurrency,
            hands: Arc::clone(hands),
        });
        locked(&listener.state).ears.push(Arc::clone(&ear));
        ear
    }

    /// The partition is worked no more; with its last one the listener ends.
    pub(super) fn leave(&self) {
        let mut state = locked(&self.listener.state);
        state.ears.retain(|ear| ear.partition != self.partition);
        state.hungry.remove(&self.partition);
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
        locked(&self.listener.state).hungry.insert(self.partition);
        self.listener.changed.notify_one();
        for _ in 0..UNBLOCK_TRIES {
            let Some(id) = self.listener.deaf_connection(self.partition) else { break };
            let mut unblock = redis::cmd("CLIENT");
            unblock.arg("UNBLOCK").arg(id);
            // If it cannot be done, the read ends by itself after `block_ms`. Never so in a cluster: its reads cover the
            // only partition that they have.
            let wake = queue.0.keys(self.partition).wake();
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
        locked(&self.listener.state).hungry.remove(&self.partition);
    }
}

impl Listener {
    /// Listens on a task of the queue's, kept turning until `stop` or until its last partition leaves.
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

    /// The connection of a blocking read that does not cover the partition, if there is one.
    fn deaf_connection(&self, partition: Partition) -> Option<i64> {
        let state = locked(&self.state);
        let (id, covered) = state.listening.as_ref()?;
        (!covered.contains(&partition)).then_some(*id)
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
        let Some(first) = locked(&self.state).ears.first().map(|ear| ear.partition) else {
            let _ = tokio::time::timeout(IDLE, self.changed.notified()).await;
            return Ok(());
        };
        let mut connection = queue.0.link.own(&queue.0.keys(first).wake()).await?;
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await?;
        // Whatever happened while nobody listened: everybody looks.
        self.wake_in_turn(usize::MAX);
        let usual = ms(queue.0.settings.block_ms);
        let block = if queue.0.link.has_slots() { (usual * ALONE).min(IDLE).max(usual) } else { usual };
        loop {
            self.pulse.beat();
            let hungry = {
                let mut state = locked(&self.state);
                let hungry = state.hungry.clone();
                state.listening = (!hungry.is_empty()).then(|| (id, hungry.clone()));
                hungry
            };
            if hungry.is_empty() {
                let _ = tokio::time::timeout(IDLE, self.changed.notified()).await;
                continue;
            }
            let started = Stopwatch::start();
            let heard = pop(queue, &mut connection, &hungry, block).await;
            locked(&self.state).listening = None;
            if let Err(error) = &heard {
                queue.0.link.look_again(error).await;
            }
            match heard? {
                Some(key) => self.pass_on(queue, &hungry, &key).await?,
                None if started.elapsed() >= block => self.wake_in_turn(LOOKS),
                // Ended early: another partition is hungry too.
                None => {}
            }
        }
    }

    /// The token of this key to its partition; back to Redis if the lane has no free hand any more.
    async fn pass_on(
        &self,
        queue: &Queue,
        covered: &BTreeSet<Partition>,
        key: &str,
    ) -> Result<(), QueueError> {
        for partition in covered.iter().filter(|partition| queue.0.keys(**partition).wake() == key) {
            if !self.wake(*partition) {
                let _done: i64 = queue.0.call(*partition, &scripts::WAKE, Vec::new()).await?;
            }
        }
        Ok(())
    }

    fn wake(&self, partition: Partition) -> bool {
        let mut state = locked(&self.state);
        if !state.hungry.remove(&partition) {
            return false;
        }
        if let Some(ear) = state.ears.iter().find(|ear| ear.partition == partition) {
            ear.wake.notify_one();
        }
        true
    }

    /// The next ones look by themselves. They stay hungry: the next blocking read covers them too.
    fn wake_in_turn(&self, count: usize) {
        let mut state = locked(&self.state);
        let ears = state.ears.len();
        for _ in 0..count.min(ears) {
            state.turn = (state.turn + 1) % ears;
            if let Some(ear) = state.ears.get(state.turn).filter(|ear| state.hungry.contains(&ear.partition))
            {
                ear.wake.notify_one();
            }
        }
    }
}

async fn pop(
    queue: &Queue,
    connection: &mut MultiplexedConnection,
    hungry: &BTreeSet<Partition>,
    block: Duration,
) -> RedisResult<Option<String>> {
    let mut pop = redis::cmd("BLPOP");
    for partition in hungry {
        pop.arg(queue.0.keys(*partition).wake());
    }
    pop.arg(block.as_secs_f64());
    // Redis should have answered by then: else the connection is dead, however alive it looks.
    let answer = tokio::time::timeout(block + queue.0.link.response_timeout(), pop.query_async(connection));
    let silent = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    let popped: Option<(String, String)> = answer.await.map_err(silent)??;
    Ok(popped.map(|(key, _)| key))
}
