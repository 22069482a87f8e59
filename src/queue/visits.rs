//! How often somebody tried lately, counted for all doors together.
//!
//! One number for each: when all tries that were counted will be worked off, at so many a minute. It ends by itself once it
//! says nothing, so that what is kept is bounded by the tries of about a minute, whoever makes them.

use std::time::Duration;

use super::client::arg;
use super::{Queue, QueueError, keys, scripts};

/// How many tries somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// So many at once, and so many a minute from then on.
    pub a_minute: u32,
}

impl Allowance {
    /// How long until one more try is allowed.
    #[must_use]
    pub fn each(self) -> Duration {
        Duration::from_mins(1) / self.a_minute.max(1)
    }
}

impl Queue {
    /// Counts a try, and `before` it those that are not counted yet. Answers how long to stay away: nothing where it may
    /// come in. A try that may not is not counted, so that whoever stays away as told gets in.
    pub async fn visit(
        &self,
        who: &str,
        allowance: Allowance,
        before: i64,
    ) -> Result<Option<Duration>, QueueError> {
        let keys = [keys::visits(&self.0.prefix, who)];
        let each = allowance.each().as_micros();
        let args = vec![
            format!("{}.{:03}", each / 1_000, each % 1_000).into_bytes(),
            arg(allowance.a_minute),
            arg(before),
        ];
        let wait: u64 = self.0.link.call(&scripts::VISIT, &keys, args).await?;
        Ok((wait > 0).then(|| Duration::from_millis(wait)))
    }
}
