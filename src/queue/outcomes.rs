//! How deliveries end: gathered while the last call is on its way, sent together, at once when nothing is.
//!
//! Every outcome carries its token and the script checks it: a stale owner changes nothing. An outcome is retried until
//! Redis answers; its lease is renewed meanwhile. It is sent *after* the transaction that decided it: a lost outcome
//! means one more delivery, which finds the row gone. Each partition of a lane has a way of its own: one whose server is
//! away holds up no other.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use redis::Script;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::client::arg;
use super::envelope::attempts_byte;
use super::lease::{Lease, add_by_token};
use super::partitions::Partition;
use super::pulse::{IDLE, LanePulses};
use super::slice::Delivery;
use super::{Queue, QueueError, scripts};
use crate::config::MOST_PARTITIONS;
use crate::ids::jitter;
use crate::proof::{self, Point, Turning};
use crate::time::Stopwatch;

/// Waits after failed calls: from a hiccup to an outage, well inside the five seconds in which work must go on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Answers that no wait can mend (a wrong type, a missing permission), until the leases are left to end: they must not
/// hold up the outcomes behind them for ever.
const REFUSALS: u32 = 5;

/// Batches of outcomes on their way at once: Redis works at one while the others travel, and one flush of its log serves
/// all of them.
const BATCHES: usize = 4;
/// Outcomes that have not reached Redis, above which nothing more is claimed.
const MOST_OPEN: usize = BATCHES * super::MAX_BATCH;

/// Where a worker's deliveries of one lane end.
#[derive(Clone, Default)]
pub struct Outcomes(Arc<[OnceLock<Way>; MOST_PARTITIONS]>);

/// The way to one partition, and how many outcomes are on it.
struct Way {
    send: mpsc::UnboundedSender<Outcome>,
    open: Arc<watch::Sender<usize>>,
}

#[derive(Debug)]
struct Outcome {
    lease: Lease,
    act: Act,
}

#[derive(Debug)]
enum Act {
    Finish,
    Delay(Duration, u16),
    HandBack,
    Park,
    Bury(String),
}

/// The scripts that outcomes call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Finish,
    Delay,
    HandBack,
    Park,
    Bury,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Delay => "delay",
            Self::HandBack => "hand_back",
            Self::Park => "park",
            Self::Bury => "bury",
        }
    }

    fn script(self) -> &'static Script {
        match self {
            Self::Finish => &scripts::FINISH,
            Self::Delay => &scripts::DELAY,
            Self::HandBack => &scripts::HAND_BACK,
            Self::Park => &scripts::PARK,
            Self::Bury => &scripts::BURY,
        }
    }
}

impl Act {
    fn step(&self) -> Step {
        match self {
            Self::Finish => Step::Finish,
            Self::Delay(..) => Step::Delay,
            Self::HandBack => Step::HandBack,
            Self::Park => Step::Park,
            Self::Bury(_) => Step::Bury,
        }
    }

    /// What its script needs beside id and token.
    fn add_to(&self, args: &mut Vec<Vec<u8>>) {
        match self {
            Self::Finish | Self::HandBack | Self::Park => {}
            Self::Delay(delay, attempts) => {
                args.extend([arg(delay.as_millis()), vec![attempts_byte(*attempts)]]);
            }
            // The first line of what is kept is the reason.
            Self::Bury(reason) => args.push(reason.replace('\n', " ").into_bytes()),
        }
    }
}

impl Outcomes {
    /// Opens the way to a partition; answers the end that is read and sent. Unbounded, but never longer than what this
    /// worker holds.
    pub(super) fn open(&self, partition: Partition) -> Pending {
        let (send, receive) = mpsc::unbounded_channel();
        let open = Arc::new(watch::channel(0).0);
        let _ = self.0[partition.number].set(Way { send, open: Arc::clone(&open) });
        Pending { receive, open, taken: Vec::new() }
    }

    /// It is done: nothing of it stays.
    pub fn finish(&self, delivery: Delivery) {
        self.end(delivery.lease, Act::Finish);
    }

    /// It comes back after `delay`, by Redis's clock; `attempts` are what its row counts now.
    pub fn delay(&self, delivery: Delivery, delay: Duration, attempts: u16) {
        self.end(delivery.lease, Act::Delay(delay, attempts));
    }

    /// It was not worked: to the front of its band, spending nothing.
    pub fn hand_back(&self, delivery: Delivery) {
        self.end(delivery.lease, Act::HandBack);
    }

    /// None of them was worked: to the front of their bands, in the order in which they were claimed.
    pub fn hand_back_all(&self, deliveries: impl DoubleEndedIterator<Item = Delivery>) {
        deliveries.rev().for_each(|delivery| self.hand_back(delivery));
    }

    /// This worker does not know it: it waits for one that does.
    pub fn park(&self, delivery: Delivery) {
        self.end(delivery.lease, Act::Park);
    }

    /// Redis has to keep it, because nobody can read it. `reason` is a code.
    pub fn bury(&self, delivery: Delivery, reason: &str) {
        self.end(delivery.lease, Act::Bury(reason.to_owned()));
    }

    pub(super) fn park_unread(&self, lease: Lease) {
        self.end(lease, Act::Park);
    }

    pub(super) fn bury_unread(&self, lease: Lease, reason: &str) {
        self.end(lease, Act::Bury(reason.to_owned()));
    }

    /// Waits until Redis has answered every outcome given so far.
    pub async fn flushed(&self) {
        for way in self.0.iter().filter_map(OnceLock::get) {
            // The sender is ours, so the channel cannot be closed.
            let _ = way.open.subscribe().wait_for(|open| *open == 0).await;
        }
    }

