//! The claim loop of one partition: takes a free hand of the lane, fills it with a slice, and keeps the partition's clock.
//!
//! It claims only for hands that are free, so nothing waits in a buffer while its lease runs. It swallows every error of
//! Redis and tries again: an apalis worker must never end because of one.

pub(super) mod answer;
mod tick;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::answer::Answer;
use super::backend::{LaneWork, Opening, Shelf};
use super::client::arg;
use super::lease::Leases;
use super::listener::Ear;
use super::outcomes::Outcomes;
use super::partitions::Partition;
use super::slice::Slice;
use super::{Queue, QueueError, scripts};
use crate::config::ms;
use crate::ids::jitter;
use crate::proof::{self, Point, Turning};

pub(super) use self::tick::PartitionClock;

/// Suspects in one slice: a guilty one takes few along, and a thousand innocent ones are still through in a moment.
const SUSPECTS: usize = 16;
/// Until a lone suspect is tried again when another lane of this process has one in its hands.
const SOLITUDE_WAIT: Duration = Duration::from_millis(50);
/// How long a job that finds out may take to tell, before another one is claimed: a provider that is up answers sooner.
const TOLD: Duration = Duration::from_millis(250);
/// Waits after failed calls: work goes on within a second of Redis answering.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(800);
/// A claim's lease is longer by up to this share, drawn anew each time, where Redis counts it; this side never relies on
/// it. Else deaths at a steady beat (a supervisor's restarts) and leases of a multiple of it keep step: the same innocent
/// job is in hand at every one of them, until it is quarantined (seen with a death every 2 s). A lone suspect, whom each
/// death accuses, gets the larger share.
const SPREAD: f64 = 0.125;
const SPREAD_ALONE: f64 = 0.25;
/// Claims that are on their way at once, at most, when there is a backlog: Redis works at one while the others travel, and
/// one flush of its log serves all of them.
const CLAIMS: usize = 4;

#[derive(Clone)]
pub(super) struct Claimer {
    pub(super) queue: Queue,
    pub(super) partition: Partition,
    pub(super) work: LaneWork,
    pub(super) ear: Arc<Ear>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) leases: Arc<Leases>,
    pub(super) outcomes: Outcomes,
    pub(super) stop: CancellationToken,
    pub(super) hands: Arc<Semaphore>,
    pub(super) clock: PartitionClock,
}

impl Claimer {
    /// Claims until the lane's `stop`; the end of the whole queue's tasks ends it where it stands.
    pub(super) async fn run(self) {
        let closed = self.queue.0.stop.clone();
        tokio::select! {
            () = closed.cancelled() => {}
            () = self.claim_until_stopped() => {}
        }
    }

