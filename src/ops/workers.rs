//! The live workers, as their heartbeats show them, and how one is asked to drain.

use std::fmt::Write as _;

use serde::Serialize;

use super::queues::span;
use crate::queue::scale::LIVE;
use crate::queue::{Queue, QueueError};

/// One worker.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerReport {
    /// Its name: unique for each start of a process.
    pub id: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its version.
    pub version: String,
    /// The lanes that it works.
    pub lanes: Vec<String>,
    /// Slices that it has in hand.
    pub busy: usize,
    /// Slices that it can have in hand at once.
    pub slots: usize,
    /// Milliseconds since its last heartbeat.
    pub silent_ms: i64,
    /// Whether it beats. One that is silent for an hour is forgotten.
    pub live: bool,
}

/// Why a worker was not asked to drain.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// Redis.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is none.
    #[error("there is no live worker {0:?}; {1}")]
    Unknown(String, String),
}

/// Every worker that beat within the last hour and did not end on purpose, the freshest first.
pub async fn look(queue: &Queue) -> Result<Vec<WorkerReport>, QueueError> {
    let (seen, now) = (queue.workers().await?, queue.now_ms().await?);
    let mut workers: Vec<WorkerReport> = seen
        .into_iter()
        .map(|worker| {
            let silent_ms = now.saturating_sub(worker.beat_at_ms).max(0);
            let card = worker.card;
            WorkerReport {
                id: worker.name,
                host: card.as_ref().map_or_else(|| "?".to_owned(), |card| card.host.clone()),
                version: card.as_ref().map_or_else(|| "?".to_owned(), |card| card.version.clone()),
                busy: card.as_ref().map_or(0, |card| card.busy),
                slots: card.as_ref().map_or(0, |card| card.slots),
                lanes: card.map(|card| card.lanes).unwrap_or_default(),
                silent_ms,
                live: silent_ms < LIVE,
            }
        })
        .collect();
    workers.sort_by_key(|worker| worker.silent_ms);
    Ok(workers)
}

/// Asks a worker to drain, as SIGTERM would.
pub async fn drain(queue: &Queue, id: &str) -> Result<(), DrainError> {
    let workers = look(queue).await?;
    let live: Vec<&str> =
        workers.iter().filter(|worker| worker.live).map(|worker| worker.id.as_str()).collect();
    if !live.contains(&id) {
        let known = if live.is_empty() {
            "no worker lives".to_owned()
        } else {
            format!("alive are {}", live.join(", "))
        };
        return Err(DrainError::Unknown(id.to_owned(), known));
    }
    Ok(queue.ask_to_drain(id).await?)
}

/// The workers as a table.
#[must_use]
pub fn render(workers: &[WorkerReport]) -> String {
    if workers.is_empty() {
        return "No worker has beaten within the last hour. Start one: `orderfleet worker`.\n".to_owned();
    }
    let width = workers.iter().map(|worker| worker.id.len()).max().unwrap_or_default();
    let host = workers.iter().map(|worker| worker.host.len()).max().unwrap_or_default().max("host".len());
    let mut text = format!(
        "{:<width$}  {:<host$}  {:<8}  {:>7}  {:<8}  {}\n",
        "id", "host", "version", "slices", "beat", "lanes"
    );
    for worker in workers {
        let beat = span(worker.silent_ms.unsigned_abs() / 1_000);
        let beat = if worker.live { format!("{beat} ago") } else { format!("SILENT {beat}") };
        let slices = format!("{}/{}", worker.busy, worker.slots);
        // Writing into a text can't fail.
        let _ = writeln!(
            text,
            "{:<width$}  {:<host$}  {:<8}  {slices:>7}  {beat:<8}  {}",
            worker.id,
            worker.host,
            worker.version,
            worker.lanes.join(" ")
        );
    }
    if workers.iter().any(|worker| !worker.live) {
        text.push_str(
            "\nA silent worker died, or can not reach Redis. What it held comes back by its leases.\n",
        );
    }
    text
}
