//! Keeps a look at one job of each kind that ended well: what a dead letter of that kind is held against.
//!
//! A glance every few minutes, on a task of its own and after the commit: no job waits for it, and what is lost with a worker
//! the next one makes good. Nothing in what is written leads to a person.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::ids::JobId;
use crate::job::anonymous;
use crate::store::Store;
use crate::time::Stopwatch;

/// As long as one stands: payloads change their shape with a release, not with the hour.
const LASTS: Duration = Duration::from_mins(10);

/// When this worker last kept one of each kind; clones share it.
#[derive(Clone, Default)]
pub(super) struct Exemplars(Arc<Mutex<HashMap<&'static str, Stopwatch>>>);

impl Exemplars {
    /// A job ended well: keeps it, where the last one of its kind was kept long enough ago.
    pub(super) fn ended(
        &self,
        (store, tasks): (&Store, &TaskTracker),
        kind: &'static str,
        (job, body): (JobId, &[u8]),
    ) {
        if !self.is_due(kind) {
            return;
        }
        let Ok(payload) = serde_json::from_slice(body) else { return };
        let store = store.clone();
        tasks.spawn(async move {
            let kept = store.within(store.keep_exemplar(kind, job, &anonymous(&payload), LASTS)).await;
            if let Err(error) = kept {
                tracing::debug!(kind, %error, "no exemplar was kept: another job will do");
            }
        });
    }

    fn is_due(&self, kind: &'static str) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = kept.get(kind).is_none_or(|since| since.elapsed() >= LASTS);
        if is_due {
            kept.insert(kind, Stopwatch::start());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_kind_is_due_and_the_next_one_later() {
        let exemplars = Exemplars::default();
        assert!(exemplars.is_due("a") && exemplars.is_due("b"));
        assert!(!exemplars.clone().is_due("a"));
    }
}
