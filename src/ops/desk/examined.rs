//! What `doctor` found last. Programs wait until it is fresh; a page is shown at once, and says how old it is.
//!
//! An examination asks every provider, which must not feel how often somebody looks: one runs at a time, and its answer
//! holds for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::Desk;
use crate::config::Need;
use crate::ops::doctor::{self, Report};
use crate::time::Stopwatch;

/// As long as one examination holds.
const HOLDS: Duration = Duration::from_secs(10);

/// The last examination, and whoever makes the next one.
#[derive(Default)]
pub(super) struct Examined {
    last: watch::Sender<Option<Found>>,
    turn: Mutex<()>,
}

/// What was found, and when.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) since: Stopwatch,
    pub(super) report: Report,
}

impl Found {
    /// Whether it holds no longer.
    pub(super) fn is_old(&self) -> bool {
        self.since.elapsed() >= HOLDS
    }
}

impl Desk {
    /// What `doctor` finds, or found a few seconds ago. Whoever asks meanwhile waits for the same answer.
    pub(super) async fn examined(&self) -> Found {
        let _turn = self.examined.turn.lock().await;
        if let Some(found) = self.examined.last.borrow().clone().filter(|found| !found.is_old()) {
            return found;
        }
        let report = Box::pin(doctor::examine(&self.settings, Need::ALL)).await;
        let found = Found { since: Stopwatch::start(), report };
        self.examined.last.send_replace(Some(found.clone()));
        found
    }

    /// What was found last, at once. Where that is old, the next examination has begun when this returns. Only the first
    /// one is waited for.
    pub(super) async fn examined_last(self: &Arc<Self>) -> Found {
        let Some(last) = self.examined.last.borrow().clone() else { return self.examined().await };
        if last.is_old() && self.examined.turn.try_lock().is_ok() {
            let desk = Arc::clone(self);
            self.tasks.spawn(async move {
                desk.stop.run_until_cancelled(desk.examined()).await;
            });
        }
        last
    }
}
