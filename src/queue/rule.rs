//! What an operator rules for a lane: paused or not, and its limits.
//!
//! It stands in the lane's first partition, and every other one has a copy, because a claim sees one partition only. A copy
//! is checked after it was made: whatever is ruled meanwhile, by whomever, and whatever partition comes into use, all end
//! with what the first one says.

use super::client::arg;
use super::partitions::Partition;
use super::{Queue, QueueError, scripts};
use crate::job::Lane;

/// Copies, until whoever else rules the lane without a pause is left alone.
const COPIES: u32 = 8;

/// A change of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This much; 0 is no limit.
    To(u32),
    /// What the settings say.
    Default,
}

/// What stands in a partition: the marks of `paused`, `most_leased` and `most_a_second`.
type Ruled = [Option<Vec<u8>>; 3];

impl Queue {
    /// Hands nothing more of a lane over, in the whole fleet, until [`Queue::resume`].
    pub async fn pause(&self, lane: Lane) -> Result<(), QueueError> {
        self.rule(lane, &scripts::PAUSE, vec![arg(1)]).await
    }

    /// Hands a lane's jobs over again.
    pub async fn resume(&self, lane: Lane) -> Result<(), QueueError> {
        self.rule(lane, &scripts::PAUSE, vec![arg(0)]).await
    }

    /// Sets a lane's limits for the whole fleet, from the next claim on. What is in hand goes on.
    pub async fn limit(
        &self,
        lane: Lane,
        concurrency: Option<Change>,
        rate: Option<Change>,
    ) -> Result<(), QueueError> {
        let mut args = Vec::new();
        for (field, change) in [("most_leased", concurrency), ("most_a_second", rate)] {
            match change {
                Some(Change::To(most)) => args.extend([field.into(), arg(most)]),
                Some(Change::Default) => args.extend([field.into(), Vec::new()]),
                None => {}
            }
        }
        self.rule(lane, &scripts::LIMIT, args).await
    }

    /// A partition that comes into use by now hears it too: who opens one copies what stands in the first.
    async fn rule(&self, lane: Lane, script: &redis::Script, args: Vec<Vec<u8>>) -> Result<(), QueueError> {
        let _done: i64 = self.0.call(Partition::home(lane), script, args).await?;
        self.hear_of_partitions().await?;
        self.copy_rule(lane).await
    }

    /// Says how the lanes are split here, and brings what is ruled to every partition: before the first push.
    pub(super) async fn open_partitions(&self) -> Result<(), QueueError> {
        self.hear_of_partitions().await?;
        for lane in Lane::ALL {
            if self.0.partitions.number(lane) > 1 {
                self.copy_rule(lane).await?;
            }
        }
        Ok(())
    }

    /// Gives every other partition what the first one has.
    pub(super) async fn copy_rule(&self, lane: Lane) -> Result<(), QueueError> {
        let others = || self.0.partitions.in_use(lane).filter(|partition| !partition.is_home());
        if others().next().is_none() {
            return Ok(());
        }
        let mut ruled = self.ruled(lane).await?;
        for _ in 0..COPIES {
            let [paused, leased, a_second] = ruled.clone();
            let paused = vec![arg(u8::from(paused.is_some()))];
            let limits = [("most_leased", leased), ("most_a_second", a_second)];
            let limits: Vec<Vec<u8>> =
                limits.into_iter().flat_map(|(name, most)| [name.into(), most.unwrap_or_default()]).collect();
            for partition in others() {
                let _done: i64 = self.0.call(partition, &scripts::PAUSE, paused.clone()).await?;
                let _done: i64 = self.0.call(partition, &scripts::LIMIT, limits.clone()).await?;
            }
            let now = self.ruled(lane).await?;
            if now == ruled {
                break;
            }
            ruled = now;
        }
        Ok(())
    }

    async fn ruled(&self, lane: Lane) -> Result<Ruled, QueueError> {
        let meter = self.0.keys(Partition::home(lane)).meter();
        let mut get = redis::cmd("HMGET");
        get.arg(&meter).arg(&["paused", "most_leased", "most_a_second"]);
        self.0.link.send(&meter, &get).await
    }
}
