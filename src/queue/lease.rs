//! The right to work on a job until a time, and the task that keeps it.
//!
//! A lease's end is counted from *before* its claim or renewal was sent, so this side never believes longer than Redis
//! does. Whoever drops the last handle on a lease gives up its renewal: nothing has to be told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::client::arg;
use super::partitions::Partition;
use super::pulse::LanePulses;
use super::{Queue, scripts};
use crate::config::ms;
use crate::ids::JobId;
use crate::proof::{self, Turning};

/// After a failed renewal the next try comes this much sooner: three more fit into what is left of the lease.
const HASTE: u32 = 4;

/// The right to work on one delivery.
#[derive(Clone, Debug)]
pub struct Lease(pub(super) Arc<Held>);

#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: JobId,
    /// Where its copy is.
    pub(super) partition: Partition,
    /// `sequence:worker`: proof of having been handed the job by one claim and no other. Shared by all that it handed over.
    pub(super) token: Arc<[u8]>,
    ends: Mutex<Instant>,
    /// The kind's deadline: no renewal past it, so that a hung handler loses its job.
    deadline: Instant,
    lost: CancellationToken,
    /// Its outcome is on its way: that Redis knows the lease no more is no news then.
    ended: AtomicBool,
}

impl Lease {
    pub(super) fn new(
        id: JobId,
        partition: Partition,
        token: Arc<[u8]>,
        ends: Instant,
        deadline: Instant,
    ) -> Self {
        let (ends, lost) = (Mutex::new(ends), CancellationToken::new());
        Self(Arc::new(Held { id, partition, token, ends, deadline, lost, ended: AtomicBool::new(false) }))
    }

    /// The token, for logs and rows.
    #[must_use]
    pub fn token(&self) -> String {
        String::from_utf8_lossy(&self.0.token).into_owned()
    }

    /// How long it certainly lasts from now.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if self.0.lost.is_cancelled() {
            return Duration::ZERO;
        }
        self.0.ends().saturating_duration_since(Instant::now())
    }

    /// How much of the kind's deadline is left, from the claim on: renewal stops there.
    #[must_use]
    pub fn left_of_deadline(&self) -> Duration {
        self.0.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether it is over, or was given to somebody else.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.remaining().is_zero()
    }

    /// Waits until it is lost. A call under it is to be aborted then.
    pub async fn lost(&self) {
        while !self.is_lost() {
            tokio::select! {
                () = self.0.lost.cancelled() => {}
                () = tokio::time::sleep_until(self.0.ends()) => {}
            }
        }
    }
}

impl Held {
    /// Its outcome was given.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn ends(&self) -> Instant {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, to: Instant) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

/// Every lease that this worker holds in one partition.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Vec<Weak<Held>>>);

impl Leases {
    pub(super) fn add(&self, lease: &Lease) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lease.0));
    }

    /// Those to be renewed now. Forgets what was dropped or lost, and tells the holders of what has just ended.
    fn to_renew(&self) -> Vec<Arc<Held>> {
        let now = Instant::now();
        let mut due = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|weak| {
            let Some(held) = weak.upgrade() else { return false };
            if held.lost.is_cancelled() {
                return false;
            }
            if now < held.deadline {
                due.push(held);
            } else if held.ends() <= now {
                held.lost.cancel();
                return false;
            }
            true
        });
        due
    }
}

/// Adds leases as the scripts take many of them: neighbours of one token together, as (token, how many, id…).
pub(super) fn add_by_token<'a>(args: &mut Vec<Vec<u8>>, leases: impl Iterator<Item = &'a Held>) {
    let mut leases = leases.peekable();
    while let Some(first) = leases.next() {
        let start = args.len();
        args.extend([first.token.to_vec(), Vec::new(), first.id.uuid().as_bytes().to_vec()]);
        while let Some(next) = leases.next_if(|next| next.token == first.token) {
            args.push(next.id.uuid().as_bytes().to_vec());
        }
        let count = args.len() - start - 2;
        if let Some(place) = args.get_mut(start + 1) {
            *place = arg(count);
        }
    }
}

/// Renews until `stop`, whatever the handlers are doing.
pub(super) async fn keep(
    queue: Queue,
    partition: Partition,
    leases: Arc<Leases>,
    pulses: Arc<LanePulses>,
    stop: CancellationToken,
) {
    let every = ms(queue.0.settings.renew_ms);
    let mut wait = every;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        pulses.renewals.beat();
        proof::turn(Turning::Renewal).await;
        wait = every;
        for batch in leases.to_renew().chunks(queue.0.batch()) {
            pulses.renewals.beat();
            if let Err(error) = renew(&queue, partition, batch).await {
                warn!(%partition, %error, leases = batch.len(), "leases not renewed");
                wait = every / HASTE;
            }
        }
    }
}

async fn renew(queue: &Queue, partition: Partition, batch: &[Arc<Held>]) -> Result<(), super::QueueError> {
    let lane = partition.lane;
    let lease = queue.0.settings.lease_ms;
    let ends = Instant::now() + ms(lease);
    let mut args = vec![arg(lease)];
    add_by_token(&mut args, batch.iter().map(AsRef::as_ref));
    let answers: Vec<i64> = queue.0.call(partition, &scripts::RENEW, args).await?;
    for (held, kept) in batch.iter().zip(answers) {
        if kept == 1 {
            held.extend(ends);
        } else if !held.ended.load(Ordering::Relaxed) {
            warn!(%lane, job = %held.id, "lease lost");
            metrics::counter!("orderfleet_leases_lost_total", "lane" => lane.name()).increment(1);
            held.lost.cancel();
        }
    }
    Ok(())
}
