//! What a claim brought: numbers that set the clock, and jobs, of which this worker takes what it can read.

use std::sync::Arc;

use redis::Value;
use tokio::time::Instant;
use tracing::warn;

use super::Claimer;
use super::tick::after;
use crate::config::ms;
use crate::ids::JobId;
use crate::queue::client::{bytes, number};
use crate::queue::envelope::{Decoded, Envelope};
use crate::queue::lease::Lease;
use crate::queue::slice::Delivery;
use crate::queue::{QueueError, job_id};

/// Values before the first job in the answer of claim.lua, and values of each job.
pub(in crate::queue) const HEAD: usize = 10;
pub(in crate::queue) const WIDTH: usize = 3;

/// A claim's answer, and when it was asked for: this side must never believe longer than Redis does.
pub(super) struct Answer {
    pub(super) values: Vec<Value>,
    pub(super) asked: Instant,
}

/// What a claim found.
pub(super) struct Claimed {
    pub(super) deliveries: Vec<Delivery>,
    /// Handed over, readable or not.
    pub(super) count: usize,
    pub(super) more: bool,
    pub(super) alone: bool,
}

impl Claimer {
    pub(super) fn read(&mut self, Answer { values: mut head, asked }: Answer) -> Result<Claimed, QueueError> {
        let jobs = head.split_off(head.len().min(HEAD));
        let token: Arc<[u8]> = bytes(head.pop().unwrap_or(Value::Nil))?.into();
        let head: Vec<i64> = head.into_iter().map(number).collect::<Result<_, _>>()?;
        let &[paused, waiting, alone, parked, due, lease_end, buried, epoch, limited] = head.as_slice()
        else {
            return Err(QueueError::answer("a claim of another shape"));
        };
        self.queue.0.news.tell(self.partition, epoch == 1, buried > 0);
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
        let lease = |deadline| {
            Lease::new(id, self.partition, token, before + ms(self.queue.0.settings.lease_ms), deadline)
        };
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
}

/// What claim.lua says of a job's past: deliveries (this one included), strikes, stage, whether it overran.
pub(in crate::queue) fn read_past(past: &[u8]) -> Result<[u32; 4], QueueError> {
    if past.is_empty() {
        return Ok([1, 0, 0, 0]);
    }
    let numbers = past.split(|byte| *byte == b'|').map(|part| std::str::from_utf8(part).ok()?.parse().ok());
    let numbers: Option<Vec<u32>> = numbers.collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| QueueError::answer("a job's past of another shape"))
}
