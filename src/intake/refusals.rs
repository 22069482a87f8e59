//! Counts webhooks that were not believed, for the people on call: in memory, and now and then into a row.
//!
//! Whoever sends them costs no write each; a process that dies takes the counts of its last seconds with it, which are in
//! its log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ids::jitter;
use crate::store::Store;

/// Between two writes: people on call are told within half a minute anyway.
const EVERY: Duration = Duration::from_secs(10);

/// Counts by sender and reason: as many as there are of both.
type Counts = BTreeMap<(String, &'static str), i64>;

/// The counts that no row has yet; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Arc<Mutex<Counts>>);

impl Refusals {
    /// One more.
    pub(super) fn add(&self, provider: &str, reason: &'static str) {
        self.put(BTreeMap::from([((provider.to_owned(), reason), 1)]));
    }

    /// Writes them down until `stop`, and once more then.
    pub(super) async fn keep(self, store: Store, stop: CancellationToken) {
        let mut is_over = false;
        while !is_over {
            let pause = tokio::time::sleep(EVERY.mul_f64(1.0 - jitter() / 10.0));
            is_over = stop.run_until_cancelled(pause).await.is_none();
            let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            if counts.is_empty() {
                continue;
            }
            if let Err(error) = store.within(store.count_refused(&counts)).await {
                tracing::warn!(%error, "refused webhooks are counted in memory until they can be written down");
                self.put(counts);
            }
        }
    }

    fn put(&self, more: Counts) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, count) in more {
            *counts.entry(what).or_default() += count;
        }
    }
}
