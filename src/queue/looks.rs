//! Looking at the queue without taking anything: depth, what it knows, what it had to bury, its epoch. Of a lane, which is
//! all of its partitions.

use futures::future::try_join_all;
use redis::Value;

use super::client::{arg, bytes, number};
use super::envelope::{Decoded, Envelope};
use super::partitions::Partition;
use super::{Queue, QueueError, SetLimits, job_id, raw, scripts};
use crate::ids::{JobId, random_bytes};
use crate::job::Lane;

/// The first numbers of depth.lua's answer; the heads of the bands follow.
const NUMBERS: usize = 14;

/// How much of a lane stands where, in jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Waiting in each band, express first.
    pub bands: [u64; 4],
    /// Waiting under suspicion.
    pub suspects: u64,
    /// Not due yet.
    pub delayed: u64,
    /// In a worker's hands.
    pub leased: u64,
    /// Buried by Redis alone, not yet moved to Postgres.
    pub dead: u64,
    /// Waiting for a worker that knows them.
    pub parked: u64,
    /// Pushed, ever.
    pub pushed: u64,
    /// Done, ever.
    pub done: u64,
    /// Whether nothing is handed over.
    pub paused: bool,
    /// What an operator allows the whole fleet here, in place of the settings.
    pub set: SetLimits,
    /// Age in seconds of the oldest job at the head of a band.
    pub oldest_seconds: Option<u64>,
}

impl Depth {
    /// Everything that could be handed over now.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.bands.iter().sum::<u64>() + self.suspects
    }

    /// Two partitions as one. What an operator ruled stands in the first.
    fn and(mut self, other: &Self) -> Self {
        for (band, more) in self.bands.iter_mut().zip(other.bands) {
            *band += more;
        }
        for (count, more) in [
            (&mut self.suspects, other.suspects),
            (&mut self.delayed, other.delayed),
            (&mut self.leased, other.leased),
            (&mut self.dead, other.dead),
            (&mut self.parked, other.parked),
            (&mut self.pushed, other.pushed),
            (&mut self.done, other.done),
        ] {
            *count += more;
        }
        self.oldest_seconds = self.oldest_seconds.max(other.oldest_seconds);
        self
    }
}

/// What Redis had to bury alone: quarantined or unreadable. A worker moves it to Postgres.
#[derive(Clone, Debug)]
pub struct Buried {
    /// The job.
    pub id: JobId,
    /// Why, as a code.
    pub reason: String,
    /// When, in milliseconds since 1970, by Redis's clock.
    pub buried_at_ms: i64,
    /// The job, if it can be read.
    pub envelope: Option<Envelope>,
    /// Its bytes, if it cannot.
    pub raw: Vec<u8>,
}

impl Queue {
    /// How much of a lane stands where.
    pub async fn depth(&self, lane: Lane) -> Result<Depth, QueueError> {
        let partitions = self.0.partitions.in_use(lane).map(|partition| self.depth_of(partition));
        let depths = try_join_all(partitions).await?;
        Ok(depths.into_iter().reduce(|all, depth| all.and(&depth)).unwrap_or_default())
    }

    async fn depth_of(&self, partition: Partition) -> Result<Depth, QueueError> {
        let mut answer: Vec<Value> = self.0.call(partition, &scripts::DEPTH, Vec::new()).await?;
        let heads = answer.split_off(answer.len().min(NUMBERS));
        let limits = answer.split_off(answer.len().min(NUMBERS - 2));
        let set = SetLimits::read(limits.into_iter().map(number).collect::<Result<Vec<_>, _>>()?.as_slice());
        let numbers: Vec<u64> = answer
            .into_iter()
            .map(|value| Ok(u64::try_from(number(value)?).unwrap_or_default()))
            .collect::<Result<_, QueueError>>()?;
        let &[a, b, c, d, suspects, delayed, leased, dead, parked, pushed, done, paused] = numbers.as_slice()
        else {
            return Err(QueueError::answer("a depth of another shape"));
        };
        let mut oldest = None;
        for head in heads {
            if let Decoded::Known(envelope) = Envelope::decode(&bytes(head)?) {
                oldest = oldest.max(Some(self.0.seconds().saturating_sub(envelope.pushed_at)));
            }
        }
        let (bands, paused, oldest_seconds) = ([a, b, c, d], paused == 1, oldest.map(u64::from));
        Ok(Depth {
            bands,
            suspects,
            delayed,
            leased,
            dead,
            parked,
            pushed,
            done,
            paused,
            set,
            oldest_seconds,
        })
    }

    /// Redis's clock, in milliseconds since 1970: the one that leases are judged by (in a cluster, those of the intents).
    pub async fn now_ms(&self) -> Result<i64, QueueError> {
        let (seconds, micros): (i64, i64) = self
            .0
            .link
            .send(&self.0.keys(Partition::home(Lane::Intents)).meter(), &redis::cmd("TIME"))
            .await?;
        Ok(seconds.saturating_mul(1_000).saturating_add(micros / 1_000))
    }

