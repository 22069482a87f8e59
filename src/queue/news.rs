//! What the claims of this process saw of their lanes beside jobs, so that nobody has to ask Redis for it.
//!
//! A lane that was wiped and a job that Redis had to bury are rare; asking every lane for both every other second was most
//! of what an idle worker cost Redis. Each claim tells both, and every lane is claimed every few seconds, work or not.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Queue;
use super::partitions::Partition;
use crate::job::Lane;

/// Of every partition that this process claims from.
#[derive(Debug, Default)]
pub(super) struct News {
    seen: Mutex<BTreeMap<Partition, Seen>>,
    buried: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    has_epoch: bool,
    has_buried: bool,
}

impl News {
    /// A claim saw this.
    pub(super) fn tell(&self, partition: Partition, has_epoch: bool, has_buried: bool) {
        self.seen().insert(partition, Seen { has_epoch, has_buried });
        if has_buried {
            self.buried.notify_one();
        }
    }

    /// What is still there is told again by the next claim.
    fn take_buried(&self) -> Vec<Lane> {
        let mut seen = self.seen();
        let take = |(partition, seen): (&Partition, &mut Seen)| {
            std::mem::take(&mut seen.has_buried).then_some(partition.lane)
        };
        let mut lanes: Vec<Lane> = seen.iter_mut().filter_map(take).collect();
        lanes.dedup();
        lanes
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<Partition, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Whether every partition of the lane had its epoch when this process claimed from it last; `None` if it never did:
    /// then the lane is another's to look after.
    #[must_use]
    pub fn had_epoch(&self, lane: Lane) -> Option<bool> {
        let seen = self.0.news.seen();
        let of_lane = seen.iter().filter(|(partition, _)| partition.lane == lane);
        of_lane.map(|(_, seen)| seen.has_epoch).reduce(|all, has| all && has)
    }

    /// Waits until a claim of this process sees jobs that Redis had to bury; answers their lanes, each once for each time.
    pub async fn lanes_with_buried(&self) -> Vec<Lane> {
        loop {
            let told = self.0.news.buried.notified();
            let with = self.0.news.take_buried();
            if !with.is_empty() {
                return with;
            }
            told.await;
        }
    }
}
