//! What the claims of this process saw of their lanes beside jobs, so that nobody has to ask Redis for it.
//!
//! A lane that was wiped and a job that Redis had to bury are rare; asking every lane for both every other second was most
//! of what an idle worker cost Redis. Each claim tells both, and every lane is claimed every few seconds, work or not.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Queue;
use crate::job::Lane;

/// Of every lane that this process claims from.
#[derive(Debug, Default)]
pub(super) struct News {
    lanes: Mutex<BTreeMap<Lane, Seen>>,
    buried: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    has_epoch: bool,
    has_buried: bool,
}

impl News {
    /// A claim saw this.
    pub(super) fn tell(&self, lane: Lane, has_epoch: bool, has_buried: bool) {
        self.lanes().insert(lane, Seen { has_epoch, has_buried });
        if has_buried {
            self.buried.notify_one();
        }
    }

    /// What is still there is told again by the next claim.
    fn take_buried(&self) -> Vec<Lane> {
        let mut lanes = self.lanes();
        let take = |(lane, seen): (&Lane, &mut Seen)| std::mem::take(&mut seen.has_buried).then_some(*lane);
        lanes.iter_mut().filter_map(take).collect()
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<Lane, Seen>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Whether the lane had its epoch when this process claimed from it last; `None` if it never did: then the lane is
    /// another's to look after.
    #[must_use]
    pub fn had_epoch(&self, lane: Lane) -> Option<bool> {
        self.0.news.lanes().get(&lane).map(|seen| seen.has_epoch)
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