    /// Whether the queue knows jobs: waiting, delayed, leased, parked or buried. An answer for each, in order. A job that was
    /// pushed under another number of partitions is known where it is.
    pub async fn knows(&self, lane: Lane, ids: &[JobId]) -> Result<Vec<bool>, QueueError> {
        let mut known = vec![false; ids.len()];
        for partition in self.0.partitions.in_use(lane) {
            let open: Vec<usize> = (0..ids.len()).filter(|at| !known[*at]).collect();
            for places in open.chunks(self.0.batch()) {
                let asked: Vec<JobId> = places.iter().map(|at| ids[*at]).collect();
                let answers: Vec<i64> = self.0.call(partition, &scripts::KNOWS, raw(&asked)).await?;
                places.iter().zip(answers).for_each(|(at, answer)| known[*at] = answer == 1);
            }
        }
        Ok(known)
    }

    /// The lane's epoch, which is that of each partition; `None` when Redis lost one of them: was wiped, or failed over to
    /// nothing, or is new.
    pub async fn epoch(&self, lane: Lane) -> Result<Option<String>, QueueError> {
        let epochs = self.0.partitions.in_use(lane).map(|partition| self.epoch_of(partition));
        let epochs: Option<Vec<String>> = try_join_all(epochs).await?.into_iter().collect();
        Ok(epochs.map(|epochs| epochs.join(".")))
    }

    async fn epoch_of(&self, partition: Partition) -> Result<Option<String>, QueueError> {
        let meter = self.0.keys(partition).meter();
        self.0.link.send(&meter, redis::cmd("HGET").arg(&meter).arg("epoch")).await
    }

    /// Gives every partition an epoch unless it has one; answers what stands. Call it once all the lane's rows are relayed
    /// again: from then on a missing epoch is news.
    pub async fn ensure_epoch(&self, lane: Lane) -> Result<String, QueueError> {
        // What was ruled for the lane is lost with the partition too.
        self.copy_rule(lane).await?;
        for partition in self.0.partitions.in_use(lane) {
            let fresh = format!("{:032x}", u128::from_le_bytes(random_bytes()));
            let meter = self.0.keys(partition).meter();
            let mut set = redis::cmd("HSETNX");
            let _set: i64 = self.0.link.send(&meter, set.arg(&meter).arg("epoch").arg(fresh)).await?;
        }
        Ok(self.epoch(lane).await?.unwrap_or_default())
    }

    /// What Redis had to bury alone, the oldest first.
    pub async fn buried(&self, lane: Lane, limit: usize) -> Result<Vec<Buried>, QueueError> {
        let partitions = self.0.partitions.in_use(lane).map(|partition| self.buried_in(partition, limit));
        let mut buried = try_join_all(partitions).await?.concat();
        buried.sort_by_key(|buried| buried.buried_at_ms);
        buried.truncate(limit);
        Ok(buried)
    }

    async fn buried_in(&self, partition: Partition, limit: usize) -> Result<Vec<Buried>, QueueError> {
        let keys = self.0.keys(partition);
        let last = limit.clamp(1, self.0.batch()) - 1;
        let mut range = redis::cmd("ZRANGE");
        range.arg(keys.buried()).arg(0).arg(arg(last)).arg("WITHSCORES");
        let found: Vec<(Vec<u8>, f64)> = self.0.link.send(&keys.buried(), &range).await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("HMGET");
        get.arg(keys.reasons());
        for (id, _) in &found {
            get.arg(id);
        }
        let kept: Vec<Option<Vec<u8>>> = self.0.link.send(&keys.reasons(), &get).await?;
        found
            .into_iter()
            .zip(kept)
            .map(|((id, at), kept)| read_buried(&id, at, &kept.unwrap_or_default()))
            .collect()
    }

    /// Forgets buried jobs: Postgres has them now, or their rows were gone. Answers how many there were.
    pub async fn drop_buried(&self, lane: Lane, ids: &[JobId]) -> Result<u64, QueueError> {
        let mut count = 0;
        for partition in self.0.partitions.in_use(lane) {
            for ids in ids.chunks(self.0.batch()) {
                count += self.0.call::<u64>(partition, &scripts::DROP_BURIED, raw(ids)).await?;
            }
        }
        Ok(count)
    }
}

fn read_buried(id: &[u8], at: f64, kept: &[u8]) -> Result<Buried, QueueError> {
    let cut = kept.iter().position(|byte| *byte == b'\n').unwrap_or(kept.len());
    let raw = kept.get(cut + 1..).unwrap_or_default().to_vec();
    let envelope = match Envelope::decode(&raw) {
        Decoded::Known(envelope) => Some(envelope),
        Decoded::Newer | Decoded::Unreadable(_) => None,
    };
    Ok(Buried {
        id: job_id(id)?,
        reason: String::from_utf8_lossy(kept.get(..cut).unwrap_or_default()).into_owned(),
        buried_at_ms: whole(at),
        envelope,
        raw,
    })
}

/// A score of a sorted set as whole milliseconds.
pub(super) fn whole(score: f64) -> i64 {
    format!("{score:.0}").parse().unwrap_or_default()
}
