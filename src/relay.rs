//! Carries job rows into the queue, and brings back what the queue lost.
//!
//! The process that wrote rows pushes them right after its commit and marks them in groups; every process also sweeps for
//! rows that nobody marked (a crash between commit and push), and walks the rows that the queue should know (a Redis
//! that was wiped or failed over). Pushing twice is harmless: the queue knows the id, and load decides. No NOTIFY: it
//! serialises commits (12,500 to 5,700 a second, measured).

mod sold_out;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::WorkerSettings;
use crate::ids::{JobId, jitter};
use crate::job::{Band, Lane};
use crate::queue::{Copy, Origin, Projection, Queue, QueueError};
use crate::store::{Committed, JobCopy, Store, StoreError, jobs};

/// Rows of one sweep: as many as one script call and one short transaction move well.
const SWEEP: i64 = 500;
/// How long a sweep's push may take: its rows are locked meanwhile.
const PUSH_DEADLINE: Duration = Duration::from_secs(1);
/// Marks waiting to be written: at most what one process pushes in a few seconds. Beyond it the sweep marks.
const MARKS: usize = 16_384;
/// How long marks are gathered: one small update instead of many.
const GATHER: Duration = Duration::from_millis(200);
/// How long the queue may not know a row that was pushed: a push that is still on its way.
const GRACE: Duration = Duration::from_secs(10);
/// From the start to the reaper's first look: every lane has been claimed from by then, and told of its epoch.
const FIRST_LOOK: Duration = Duration::from_millis(200);
/// Rows compared with the queue in one step of the walk.
const WALK: i64 = 500;

/// Why rows could not be carried.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Redis.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Redis was silent for longer than rows may be locked.
    #[error("Redis did not take the rows within a second")]
    Slow,
}

/// One process's relay.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

struct Inner {
    store: Store,
    queue: Queue,
    marks: mpsc::Sender<JobId>,
}

impl Relay {
    /// Starts the loops of this process on `tasks`; they end with `stop`.
    #[must_use]
    pub fn start(
        store: &Store,
        queue: &Queue,
        settings: &WorkerSettings,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let relay = Self::beside(store, queue, tasks, stop);
        let every = Duration::from_millis(settings.relay_ms);
        tasks.spawn(repeat(every, stop.clone(), {
            let relay = relay.clone();
            move || {
                let relay = relay.clone();
                async move { relay.sweep().await }
            }
        }));
        tasks.spawn(sold_out::compare(store.clone(), queue.clone(), stop.clone()));
        tasks.spawn(reap(relay.clone(), Duration::from_millis(settings.reaper_ms), stop.clone()));
        relay
    }

    /// The relay of a process that writes rows and works on none: it pushes what it wrote, and workers sweep the rest.
    #[must_use]
    pub fn beside(store: &Store, queue: &Queue, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let (marks, marked) = mpsc::channel(MARKS);
        tasks.spawn(mark(store.clone(), marked, stop.clone()));
        Self(Arc::new(Inner { store: store.clone(), queue: queue.clone(), marks }))
    }

    /// What a commit left to be done: public states first, so that a reader never waits for a finished job's news.
    pub async fn carry(&self, committed: Committed) -> Result<(), QueueError> {
        let states: Vec<Projection> = committed
            .states
            .into_iter()
            .map(|state| Projection {
                intent: state.intent,
                version: state.version,
                public: state.state.to_string(),
            })
            .collect();
        if !states.is_empty() {
            self.0.queue.project(&states).await?;
        }
        if !committed.left.is_empty()
            && let Err(error) = self.0.queue.tell_left(&committed.left).await
        {
            tracing::debug!(%error, "the door was not told what is sold out: the comparison will");
        }
        if committed.copies.is_empty() {
            return Ok(());
        }
        // The rows are committed: if this push fails, the sweep does it.
        if let Err(error) = self.push(&committed.copies).await {
            tracing::warn!(%error, rows = committed.copies.len(), "rows not pushed at once: the sweep will push them");
        }
        Ok(())
    }

    async fn push(&self, rows: &[JobCopy]) -> Result<(), QueueError> {
        let copies: Vec<Copy> = rows.iter().filter_map(copy).collect();
        self.0.queue.push(&copies).await?;
        pushed("commit", copies.len());
        for copy in &copies {
            // Full or closed: the sweep finds the row unmarked, pushes it again and marks it.
            let _ = self.0.marks.try_send(copy.id);
        }
        Ok(())
    }

    /// Pushes rows that nobody marked, until there are none. Returns how many.
    pub async fn sweep(&self) -> Result<usize, RelayError> {
        let mut pushed = 0;
        loop {
            let page = self.0.store.within(self.page()).await?;
            if page == 0 {
                return Ok(pushed);
            }
            self::pushed("sweep", page);
            pushed += page;
        }
    }

    /// Pushes some of them in one transaction: locked, so that no other process pushes the same.
    async fn page(&self) -> Result<usize, RelayError> {
        let mut tx = self.0.store.begin().await?;
        let rows = jobs::unrelayed(&mut tx, SWEEP).await?;
        let copies: Vec<Copy> = rows.iter().filter_map(copy).collect();
        let ids: Vec<JobId> = rows.iter().map(|row| row.id).collect();
        if ids.is_empty() {
            return Ok(0);
        }
        timeout(PUSH_DEADLINE, self.0.queue.push(&copies)).await.map_err(|_| RelayError::Slow)??;
        jobs::relayed(&mut tx, &ids).await?;
        tx.commit().await?;
        Ok(ids.len())
    }

