//! A lane at work: three loops for each of its partitions, which share the lane's hands.
//!
//! One loop claims, one renews, one records. Partitions have nothing else in common: one whose server is away holds up no
//! other. Whoever has a free hand asks in turn, so that all are served alike. A partition that comes into use while the
//! worker runs gets its loops then.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Queue;
use super::backend::{LaneBackend, LaneWork, Shelf};
use super::claim::{Claimer, PartitionClock};
use super::hub::Hub;
use super::lease::{self, Leases};
use super::listener::Ear;
use super::outcomes::{Flusher, Outcomes};
use super::partitions::Partition;
use super::pulse::{self, LanePulses, Pulse};

/// What the partitions of a lane share.
#[derive(Clone)]
struct LaneLoops {
    queue: Queue,
    work: LaneWork,
    hands: Arc<Semaphore>,
    shelf: Arc<Shelf>,
    outcomes: Outcomes,
    /// Ends the claims.
    stop: CancellationToken,
    /// Ends the rest, once what was claimed has ended.
    records: CancellationToken,
}

impl Queue {
    /// Starts to work a lane: claims, renews and records on tasks of its own until the work's `stop`, and must be called
    /// inside a Tokio runtime. [`Queue::close`] ends what is left of them.
    #[must_use]
    pub fn lane(&self, mut work: LaneWork) -> (LaneBackend, Outcomes) {
        // A record in Redis is written with bars between its fields.
        work.worker = work.worker.replace('|', "-");
        work.concurrency = work.concurrency.max(1);
        let (lane, worker) = (work.lane, work.worker.clone());
        let loops = LaneLoops {
            queue: self.clone(),
            hands: Arc::new(Semaphore::new(work.concurrency)),
            shelf: Arc::new(Shelf::default()),
            outcomes: Outcomes::default(),
            stop: work.stop.child_token(),
            records: self.0.stop.child_token(),
            work,
        };
        let begun: Vec<_> = self.0.partitions.in_use(lane).map(|partition| loops.begin(partition)).collect();
        let LaneLoops { shelf, outcomes, stop, records, .. } = loops.clone();
        let claiming = self.0.tasks.spawn(loops.follow(begun));
        let closing = {
            let (queue, outcomes, stop) = (self.clone(), outcomes.clone(), stop.clone());
            async move {
                stop.cancel();
                // A claim on its way is waited for: what it brings is handed back.
                let _ = claiming.await;
                outcomes.flushed().await;
                records.cancel();
                if let Some(hub) = queue.0.hub(&worker) {
                    hub.leave(&queue, lane);
                }
            }
        };
        (LaneBackend::new(shelf, stop, closing), outcomes)
    }

    /// Waits until a loop stands still that can not even be ended: this process is of no use any more.
    pub async fn wedged(&self) {
        self.0.wedged.cancelled().await;
    }
}

impl LaneLoops {
    /// Begins the loops of whatever partition comes into use, and waits for the end of all claims.
    async fn follow(self, mut begun: Vec<JoinHandle<()>>) {
        let (partitions, lane) = (&self.queue.0.partitions, self.work.lane);
        let closed = self.queue.0.stop.clone();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = closed.cancelled() => break,
                () = partitions.more_than(lane, begun.len()) => {}
            }
            let new = partitions.in_use(lane).skip(begun.len()).map(|partition| self.begin(partition));
            begun.extend(new.collect::<Vec<_>>());
        }
        join_all(begun).await;
    }

    /// Begins a partition's loops; answers the one that claims.
    fn begin(&self, partition: Partition) -> JoinHandle<()> {
        let ear = Hub::join(&self.queue, partition, &self.work, &self.hands);
        let leases = Arc::new(Leases::default());
        let flusher = Flusher {
            queue: self.queue.clone(),
            partition,
            pulse: Arc::clone(&ear.pulses),
            pending: Arc::new(Mutex::new(self.outcomes.open(partition))),
            stop: self.records.clone(),
        };
        let claimer = Claimer {
            queue: self.queue.clone(),
            partition,
            hands: Arc::clone(&self.hands),
            work: self.work.clone(),
            ear: Arc::clone(&ear),
            shelf: Arc::clone(&self.shelf),
            leases: Arc::clone(&leases),
            outcomes: self.outcomes.clone(),
            stop: self.stop.clone(),
            clock: PartitionClock::default(),
        };
        let claiming = self.tend(&ear, |pulses| &pulses.claims, "claims", move || claimer.clone().run());
        let (queue, pulses, until) = (self.queue.clone(), Arc::clone(&ear.pulses), self.records.clone());
        self.tend(
            &ear,
            |pulses| &pulses.renewals,
            "renewals",
            move || {
                let (leases, pulses) = (Arc::clone(&leases), Arc::clone(&pulses));
                lease::keep(queue.clone(), partition, leases, pulses, until.clone())
            },
        );
        self.tend(&ear, |pulses| &pulses.outcomes, "outcomes", move || flusher.clone().flush());
        claiming
    }

    /// Keeps one of the loops turning, on a task of its own.
    fn tend<F: Future<Output = ()> + Send + 'static>(
        &self,
        ear: &Ear,
        pulse: fn(&LanePulses) -> &Pulse,
        what: &'static str,
        begin: impl FnMut() -> F + Send + 'static,
    ) -> JoinHandle<()> {
        let (queue, pulses) = (self.queue.clone(), Arc::clone(&ear.pulses));
        self.queue.0.tasks.spawn(async move {
            pulse::tend(&queue.0.tasks, what, pulse(&pulses), &queue.0.wedged, begin).await;
        })
    }
}
