//! One lane's claim loop: takes a free hand, fills it with a slice, and keeps the lane's clock.
//!
//! It claims only for hands that are free, so nothing waits in a buffer while its lease runs. It swallows every error of
//! Redis and tries again: an apalis worker must never end because of one. Due jobs and ended leases are looked at when
//! the next of them is due, not on a beat.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use redis::Value;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::backend::{LaneWork, Opening, Shelf};
use super::client::{arg, bytes, number};
use super::envelope::{Decoded, Envelope};
use super::hub;
use super::lease::{Lease, Leases};
use super::listener::Ear;
use super::outcomes::Outcomes;
use super::slice::{Delivery, Slice};
use super::{Queue, QueueError, job_id, raw, scripts};
use crate::config::ms;
use crate::ids::{JobId, jitter};
use crate::proof::{self, Point, Turning};

/// Suspects in one slice: a guilty one takes few along, and a thousand innocent ones are still through in a moment.
const SUSPECTS: usize = 16;
/// The loop turns this often, whatever happens: readiness watches it. Longer than the hub's own turn over eight lanes, so
/// that an idle worker does not look twice.
const TURN: Duration = Duration::from_secs(6);
/// Until due jobs are promoted again when more are due than may follow: the fleet has taken some of what waits by then.
const PROMOTION_PACE: Duration = Duration::from_millis(10);
/// Until a lone suspect is tried again when another lane of this process has one in its hands.
const SOLITUDE_WAIT: Duration = Duration::from_millis(50);
/// Between two looks at the parked jobs: they wait for a deployment, not for milliseconds.
const PARKED_LOOK: Duration = Duration::from_secs(5);
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
/// Values before the first job in the answer of claim.lua, and values of each job.
pub(super) const HEAD: usize = 10;
pub(super) const WIDTH: usize = 3;

#[derive(Clone)]
pub(super) struct Claimer {
    pub(super) queue: Queue,
    pub(super) work: LaneWork,
    pub(super) ear: Arc<Ear>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) leases: Arc<Leases>,
    pub(super) outcomes: Outcomes,
    pub(super) stop: CancellationToken,
    pub(super) hands: Arc<Semaphore>,
    pub(super) clock: LaneClock,
}

/// When this lane has to be looked at.
#[derive(Clone, Default)]
pub(super) struct LaneClock {
    due: Option<Instant>,
    lease_end: Option<Instant>,
    /// When a limit of the fleet lets more through.
    place: Option<Instant>,
    parked: Option<Instant>,
    parked_from: usize,
    /// A call failed: another server may answer the next one, and its steadiness counts from the first sweep that asks.
    is_in_doubt: bool,
    was_alone: bool,
    /// The last claim left something behind.
    backlog: bool,
}

/// A claim's answer, and when it was asked for: this side must never believe longer than Redis does.
struct Answer {
    values: Vec<Value>,
    asked: Instant,
}