    /// Waits until what ended before in this partition has mostly reached Redis.
    pub(super) async fn room(&self, partition: Partition) {
        if let Some(way) = self.0[partition.number].get() {
            let _ = way.open.subscribe().wait_for(|open| *open < MOST_OPEN).await;
        }
    }

    fn end(&self, lease: Lease, act: Act) {
        lease.0.end();
        // Whatever was claimed from a partition came after its way was opened.
        let Some(way) = self.0[lease.0.partition.number].get() else { return };
        way.open.send_modify(|open| *open += 1);
        if way.send.send(Outcome { lease, act }).is_err() {
            // The queue was closed: the lease ends by itself.
            way.open.send_modify(|open| *open = open.saturating_sub(1));
        }
    }
}

/// The other end of [`Outcomes`], and what was taken from it and not yet sent: both outlive the loop that sends.
pub(super) struct Pending {
    receive: mpsc::UnboundedReceiver<Outcome>,
    open: Arc<watch::Sender<usize>>,
    taken: Vec<Outcome>,
}

/// Where a partition's outcomes are sent from.
#[derive(Clone)]
pub(super) struct Flusher {
    pub(super) queue: Queue,
    pub(super) partition: Partition,
    pub(super) pulse: Arc<LanePulses>,
    pub(super) pending: Arc<Mutex<Pending>>,
    pub(super) stop: CancellationToken,
}

impl Flusher {
    /// Sends outcomes until `stop`.
    pub(super) async fn flush(self) {
        let mut pending = self.pending.lock().await;
        loop {
            self.pulse.outcomes.beat();
            let Pending { receive, taken, .. } = &mut *pending;
            // Something is left only by a loop that stood still: what of it was sent is refused as stale.
            if taken.is_empty() {
                tokio::select! {
                    () = self.stop.cancelled() => break,
                    count = receive.recv_many(taken, BATCHES * self.queue.0.batch()) => if count == 0 { break },
                    () = tokio::time::sleep(IDLE) => continue,
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.send_all(&pending.taken) => {}
            }
            let count = pending.taken.len();
            pending.taken.clear();
            pending.open.send_modify(|open| *open = open.saturating_sub(count));
        }
        // Nobody will send the rest: their leases end by themselves, and nobody may wait for them.
        pending.open.send_replace(0);
    }

    async fn send_all(&self, batch: &[Outcome]) {
        proof::pass(Point::Finishing, &[]);
        proof::turn(Turning::Outcomes).await;
        let mut calls: BTreeMap<Step, Vec<&Outcome>> = BTreeMap::new();
        for outcome in batch {
            calls.entry(outcome.act.step()).or_default().push(outcome);
        }
        // At once: no job has two outcomes.
        join_all(calls.iter().map(|(step, outcomes)| self.send_step(*step, outcomes))).await;
    }

    async fn send_step(&self, step: Step, outcomes: &[&Outcome]) {
        let batches = outcomes.chunks(self.queue.0.batch());
        if step == Step::Finish {
            join_all(batches.map(|batch| self.send(step, batch))).await;
            return;
        }
        // What goes back has an order.
        for batch in batches {
            self.send(step, batch).await;
        }
    }

    /// Until Redis answers. A second try may find its own first one done: only the first can tell a stale token.
    async fn send(&self, step: Step, outcomes: &[&Outcome]) {
        let (partition, lane) = (self.partition, self.partition.lane);
        let (mut pause, mut tries, mut refusals) = (FIRST_PAUSE, 0, 0);
        loop {
            self.pulse.outcomes.beat();
            let watch = Stopwatch::start();
            match self.queue.0.call::<Vec<i64>>(partition, step.script(), arguments(step, outcomes)).await {
                Ok(answers) => {
                    metrics::histogram!("orderfleet_outcome_seconds", "lane" => lane.name(), "outcome" => step.name())
                        .record(watch.elapsed());
                    let told = outcomes.iter().zip(answers).filter(|(_, took)| *took == 0 && tries == 0);
                    for (Outcome { lease, .. }, _) in told {
                        warn!(%lane, job = %lease.0.id, token = lease.token(), "stale outcome refused");
                        metrics::counter!("orderfleet_stale_outcomes_total", "lane" => lane.name())
                            .increment(1);
                    }
                    return;
                }
                Err(error) => {
                    tries += 1;
                    refusals += u32::from(matches!(error, QueueError::Answer(_)));
                    if refusals == REFUSALS {
                        error!(%partition, %error, outcomes = outcomes.len(), "outcomes refused: their leases will end");
                        return;
                    }
                    warn!(%partition, %error, outcomes = outcomes.len(), tries, "outcomes not recorded yet");
                    tokio::time::sleep(pause.mul_f64(0.5 + jitter() / 2.0)).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }
}

/// What a script is called with. The one that every job ends with takes many under one token; the others are rare.
fn arguments(step: Step, outcomes: &[&Outcome]) -> Vec<Vec<u8>> {
    let mut args = Vec::with_capacity(outcomes.len() * 2);
    if step == Step::Finish {
        add_by_token(&mut args, outcomes.iter().map(|outcome| &*outcome.lease.0));
        return args;
    }
    for Outcome { lease, act } in outcomes {
        args.extend([lease.0.id.uuid().as_bytes().to_vec(), lease.0.token.to_vec()]);
        act.add_to(&mut args);
    }
    args
}
