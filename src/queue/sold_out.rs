//! Which articles are sold out, as a hint for the door: it may refuse early, and may never confirm.
//!
//! Postgres decides what is left. A commit that takes the last piece, or brings the first one back, tells it here with the
//! stock row's version, so that late news change nothing; and every worker compares the articles noted here with their
//! rows every few seconds, so that a hint that was lost, or that outlived a restored database, is corrected. Where nobody
//! has compared for [`BELIEVED`], nothing is sold out: a stale hint opens the door.

use std::time::Duration;

use super::client::arg;
use super::{Queue, QueueError, keys, scripts};
use crate::domain::stock::Left;

/// How long a comparison is believed: several ticks of one worker.
const BELIEVED: Duration = Duration::from_secs(10);
/// Articles that a door hears of at most, and that one comparison looks at: a megabyte.
const MOST: usize = 10_000;

impl Queue {
    /// Tells what a commit left. Articles that never ran out are not kept.
    pub async fn tell_left(&self, left: &[Left]) -> Result<(), QueueError> {
        self.note_left("news", left).await
    }

    /// Notes what stands in Postgres, whatever stood here.
    pub async fn correct_left(&self, left: &[Left]) -> Result<(), QueueError> {
        self.note_left("truth", left).await
    }

    async fn note_left(&self, mode: &str, left: &[Left]) -> Result<(), QueueError> {
        let mut args = vec![mode.as_bytes().to_vec()];
        for one in left {
            args.extend([one.sku.clone().into_bytes(), arg(one.version), arg(one.available)]);
        }
        let keys = [keys::stock(&self.0.prefix)];
        self.0.link.call::<Option<i64>>(&scripts::LEFT, &keys, args).await?;
        Ok(())
    }

    /// The articles that are noted: sold out now or once.
    pub async fn noted_articles(&self) -> Result<Vec<String>, QueueError> {
        let key = keys::stock(&self.0.prefix);
        let mut noted: Vec<String> = self.0.link.send(&key, redis::cmd("HKEYS").arg(&key)).await?;
        noted.retain(|sku| !sku.is_empty());
        noted.truncate(MOST);
        Ok(noted)
    }

    /// The articles of which nothing is left; none where that is not sure.
    pub async fn sold_out(&self) -> Result<Vec<String>, QueueError> {
        let keys = [keys::stock(&self.0.prefix)];
        let args = vec![arg(BELIEVED.as_millis()), arg(MOST)];
        self.0.link.call(&scripts::SOLD_OUT, &keys, args).await
    }
}
