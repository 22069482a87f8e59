//! What a worker is given: deliveries, and the free hand that they fill.

use std::fmt;

use tokio::sync::OwnedSemaphorePermit;

use super::envelope::Origin;
use super::lease::Lease;
use crate::ids::JobId;
use crate::job::{Band, Lane};
use crate::telemetry::TraceContext;

/// One hand-over of a job. Dropped without an outcome, its lease is renewed no more, and the job comes back as a suspect.
#[derive(Debug)]
pub struct Delivery {
    /// The job.
    pub id: JobId,
    /// Its stored kind.
    pub kind: String,
    /// Where it was born.
    pub origin: Origin,
    /// Attempts that Postgres counted when the copy was pushed or delayed; the row decides.
    pub attempts: u16,
    /// Hand-overs since its last outcome, this one included.
    pub deliveries: u32,
    /// Deaths of workers that had it alone in their hands.
    pub strikes: u32,
    /// Whether its last lease ended under a living worker: that spends an attempt at this load.
    pub overran: bool,
    /// Its payload.
    pub body: Vec<u8>,
    /// The right to work on it.
    pub lease: Lease,
    /// Where it waited.
    pub lane: Lane,
    /// How urgent it was.
    pub band: Band,
    /// When it was pushed, in seconds since 1970.
    pub pushed_at: u32,
    /// The trace it belongs to.
    pub traceparent: Option<TraceContext>,
}

/// What is waiting, up to the lane's limit. Holds one of the worker's free hands until it is dropped.
pub struct Slice {
    /// The deliveries, in the order in which they waited.
    pub deliveries: Vec<Delivery>,
    pub(super) _hands: Vec<OwnedSemaphorePermit>,
}

impl Slice {
    /// Takes the deliveries out; the hand stays taken until the rest is dropped.
    pub fn take(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice").field("deliveries", &self.deliveries.len()).finish_non_exhaustive()
    }
}
