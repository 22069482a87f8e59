//! What is looked at more often than it may be looked for: the last finding, kept.
//!
//! An examination asks every provider, what is stuck among a million orders takes a second, and a hundred thousand dead
//! letters are grouped in a fraction of one: none must feel how often somebody looks. One look runs at a time. A program waits for it; a page waits for a moment, then shows what was found
//! last, and says how old that is.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Desk;
use super::problem::Problem;
use crate::config::Need;
use crate::ops::dead_letters::GROUPS;
use crate::ops::doctor::{self, Report};
use crate::ops::stuck::{self, Line};
use crate::store::dead_letters::{Group, Selection};
use crate::time::Stopwatch;

/// As long as an examination holds at least: it asks providers.
const EXAMINATION_HOLDS: Duration = Duration::from_secs(10);
/// A page waits this long for a look. Half of the tenth of a second that feels like no wait.
const PATIENCE: Duration = Duration::from_millis(50);
/// A look that takes longer than [`PATIENCE`] holds for so many times what it took: whoever watches costs a tenth of a
/// connection at most.
const SHARE: u32 = 10;

/// The last finding, and whoever makes the next one.
pub(super) struct Kept<T> {
    last: watch::Sender<Option<Found<T>>>,
    turn: Mutex<()>,
    least: Duration,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What was found, and when.
#[derive(Clone)]
pub(super) struct Found<T> {
    pub(super) what: T,
    pub(super) since: Stopwatch,
    holds: Duration,
}

impl<T> Found<T> {
    /// Whether it holds no longer.
    pub(super) fn is_old(&self) -> bool {
        self.since.elapsed() >= self.holds
    }
}

impl<T: Clone + Send + Sync + 'static> Kept<T> {
    /// A finding holds for `least`, and longer where looking takes long. Looks that nobody waits for are `tasks`, until `stop`.
    fn new(least: Duration, tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        let (tasks, stop) = (tasks.clone(), stop.clone());
        Arc::new(Self { last: watch::Sender::new(None), turn: Mutex::new(()), least, tasks, stop })
    }

    /// What `look` finds, or what was found so lately that it still holds. Whoever asks meanwhile waits for the same.
    async fn fresh(&self, look: impl Future<Output = Result<T, Problem>>) -> Result<Found<T>, Problem> {
        let _turn = self.turn.lock().await;
        if let Some(found) = self.last.borrow().clone().filter(|found| !found.is_old()) {
            return Ok(found);
        }
        let looking = Stopwatch::start();
        let what = look.await?;
        let took = looking.elapsed();
        let holds = if took > PATIENCE { self.least.max(took * SHARE) } else { self.least };
        let found = Found { what, since: Stopwatch::start(), holds };
        self.last.send_replace(Some(found.clone()));
        Ok(found)
    }

    /// What was found holds no longer: somebody changed it.
    fn forget(&self) {
        self.last.send_replace(None);
    }

    /// The same in a moment: where the look takes longer, what was found last, while the look goes on. Only the first one is
    /// waited for.
    async fn soon(
        self: &Arc<Self>,
        look: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<Found<T>, Problem> {
        let Some(last) = self.last.borrow().clone() else { return self.fresh(look).await };
        let (kept, stop) = (Arc::clone(self), self.stop.clone());
        let looking = self.tasks.spawn(async move { stop.run_until_cancelled_owned(kept.fresh(look)).await });
        match tokio::time::timeout(PATIENCE, looking).await {
            Ok(Ok(Some(found))) => found,
            _ => Ok(last),
        }
    }
}

/// What is kept of the looks that cost.
pub(super) struct Findings {
    examined: Arc<Kept<Report>>,
    stuck: Arc<Kept<Vec<Line>>>,
    groups: Arc<Kept<Vec<Group>>>,
}

impl Findings {
    /// Nothing found yet.
    pub(super) fn new(tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        Self {
            examined: Kept::new(EXAMINATION_HOLDS, tasks, stop),
            stuck: Kept::new(Duration::ZERO, tasks, stop),
            groups: Kept::new(Duration::ZERO, tasks, stop),
        }
    }
}

impl Desk {
    /// Letters were taken up or dropped: whoever looks next waits for how they stand now.
    pub(super) fn letters_changed(&self) {
        self.findings.groups.forget();
    }

    /// What `doctor` finds, or found a few seconds ago.
    pub(super) async fn examined(self: &Arc<Self>) -> Result<Found<Report>, Problem> {
        self.findings.examined.fresh(examine(Arc::clone(self))).await
    }

    /// What `doctor` finds or found last, for a page.
    pub(super) async fn examined_soon(self: &Arc<Self>) -> Result<Found<Report>, Problem> {
        self.findings.examined.soon(examine(Arc::clone(self))).await
    }

    /// What is stuck or was last, for a page.
    pub(super) async fn stuck_soon(self: &Arc<Self>) -> Result<Found<Vec<Line>>, Problem> {
        let desk = Arc::clone(self);
        self.findings.stuck.soon(async move { desk.stuck(stuck::SHOWN).await }).await
    }

    /// All open dead letters by what they died of, now or lately, for a page.
    pub(super) async fn groups_soon(self: &Arc<Self>) -> Result<Found<Vec<Group>>, Problem> {
        let desk = Arc::clone(self);
        let look = async move {
            Ok(desk.store.within(desk.store.dead_groups(&Selection::default(), GROUPS)).await?)
        };
        self.findings.groups.soon(look).await
    }
}

async fn examine(desk: Arc<Desk>) -> Result<Report, Problem> {
    Ok(Box::pin(doctor::examine(&desk.settings, Need::ALL)).await)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn kept() -> Arc<Kept<u32>> {
        Kept::new(Duration::ZERO, &TaskTracker::new(), &CancellationToken::new())
    }

    async fn what(found: impl Future<Output = Result<Found<u32>, Problem>>) -> u32 {
        found.await.ok().unwrap().what
    }

    #[tokio::test]
    async fn a_quick_look_is_always_anew() {
        let kept = kept();
        for number in 1..4 {
            assert_eq!(what(kept.soon(async move { Ok(number) })).await, number);
        }
    }

    #[tokio::test]
    async fn a_slow_look_shows_the_last_one_meanwhile_and_then_holds() {
        let kept = kept();
        assert_eq!(what(kept.soon(async { Ok(1) })).await, 1);
        let (done, waits) = oneshot::channel();
        let slow = async move { Ok(waits.await.unwrap_or_default()) };
        assert_eq!(what(kept.soon(slow)).await, 1);
        done.send(2).unwrap();
        assert_eq!(what(kept.fresh(async { Ok(3) })).await, 2, "it still holds: nobody looks again");
    }
}
