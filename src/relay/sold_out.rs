//! Compares what the door believes to be sold out with the stock rows, again and again.
//!
//! A hint is told with the commit that took the last piece or brought the first one back. That news can be lost on the
//! way, or outlive a database that was restored, or be changed by nobody who tells (an import, a correction by hand). Every
//! worker compares: whoever comes first corrects, and the others find nothing to do.

use std::collections::HashSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{RelayError, stopped};
use crate::domain::stock::Left;
use crate::queue::Queue;
use crate::store::Store;

/// Between two comparisons: an article that is there again is sold again within five seconds, whatever was lost.
const EVERY: Duration = Duration::from_secs(2);

/// Compares until `stop`, first at once: what a fresh worker sells out is believed from the start.
pub(super) async fn compare(store: Store, queue: Queue, stop: CancellationToken) {
    loop {
        if let Err(error) = once(&store, &queue).await {
            tracing::debug!(%error, "what is sold out could not be compared: in ten seconds the door believes none of it");
        }
        if stopped(&stop, EVERY).await {
            return;
        }
    }
}

async fn once(store: &Store, queue: &Queue) -> Result<(), RelayError> {
    let noted = queue.noted_articles().await?;
    let mut left = store.within(store.left(&noted)).await?;
    let sold: HashSet<&String> = left.iter().map(|left| &left.sku).collect();
    // What is no article any more is not sold out: the worker says what it is.
    let gone = noted.iter().filter(|sku| !sold.contains(sku));
    let gone: Vec<Left> = gone.map(|sku| Left { sku: sku.clone(), version: 0, available: 1 }).collect();
    left.extend(gone);
    queue.correct_left(&left).await?;
    Ok(())
}