    async fn claim_until_stopped(mut self) {
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_cancelled() {
            self.ear.pulses.claims.beat();
            proof::turn(Turning::Claim).await;
            let hand = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep_until(self.next_look()) => {
                    self.look().await;
                    continue;
                }
                hand = self.free_hand() => hand,
            };
            // The semaphore is never closed.
            let Ok(hand) = hand else { break };
            match self.round(hand).await {
                Ok(true) => pause = FIRST_PAUSE,
                Ok(false) => {
                    pause = FIRST_PAUSE;
                    self.wait().await;
                }
                Err(error) => {
                    warn!(partition = %self.partition, %error, "nothing claimed");
                    self.clock.is_in_doubt = true;
                    let jittered = pause.mul_f64(0.5 + jitter() / 2.0);
                    tokio::select! { () = self.stop.cancelled() => {}, () = tokio::time::sleep(jittered) => {} }
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
        // A wake-up may have reached this lane while it stopped: somebody else should look.
        let _: Result<i64, _> = self.queue.0.call(self.partition, &scripts::WAKE, Vec::new()).await;
        self.outcomes.hand_back_all(self.shelf.close().into_iter().flat_map(|mut slice| slice.take()));
    }

    /// A hand is free once its slice has ended, and what slices ended with has to reach Redis in time: else jobs that are
    /// done would pile up here, leased.
    async fn free_hand(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.outcomes.room(self.partition).await;
        Arc::clone(&self.hands).acquire_owned().await
    }

    /// Fills a hand, and under a backlog every free one in the same round trip; answers whether to look again at once.
    async fn round(&mut self, hand: OwnedSemaphorePermit) -> Result<bool, QueueError> {
        match (self.work.opening)() {
            Opening::Open => {}
            Opening::One => return self.try_one(hand).await,
            Opening::Shut(until) => return self.stay_shut(until).await,
        }
        let mut hands = vec![hand];
        while self.clock.backlog
            && hands.len() < CLAIMS
            && let Ok(hand) = Arc::clone(&self.hands).try_acquire_owned()
        {
            hands.push(hand);
        }
        let answers = join_all(hands.iter().map(|_| self.ask("any", self.work.slice))).await;
        let (mut again, mut alone, mut failed) = (false, false, None);
        for (hand, answer) in hands.into_iter().zip(answers) {
            match answer.and_then(|answer| self.read(answer)) {
                Ok(claimed) => {
                    again = claimed.more || (claimed.count > 0 && claimed.deliveries.is_empty());
                    alone = claimed.alone;
                    self.clock.backlog = claimed.more;
                    if !claimed.deliveries.is_empty() {
                        proof::pass(Point::Claimed, &[]);
                        self.shelve(Slice { deliveries: claimed.deliveries, _hands: vec![hand] });
                    }
                }
                // What the others brought is worked all the same.
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if alone && !std::mem::take(&mut self.clock.was_alone) {
            return Ok(self.lone_round().await? || again);
        }
        self.clock.was_alone = false;
        Ok(again || alone)
    }

    /// A slice that comes after the end of the claims is handed back.
    fn shelve(&self, slice: Slice) {
        if let Err(mut late) = self.shelf.put(slice) {
            self.outcomes.hand_back_all(late.take().into_iter());
        }
    }

    /// What all jobs here need may be back: one of them finds out, and until it has told no more are claimed.
    async fn try_one(&mut self, hand: OwnedSemaphorePermit) -> Result<bool, QueueError> {
        let claimed = self.ask("any", 1).await.and_then(|answer| self.read(answer))?;
        if claimed.deliveries.is_empty() {
            return Ok(claimed.count > 0);
        }
        self.shelve(Slice { deliveries: claimed.deliveries, _hands: vec![hand] });
        self.stay_shut(Instant::now() + TOLD).await
    }

    /// What all jobs here need is away: nothing is claimed until then. A wake-up that was heard is passed on, to a worker
    /// that sees it otherwise.
    async fn stay_shut(&mut self, until: Instant) -> Result<bool, QueueError> {
        self.ear.sated();
        let _woken: i64 = self.queue.0.call(self.partition, &scripts::WAKE, Vec::new()).await?;
        let until = until.min(self.next_look());
        tokio::select! { () = self.stop.cancelled() => {}, () = tokio::time::sleep_until(until) => {} }
        Ok(true)
    }

    /// One suspect with nothing else in flight: waits for every hand of the lane first.
    async fn lone_round(&mut self) -> Result<bool, QueueError> {
        let Ok(solitude) = Arc::clone(&self.queue.0.solitude).try_acquire_owned() else {
            let again = Instant::now() + SOLITUDE_WAIT;
            self.clock.due = Some(self.clock.due.map_or(again, |due| due.min(again)));
            return Ok(false);
        };
        let all = u32::try_from(self.work.concurrency).unwrap_or(u32::MAX);
        let hands = loop {
            self.ear.pulses.claims.beat();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(false),
                hands = Arc::clone(&self.hands).acquire_many_owned(all) => break hands,
                () = tokio::time::sleep_until(self.next_look()) => self.look().await,
            }
        };
        let Ok(hands) = hands else { return Ok(false) };
        let claimed = self.ask("alone", 1).await.and_then(|answer| self.read(answer))?;
        self.clock.was_alone = true;
        if !claimed.deliveries.is_empty() {
            self.shelve(Slice { deliveries: claimed.deliveries, _hands: vec![hands, solitude] });
        }
        Ok(true)
    }

    async fn ask(&self, mode: &str, most: usize) -> Result<Answer, QueueError> {
        let spread = if mode == "alone" { SPREAD_ALONE } else { SPREAD };
        let lease = ms(self.queue.0.settings.lease_ms).mul_f64(1.0 + spread * jitter()).as_millis();
        let most = most.clamp(1, self.queue.0.batch());
        let mut args =
            vec![self.work.worker.clone().into(), arg(lease), arg(most), mode.into(), arg(SUSPECTS)];
        args.extend([arg(self.work.fleet.concurrency), arg(self.work.fleet.rate)]);
        args.extend([arg(self.queue.0.partitions.number(self.partition.lane)), arg(self.partition.number)]);
        let asked = Instant::now();
        let values = self.queue.0.call(self.partition, &scripts::CLAIM, args).await?;
        let lane = self.work.lane.name();
        metrics::histogram!("orderfleet_claim_seconds", "lane" => lane).record(asked.elapsed());
        Ok(Answer { values, asked })
    }

    /// Waits for a wake-up, or for the next look.
    async fn wait(&mut self) {
        let until = self.next_look();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep_until(until) => {}
            () = self.ear.hunger(&self.queue) => {}
        }
    }
}
