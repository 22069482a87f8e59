//! Who waits for news of which intent: one subscription for the whole process, handed on to those concerned.
//!
//! Subscribe first ([`Watch::follow`]), then read the state: so no change falls between the two. What was published while
//! Redis was away is not repeated; whoever waits therefore also reads again every [`RECHECK`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::ids::IntentId;
use crate::queue::{Changed, Queue};

/// Changes that may wait to be handed on: a second of the fastest fleet. What is lost beyond is found by the recheck.
const BACKLOG: usize = 16_384;
/// How often who waits reads again, because a publication may be lost: a few thousand waiters are a few hundred reads a
/// second.
pub(super) const RECHECK: Duration = Duration::from_secs(5);

/// Held answers and streams of one process, at most: each keeps a connection, and a process has some tens of thousands of
/// file descriptors at best.
const PLACES: usize = 20_000;

type Seats = HashMap<IntentId, watch::Sender<Option<Changed>>>;

/// All who wait; clones share them.
#[derive(Clone)]
pub(super) struct Watch {
    seats: Arc<Mutex<Seats>>,
    places: Arc<Semaphore>,
}

/// One who waits.
pub(super) struct Follow {
    intent: IntentId,
    news: watch::Receiver<Option<Changed>>,
    watch: Watch,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { seats: Arc::default(), places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Waits for news of this intent from now on; none where too many wait already.
    pub(super) fn follow(&self, intent: IntentId) -> Option<Follow> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let news = self.seats().entry(intent).or_insert_with(|| watch::channel(None).0).subscribe();
        Some(Follow { intent, news, watch: self.clone(), _place: place })
    }

    /// Hands news on until `stop`.
    pub(super) async fn run(self, queue: Queue, stop: CancellationToken) {
        let (sender, mut receiver) = broadcast::channel(BACKLOG);
        let hand_on = async {
            loop {
                match receiver.recv().await {
                    Ok(changed) => self.tell(changed),
                    Err(broadcast::error::RecvError::Lagged(lost)) => {
                        warn!(lost, "changes of intents were lost");
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        };
        tokio::select! {
            () = queue.listen(sender.clone(), stop) => {}
            () = hand_on => {}
        }
    }

    fn tell(&self, changed: Changed) {
        if let Some(seat) = self.seats().get(&changed.intent) {
            seat.send_replace(Some(changed));
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follow {
    /// Whose news these are.
    pub(super) fn intent(&self) -> IntentId {
        self.intent
    }

    /// The next change; never, where the process no longer hears any.
    pub(super) async fn changed(&mut self) -> Changed {
        loop {
            if self.news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(changed) = self.news.borrow_and_update().clone() {
                return changed;
            }
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let mut seats = self.watch.seats();
        // This receiver still counts: one means that nobody else waits.
        if seats.get(&self.intent).is_some_and(|seat| seat.receiver_count() <= 1) {
            seats.remove(&self.intent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_reach_who_waits_and_nobody_is_remembered() {
        let (watch, intent) = (Watch::new(), IntentId::new());
        let mut first = watch.follow(intent).unwrap();
        let second = watch.follow(intent).unwrap();
        watch.tell(Changed { intent, version: 2, public: "{}".to_owned() });
        assert_eq!(first.changed().await.version, 2);
        drop(first);
        assert_eq!(watch.seats().len(), 1);
        drop(second);
        assert_eq!(watch.seats().len(), 0);
        watch.tell(Changed { intent, version: 3, public: "{}".to_owned() });
        assert_eq!(watch.seats().len(), 0);
    }

    #[test]
    fn places_are_counted_and_come_back() {
        let watch = Watch::new();
        let mut all: Vec<_> = (0..PLACES).map(|_| watch.follow(IntentId::new()).unwrap()).collect();
        assert!(watch.follow(IntentId::new()).is_none());
        all.pop();
        assert!(watch.follow(IntentId::new()).is_some());
    }
}