    /// One step of the reaper for a lane that this process works: without an epoch the queue has lost all of it, so that
    /// every row wants a copy again before a new epoch begins; else one page of rows is compared with what the queue knows.
    async fn reap(&self, lane: Lane, after: &mut Option<JobId>) -> Result<u64, RelayError> {
        let Some(had_epoch) = self.0.queue.had_epoch(lane) else { return Ok(0) };
        // What the last claim saw may have been mended since, here or elsewhere.
        if !had_epoch && self.0.queue.epoch(lane).await?.is_none() {
            let lost = self.relay_again(lane).await?;
            self.0.queue.ensure_epoch(lane).await?;
            return Ok(lost);
        }
        self.compare_page(lane, after, GRACE).await
    }

    /// Every row that the queue lost with an epoch wants a copy again.
    async fn relay_again(&self, lane: Lane) -> Result<u64, RelayError> {
        let (store, mut lost) = (&self.0.store, 0);
        // Of several partitions the others still have theirs, or one is merely new: a copy that is elsewhere would come twice.
        if self.0.queue.partitions(lane) > 1 {
            let mut walk = None;
            loop {
                lost += self.compare_page(lane, &mut walk, Duration::ZERO).await?;
                if walk.is_none() {
                    return Ok(lost);
                }
            }
        }
        // Pages, so that no transaction is long.
        let mut after = None;
        loop {
            let page = store.within(store.unrelay_lane(lane.name(), after, WALK)).await?;
            let Some(end) = page.last() else { return Ok(lost) };
            after = Some(*end);
            lost += u64::try_from(page.len()).unwrap_or_default();
        }
    }

    /// Compares the rows behind `after` with what the queue knows. At the end, `after` is none.
    async fn compare_page(
        &self,
        lane: Lane,
        after: &mut Option<JobId>,
        grace: Duration,
    ) -> Result<u64, RelayError> {
        let store = &self.0.store;
        let page = store.within(store.relayed_page(lane.name(), *after, grace, WALK)).await?;
        *after = page.last().copied();
        if page.is_empty() {
            return Ok(0);
        }
        let known = self.0.queue.knows(lane, &page).await?;
        let lost: Vec<JobId> =
            page.into_iter().zip(known).filter(|(_, known)| !known).map(|(id, _)| id).collect();
        if lost.is_empty() {
            return Ok(0);
        }
        Ok(store.within(store.unrelay(&lost)).await?)
    }
}

/// Counts rows that were pushed: right after their commit, or by the sweep.
fn pushed(by: &'static str, rows: usize) {
    let rows = u64::try_from(rows).unwrap_or_default();
    metrics::counter!("orderfleet_relay_pushed_rows_total", "by" => by).increment(rows);
}

async fn reap(relay: Relay, every: Duration, stop: CancellationToken) {
    // Where the walk stands in each lane.
    let mut walks: HashMap<Lane, Option<JobId>> = HashMap::new();
    // A Redis that is new to us gets its epochs before there is much work to be lost.
    if stop.run_until_cancelled(sleep(FIRST_LOOK)).await.is_none() {
        return;
    }
    loop {
        for lane in Lane::ALL {
            match relay.reap(lane, walks.entry(lane).or_default()).await {
                Ok(0) => {}
                Ok(lost) => {
                    tracing::warn!(%lane, lost, "the queue had lost jobs: they are pushed again");
                    metrics::counter!("orderfleet_reaper_lost_rows_total", "lane" => lane.name())
                        .increment(lost);
                }
                Err(error) => tracing::warn!(%lane, %error, "the reaper could not look"),
            }
        }
        if stopped(&stop, every).await {
            return;
        }
    }
}

/// Does something at a steady beat, spread by jitter so that many processes do not beat as one.
async fn repeat<F, Fut>(every: Duration, stop: CancellationToken, sweep: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<usize, RelayError>>,
{
    while !stopped(&stop, every).await {
        match sweep().await {
            Ok(0) => {}
            Ok(moved) => tracing::debug!(moved, "rows swept"),
            Err(error) => tracing::warn!(%error, "the sweep could not be done"),
        }
    }
}

/// Waits a beat; true where the process is ending.
async fn stopped(stop: &CancellationToken, every: Duration) -> bool {
    let beat = every.mul_f64(0.75 + jitter() / 2.0);
    stop.run_until_cancelled(sleep(beat)).await.is_none()
}

/// Writes marks in groups. What it can not write is left to the sweep.
async fn mark(store: Store, mut marked: mpsc::Receiver<JobId>, stop: CancellationToken) {
    let mut ids = Vec::with_capacity(MARKS);
    loop {
        tokio::select! {
            got = marked.recv_many(&mut ids, MARKS) => if got == 0 { return },
            () = stop.cancelled() => {
                marked.close();
                if marked.recv_many(&mut ids, MARKS).await == 0 { return }
            }
        }
        stop.run_until_cancelled(sleep(GATHER)).await;
        while let Ok(id) = marked.try_recv() {
            ids.push(id);
        }
        ids.sort_unstable();
        if let Err(error) = store.within(store.mark_relayed(&ids)).await {
            tracing::warn!(%error, rows = ids.len(), "rows not marked: the sweep will push them again");
        }
        ids.clear();
    }
}

/// A row as the queue gets it. A lane or band of a newer version stays in Postgres until a newer worker sweeps it.
fn copy(row: &JobCopy) -> Option<Copy> {
    Some(Copy {
        id: row.id,
        kind: row.kind.clone(),
        lane: Lane::named(&row.lane)?,
        band: Band::numbered(u8::try_from(row.band).ok()?)?,
        origin: Origin::Row,
        attempts: u16::try_from(row.attempts).unwrap_or(u16::MAX),
        delay: row.delay,
        body: row.payload.to_string().into_bytes(),
        traceparent: row.traceparent,
    })
}
