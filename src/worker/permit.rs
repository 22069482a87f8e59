//! The right to make one call, and what the fleet is told of those that run here.
//!
//! A call's place, and the breaker's probe, live as leases do: a few seconds, and longer only while the worker that makes the
//! call says that it lives. A worker that dies takes neither with it for longer, however long its call might have taken: a
//! fleet whose workers die every two seconds would be without any place for its mails otherwise, and was.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::fate;
use super::reach::{Provider, Reach};
use crate::job::{Dependency, Failure};
use crate::queue::{Opening, Word};

/// The right to make one call. Its place is free when it is dropped.
pub(super) struct Permit {
    reach: Reach,
    dependency: Dependency,
    is_probe: bool,
    place: Option<u64>,
}

/// The calls of one provider that run here and hold something of the fleet's.
#[derive(Default)]
pub(super) struct Calls(Mutex<Running>);

#[derive(Default)]
struct Running {
    places: BTreeSet<u64>,
    probes: usize,
}

impl Permit {
    pub(super) fn new(reach: &Reach, of: &Provider, is_probe: bool, place: Option<u64>) -> Self {
        of.calls.begin(is_probe, place);
        Self { reach: reach.clone(), dependency: of.dependency, is_probe, place }
    }

    /// Tells the fleet what the call showed, and leaves.
    pub(super) async fn tell(self, answer: Result<(), &Failure>) {
        let word = fate::word(answer, self.dependency);
        let Some(provider) = self.reach.provider(self.dependency) else { return };
        let is_news = match word {
            Word::Lives | Word::Unsure => self.is_probe,
            // Of many calls that fail at once the first one tells.
            Word::Away => {
                self.is_probe || !matches!(provider.known.opening(Instant::now()), Opening::Shut(_))
            }
            Word::Busy(_) => true,
        };
        if !is_news {
            return;
        }
        let name = self.dependency.name();
        match self.reach.tell(self.dependency, word, self.is_probe).await {
            Ok(wait) if wait.is_zero() => {
                provider.known.back();
                metrics::gauge!("orderfleet_breaker_open", "dependency" => name).set(0.0);
                tracing::info!(provider = name, "the provider is back");
            }
            Ok(wait) => {
                provider.known.shut(Instant::now(), wait, true);
                metrics::gauge!("orderfleet_breaker_open", "dependency" => name).set(1.0);
                tracing::warn!(provider = name, ?wait, "the provider is away: its jobs wait");
            }
            Err(error) => tracing::debug!(provider = name, %error, "the fleet could not be told"),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(provider) = self.reach.provider(self.dependency) {
            provider.calls.end(self.is_probe, self.place);
        }
        if let Some(place) = self.place {
            self.reach.leave(self.dependency, place);
        }
    }
}

impl Calls {
    fn begin(&self, is_probe: bool, place: Option<u64>) {
        let mut running = self.lock();
        running.probes += usize::from(is_probe);
        running.places.extend(place);
    }

    fn end(&self, is_probe: bool, place: Option<u64>) {
        let mut running = self.lock();
        running.probes -= usize::from(is_probe);
        if let Some(place) = place {
            running.places.remove(&place);
        }
    }

    /// The places that are held, and whether a probe is under way; none where there is neither.
    pub(super) fn running(&self) -> Option<(Vec<u64>, bool)> {
        let running = self.lock();
        let has_probe = running.probes > 0;
        (has_probe || !running.places.is_empty())
            .then(|| (running.places.iter().copied().collect(), has_probe))
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
