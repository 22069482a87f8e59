//! What a partition needs beside claims: due jobs promoted, ended leases swept, parked jobs taken back.
//!
//! Each is looked at when the next one is due, not on a beat; a claim's answer says when that is. Every worker does it for
//! every partition that it claims from: none is special.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Claimer, FIRST_PAUSE, LAST_PAUSE};
use crate::config::ms;
use crate::queue::client::arg;
use crate::queue::envelope::{Decoded, Envelope};
use crate::queue::{QueueError, hub, job_id, raw, scripts};

/// The loop turns this often, whatever happens: readiness watches it. Longer than the hub's own turn over eight lanes, so
/// that an idle worker does not look twice.
const TURN: Duration = Duration::from_secs(6);
/// Until due jobs are promoted again when more are due than may follow: the fleet has taken some of what waits by then.
const PROMOTION_PACE: Duration = Duration::from_millis(10);
/// Between two looks at the parked jobs: they wait for a deployment, not for milliseconds.
const PARKED_LOOK: Duration = Duration::from_secs(5);

/// When this partition has to be looked at.
#[derive(Clone, Default)]
pub(in crate::queue) struct PartitionClock {
    pub(super) due: Option<Instant>,
    pub(super) lease_end: Option<Instant>,
    /// When a limit of the fleet lets more through.
    pub(super) place: Option<Instant>,
    pub(super) parked: Option<Instant>,
    parked_from: usize,
    /// A call failed: another server may answer the next one, and its steadiness counts from the first sweep that asks.
    pub(super) is_in_doubt: bool,
    pub(super) was_alone: bool,
    /// The last claim left something behind.
    pub(super) backlog: bool,
}

impl Claimer {
    pub(super) fn next_look(&self) -> Instant {
        let clock = &self.clock;
        [clock.due, clock.lease_end, clock.place, clock.parked]
            .into_iter()
            .flatten()
            .fold(Instant::now() + TURN, std::cmp::Ord::min)
    }

    /// Does whatever is due. Errors are logged and tried again: nothing is lost by lateness.
    pub(super) async fn look(&mut self) {
        let now = Instant::now();
        // Nothing is to be done but to claim again.
        self.clock.place = self.clock.place.filter(|at| *at > now);
        if self.clock.due.is_some_and(|at| at <= now)
            && let Err(error) = self.promote().await
        {
            warn!(partition = %self.partition, %error, "due jobs not promoted");
            self.clock.due = Some(now + LAST_PAUSE);
        }
        // Each of these may have waited for a silent Redis.
        self.ear.pulses.claims.beat();
        if self.clock.lease_end.is_some_and(|at| at <= now)
            && let Err(error) = self.sweep().await
        {
            warn!(partition = %self.partition, %error, "ended leases not swept");
            self.clock.lease_end = Some(now + LAST_PAUSE);
        }
        self.ear.pulses.claims.beat();
        if self.clock.parked.is_some_and(|at| at <= now) {
            self.clock.parked = Some(now + PARKED_LOOK);
            if let Err(error) = self.unpark().await {
                warn!(partition = %self.partition, %error, "parked jobs not looked at");
            }
        }
    }

    async fn promote(&mut self) -> Result<(), QueueError> {
        let batch = self.queue.0.batch();
        let (_count, due): (u64, i64) =
            self.queue.0.call(self.partition, &scripts::PROMOTE, vec![arg(batch)]).await?;
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
            self.queue.0.call(self.partition, &scripts::SWEEP, args).await?;
        if swept > 0 {
            warn!(partition = %self.partition, swept, quarantined, "leases had ended");
            let lane = self.work.lane.name();
            metrics::counter!("orderfleet_leases_ended_total", "lane" => lane).increment(swept);
            metrics::counter!("orderfleet_jobs_quarantined_total", "lane" => lane).increment(quarantined);
        }
        self.clock.lease_end = after(Instant::now(), end);
        Ok(())
    }

    /// Takes back what this worker knows, a window of the parked jobs at a time.
    async fn unpark(&mut self) -> Result<(), QueueError> {
        let (keys, batch) = (self.queue.0.keys(self.partition), self.queue.0.batch());
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
                Some(Decoded::Known(envelope)) => (self.work.reads)(&envelope.kind, &envelope.body),
                Some(Decoded::Newer) => false,
                Some(Decoded::Unreadable(_)) | None => true,
            };
            if readable {
                known.push(job_id(id)?);
            }
        }
        self.clock.parked_from = from + ids.len() - known.len();
        if !known.is_empty() {
            let count: u64 = self.queue.0.call(self.partition, &scripts::UNPARK, raw(&known)).await?;
            debug!(partition = %self.partition, count, "parked jobs taken back");
        }
        Ok(())
    }
}

/// The instant `ms` from now; none if it is negative.
pub(super) fn after(now: Instant, ms: i64) -> Option<Instant> {
    u64::try_from(ms).ok().map(|ms| now + Duration::from_millis(ms))
}
