//! The door's view of a lane: how full it is, and the gate that a push passes where it is crowded.
//!
//! Who is sent away is told when there will be room, and a place of that moment is kept under the intent's id, in the
//! slot of its lane: so a thousand callers are told a thousand moments, by however many doors, and each finds its place
//! at whichever door it comes back to. The gate is judged inside the push, with the numbers of that moment; its limits
//! are the door's.

use std::time::Duration;

use futures::future::try_join_all;

use super::client::arg;
use super::partitions::Partition;
use super::{Queue, QueueError, scripts};
use crate::job::Lane;

/// How long a place is kept for a caller who is late.
const KEPT: Duration = Duration::from_secs(10);
/// Places that are kept at most: some six megabytes. Who comes beyond is told a time, and books when it is there.
const PLACES: u64 = 65_536;
/// So much before its time a place may be taken. A caller waits whole seconds, rounded up, and a random part of one
/// more: a second late on average. Without this the fleet would be idle for that second.
const EARLY: Duration = Duration::from_secs(1);

/// How full a lane is, and the memory of the Redis that holds it (the fullest, where several do).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs in a worker's hands.
    pub leased: u64,
    /// Jobs pushed, ever.
    pub pushed: u64,
    /// Jobs done, ever.
    pub done: u64,
    /// Places kept for callers who were sent away.
    pub promised: u64,
    /// Bytes that Redis uses.
    pub used_bytes: u64,
    /// Bytes that it may use; 0 is no limit.
    pub allowed_bytes: u64,
}

impl Gauge {
    /// Jobs that wait or are in a worker's hands.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.waiting.saturating_add(self.leased)
    }

    /// Two partitions as one. They may be on different servers: the fuller memory counts.
    fn and(self, other: Self) -> Self {
        let fullness =
            |of: &Self| of.used_bytes.saturating_mul(1_000).checked_div(of.allowed_bytes).unwrap_or(0);
        let fuller = if fullness(&other) >= fullness(&self) { other } else { self };
        Self {
            waiting: self.waiting + other.waiting,
            leased: self.leased + other.leased,
            pushed: self.pushed + other.pushed,
            done: self.done + other.done,
            promised: self.promised + other.promised,
            used_bytes: fuller.used_bytes,
            allowed_bytes: fuller.allowed_bytes,
        }
    }
}

/// What a push has to pass where the lane is crowded. All but the durations are in jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Open jobs and kept places that leave no room for somebody new.
    pub full: u64,
    /// Fewer open jobs than these would leave the fleet idle: somebody new comes in, whatever is promised.
    pub busy: u64,
    /// Open jobs at most, even for somebody who was promised a place.
    pub most: u64,
    /// How long one job takes the fleet.
    pub each: Duration,
    /// Nobody is sent away for longer.
    pub longest: Duration,
}

impl Gate {
    /// For a call in which nobody has to pass one.
    pub(super) const OPEN: Self = Self {
        full: u64::MAX,
        busy: u64::MAX,
        most: u64::MAX,
        each: Duration::ZERO,
        longest: Duration::ZERO,
    };

    /// One partition's, of so many that share what the lane holds and takes.
    pub(super) fn share(self, among: usize) -> Self {
        let (jobs, time) = (u64::try_from(among).unwrap_or(1), u32::try_from(among).unwrap_or(1));
        Self {
            full: self.full.div_ceil(jobs),
            busy: self.busy.div_ceil(jobs),
            most: self.most.div_ceil(jobs),
            each: self.each.saturating_mul(time),
            longest: self.longest,
        }
    }

    /// As the script expects it.
    pub(super) fn args(&self) -> impl Iterator<Item = Vec<u8>> {
        let each = self.each.as_secs_f64() * 1_000.0;
        [arg(self.full), arg(self.busy), arg(self.most), arg(each), arg(self.longest.as_millis())]
            .into_iter()
            .chain([arg(PLACES), arg(EARLY.as_millis()), arg(KEPT.as_millis())])
    }
}

impl Queue {
    /// Looks at a lane as its door has to know it.
    pub async fn gauge(&self, lane: Lane) -> Result<Gauge, QueueError> {
        let partitions = self.0.partitions.in_use(lane);
        let gauges = try_join_all(partitions.map(|partition| self.gauge_of(partition))).await?;
        Ok(gauges.into_iter().fold(Gauge::default(), Gauge::and))
    }

    async fn gauge_of(&self, partition: Partition) -> Result<Gauge, QueueError> {
        let mut keys = self.0.keys(partition).all().to_vec();
        keys.push(self.0.keys(partition).promises());
        let answer: Vec<u64> = self.0.link.call(&scripts::GAUGE, &keys, vec![arg(KEPT.as_millis())]).await?;
        let &[waiting, leased, pushed, done, promised, used_bytes, allowed_bytes] = answer.as_slice() else {
            return Err(QueueError::answer("a gauge of another shape"));
        };
        self.0.partitions.saw(partition, pushed);
        Ok(Gauge { waiting, leased, pushed, done, promised, used_bytes, allowed_bytes })
    }
}