/// What a claim found.
struct Claimed {
    deliveries: Vec<Delivery>,
    /// Handed over, readable or not.
    count: usize,
    more: bool,
    alone: bool,
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
                    warn!(lane = %self.work.lane, %error, "nothing claimed");
                    self.clock.is_in_doubt = true;
                    let jittered = pause.mul_f64(0.5 + jitter() / 2.0);
                    tokio::select! { () = self.stop.cancelled() => {}, () = tokio::time::sleep(jittered) => {} }
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
        // A wake-up may have reached this lane while it stopped: somebody else should look.
        let _: Result<i64, _> = self.queue.0.call(self.work.lane, &scripts::WAKE, Vec::new()).await;
        self.outcomes.hand_back_all(self.shelf.close().into_iter().flat_map(|mut slice| slice.take()));
    }

    /// A hand is free once its slice has ended, and what slices ended with has to reach Redis in time: else jobs that are
    /// done would pile up here, leased.
    async fn free_hand(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.outcomes.room().await;
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
                        proof::pass(Point::Claimed);
                        self.shelf.put(Slice { deliveries: claimed.deliveries, _hands: vec![hand] });
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

    /// What all jobs here need may be back: one of them finds out, and until it has told no more are claimed.
    async fn try_one(&mut self, hand: OwnedSemaphorePermit) -> Result<bool, QueueError> {
        let claimed = self.ask("any", 1).await.and_then(|answer| self.read(answer))?;
        if claimed.deliveries.is_empty() {
            return Ok(claimed.count > 0);
        }
        self.shelf.put(Slice { deliveries: claimed.deliveries, _hands: vec![hand] });
        self.stay_shut(Instant::now() + TOLD).await
    }

    /// What all jobs here need is away: nothing is claimed until then. A wake-up that was heard is passed on, to a worker
    /// that sees it otherwise.
    async fn stay_shut(&mut self, until: Instant) -> Result<bool, QueueError> {
        self.ear.sated();
        let _woken: i64 = self.queue.0.call(self.work.lane, &scripts::WAKE, Vec::new()).await?;
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
            self.shelf.put(Slice { deliveries: claimed.deliveries, _hands: vec![hands, solitude] });
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
        let asked = Instant::now();
        let values = self.queue.0.call(self.work.lane, &scripts::CLAIM, args).await?;
        let lane = self.work.lane.name();
        metrics::histogram!("orderfleet_claim_seconds", "lane" => lane).record(asked.elapsed());
        Ok(Answer { values, asked })
    }

    fn read(&mut self, Answer { values: mut head, asked }: Answer) -> Result<Claimed, QueueError> {
        let jobs = head.split_off(head.len().min(HEAD));
        let token: Arc<[u8]> = bytes(head.pop().unwrap_or(Value::Nil))?.into();
        let head: Vec<i64> = head.into_iter().map(number).collect::<Result<_, _>>()?;
        let &[paused, waiting, alone, parked, due, lease_end, buried, epoch, limited] = head.as_slice()
        else {
            return Err(QueueError::answer("a claim of another shape"));
        };
        self.queue.0.news.tell(self.work.lane, epoch == 1, buried > 0);
        let now = Instant::now();
        self.clock.due = after(now, due);
        self.clock.lease_end =
            if std::mem::take(&mut self.clock.is_in_doubt) { Some(now) } else { after(now, lease_end) };
        self.clock.place = after(now, limited);
        if limited >= 0 {
            metrics::counter!("orderfleet_claims_limited_total", "lane" => self.work.lane.name())
                .increment(1);
        }
        if parked > 0 && self.clock.parked.is_none() {
            self.clock.parked = Some(now);
        }
        let count = jobs.len() / WIDTH;
        if count > 0 {
            self.ear.sated();
        }
        let (mut deliveries, mut jobs) = (Vec::with_capacity(count), jobs.into_iter());
        while let Some(id) = jobs.next() {
            let mut next = || jobs.next().unwrap_or(Value::Nil);
            let (id, past, envelope) = (job_id(&bytes(id)?)?, bytes(next())?, bytes(next())?);
            if let Some(mut delivery) = self.accept(id, Arc::clone(&token), &envelope, asked) {
                let [handed, strikes, _stage, overran] = read_past(&past)?;
                delivery.deliveries = handed;
                delivery.strikes = strikes;
                delivery.overran = overran == 1;
                deliveries.push(delivery);
            }
        }
        // A lane that is paused or at its limit gives nothing, however much it has: looking again would be a hot loop.
        let open = paused == 0 && limited < 0;
        Ok(Claimed { deliveries, count, more: open && waiting == 1, alone: open && alone > 0 })
    }

    /// Reads an envelope. What nobody can read is buried, what this worker does not know is parked: neither is delivered.
    fn accept(&self, id: JobId, token: Arc<[u8]>, envelope: &[u8], before: Instant) -> Option<Delivery> {
        let lane = self.work.lane;
        let lease = |deadline| Lease::new(id, token, before + ms(self.queue.0.settings.lease_ms), deadline);
        match Envelope::decode(envelope) {
            Decoded::Known(known) if (self.work.knows_kind)(&known.kind) => {
                let lease = lease(before + (self.work.deadline_of)(&known.kind));
                self.leases.add(&lease);
                Some(Delivery {
                    id,
                    kind: known.kind,
                    origin: known.origin,
                    attempts: known.attempts,
                    deliveries: 1,
                    strikes: 0,
                    overran: false,
                    body: known.body,
                    lease,
                    lane,
                    band: known.band,
                    pushed_at: known.pushed_at,
                    traceparent: known.traceparent,
                })
            }
            Decoded::Known(_) | Decoded::Newer => {
                warn!(%lane, job = %id, "parked: this worker does not know its kind or version");
                metrics::counter!("orderfleet_jobs_parked_total", "lane" => lane.name()).increment(1);
                self.outcomes.park_unread(lease(before));
                None
            }
            Decoded::Unreadable(why) => {
                warn!(%lane, job = %id, why, "buried: unreadable");
                self.outcomes.bury_unread(lease(before), why);
                None
            }
        }
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

    fn next_look(&self) -> Instant {
        let clock = &self.clock;
        [clock.due, clock.lease_end, clock.place, clock.parked]
            .into_iter()
            .flatten()
            .fold(Instant::now() + TURN, std::cmp::Ord::min)
    }

    /// Does whatever is due. Errors are logged and tried again: nothing is lost by lateness.
    async fn look(&mut self) {
        let now = Instant::now();
        // Nothing is to be done but to claim again.
        self.clock.place = self.clock.place.filter(|at| *at > now);
        if self.clock.due.is_some_and(|at| at <= now)
            && let Err(error) = self.promote().await
        {
            warn!(lane = %self.work.lane, %error, "due jobs not promoted");
            self.clock.due = Some(now + LAST_PAUSE);
        }
        // Each of these may have waited for a silent Redis.
        self.ear.pulses.claims.beat();
        if self.clock.lease_end.is_some_and(|at| at <= now)
            && let Err(error) = self.sweep().await
        {
            warn!(lane = %self.work.lane, %error, "ended leases not swept");
            self.clock.lease_end = Some(now + LAST_PAUSE);
        }
        self.ear.pulses.claims.beat();
        if self.clock.parked.is_some_and(|at| at <= now) {
            self.clock.parked = Some(now + PARKED_LOOK);
            if let Err(error) = self.unpark().await {
                warn!(lane = %self.work.lane, %error, "parked jobs not looked at");
            }
        }
    }

    async fn promote(&mut self) -> Result<(), QueueError> {
        let batch = self.queue.0.batch();
        let (_count, due): (u64, i64) =
            self.queue.0.call(self.work.lane, &scripts::PROMOTE, vec![arg(batch)]).await?;
        let now = Instant::now();
        self.clock.due = after(now, due);
        if due == 0 {
            self.clock.due = Some(now + PROMOTION_PACE);
        }
        Ok(())
    }

    async fn sweep(&mut self) -> Result<(), QueueError> {
        let lease = ms(self.queue.0.settings.lease_ms);
        let census = hub::census(&self.queue, "", "").await?;
        // An outage of Redis ends every lease and silences every worker: nobody is to blame for that.
        if census.steady < lease {
            self.clock.lease_end =
                Some(Instant::now() + lease.saturating_sub(census.steady).max(FIRST_PAUSE));
            return Ok(());
        }
        let (batch, deaths) = (self.queue.0.batch(), self.queue.0.settings.deaths.max(1));
        // In a cluster who lives is known elsewhere than the lane: the script asks the lane's own server too.
        let mut args = vec![arg(batch), arg(deaths), arg(lease.as_millis())];
        args.extend(census.live);
        let (swept, quarantined, end): (u64, u64, i64) =
            self.queue.0.call(self.work.lane, &scripts::SWEEP, args).await?;
        if swept > 0 {
            warn!(lane = %self.work.lane, swept, quarantined, "leases had ended");
            let lane = self.work.lane.name();
            metrics::counter!("orderfleet_leases_ended_total", "lane" => lane).increment(swept);
            metrics::counter!("orderfleet_jobs_quarantined_total", "lane" => lane).increment(quarantined);
        }
        self.clock.lease_end = after(Instant::now(), end);
        Ok(())
    }

    /// Takes back what this worker knows, a window of the parked jobs at a time.
    async fn unpark(&mut self) -> Result<(), QueueError> {
        let (keys, batch) = (self.queue.0.keys(self.work.lane), self.queue.0.batch());
        let from = self.clock.parked_from;
        let mut range = redis::cmd("ZRANGE");
        range.arg(keys.parked()).arg(arg(from)).arg(arg(from + batch - 1));
        let ids: Vec<Vec<u8>> = self.queue.0.link.send(&keys.parked(), &range).await?;
        if ids.is_empty() {
            // The end, or none at all: the next claim says which.
            self.clock.parked_from = 0;
            self.clock.parked = (from > 0).then(|| Instant::now() + PARKED_LOOK);
            return Ok(());
        }
        let mut get = redis::cmd("HMGET");
        get.arg(keys.bodies()).arg(&ids);
        let envelopes: Vec<Option<Vec<u8>>> = self.queue.0.link.send(&keys.bodies(), &get).await?;
        let mut known = Vec::new();
        for (id, envelope) in ids.iter().zip(envelopes) {
            let readable = match envelope.as_deref().map(Envelope::decode) {
                Some(Decoded::Known(envelope)) => (self.work.knows_kind)(&envelope.kind),
                Some(Decoded::Newer) => false,
                Some(Decoded::Unreadable(_)) | None => true,
            };
            if readable {
                known.push(job_id(id)?);
            }
        }
        self.clock.parked_from = from + ids.len() - known.len();
        if !known.is_empty() {
            let count: u64 = self.queue.0.call(self.work.lane, &scripts::UNPARK, raw(&known)).await?;
            debug!(lane = %self.work.lane, count, "parked jobs taken back");
        }
        Ok(())
    }
}

/// What claim.lua says of a job's past: deliveries (this one included), strikes, stage, whether it overran.
pub(super) fn read_past(past: &[u8]) -> Result<[u32; 4], QueueError> {
    if past.is_empty() {
        return Ok([1, 0, 0, 0]);
    }
    let numbers = past.split(|byte| *byte == b'|').map(|part| std::str::from_utf8(part).ok()?.parse().ok());
    let numbers: Option<Vec<u32>> = numbers.collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| QueueError::answer("a job's past of another shape"))
}

/// The instant `ms` from now; none if it is negative.
fn after(now: Instant, ms: i64) -> Option<Instant> {
    u64::try_from(ms).ok().map(|ms| now + Duration::from_millis(ms))
}
