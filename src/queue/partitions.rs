//! The partitions of the lanes: how many there are, and which one a job is in.
//!
//! A lane is split so that it can use more than one master of a cluster, and so that a dead master stops a part of it
//! only. A job's partition follows from its id and the lane's number of partitions, so that nobody has to be asked where
//! it is; this file is the only one that knows how.
//!
//! The number is a setting of each process, and may be another one in the next process that is started. So every process
//! says in Redis which numbers it goes by, and hears within a second which others do or did. Workers serve every partition
//! that any of them ever led to; what must be unique (an intent's key) is looked for under every number that was in use
//! while it is kept. The number of partitions of a lane that is split once is never taken back: an empty partition costs a
//! look every few seconds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::client::number;
use super::keys::LaneKeys;
use super::{Queue, QueueError, hub};
use crate::config::{LaneSettings, MOST_PARTITIONS};
use crate::job::Lane;

/// One part of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition {
    pub(super) lane: Lane,
    pub(super) number: usize,
}

impl Partition {
    /// The one that every lane has. What an operator rules for the lane stands here first.
    pub(super) const fn home(lane: Lane) -> Self {
        Self { lane, number: 0 }
    }

    pub(super) const fn is_home(self) -> bool {
        self.number == 0
    }

    /// Where this id belongs, in a lane of so many. By the end of the id: that is random, however the id was made.
    fn of(lane: Lane, id: Uuid, partitions: usize) -> Self {
        let [.., a, b, c, d] = *id.as_bytes();
        let random = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or_default();
        Self { lane, number: random % partitions.max(1) }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.lane, self.number)
    }
}

/// What this process knows of all of them.
pub(super) struct Partitions {
    prefix: String,
    /// How long an intent's key is kept: so long a number of before counts.
    kept: Duration,
    lanes: BTreeMap<Lane, Split>,
}

/// How one lane is split.
struct Split {
    /// The number that this process goes by.
    number: usize,
    /// What others go by, or went by.
    heard: watch::Sender<Heard>,
    keys: [OnceLock<LaneKeys>; MOST_PARTITIONS],
    /// The highest push sequence that was seen of each.
    sequences: [AtomicU64; MOST_PARTITIONS],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Heard {
    /// The highest that was ever in use.
    highest: usize,
    /// Those that were in use while intents' keys of then may still be kept.
    lately: Vec<usize>,
}

impl Partitions {
    /// `settings` by the lanes' names; a lane without is not split.
    pub(super) fn new(prefix: &str, settings: &BTreeMap<String, LaneSettings>, kept: Duration) -> Self {
        let split = |lane: Lane| {
            let number = settings.get(lane.name()).map_or(1, |set| set.partitions.clamp(1, MOST_PARTITIONS));
            let heard = watch::channel(Heard { highest: number, lately: vec![number] }).0;
            Split { number, heard, keys: Default::default(), sequences: Default::default() }
        };
        let lanes = Lane::ALL.into_iter().map(|lane| (lane, split(lane))).collect();
        Self { prefix: prefix.to_owned(), kept, lanes }
    }

    fn split(&self, lane: Lane) -> &Split {
        // Every lane is in the map: it is made from `Lane::ALL`.
        &self.lanes[&lane]
    }

    /// How many there are, by this process's settings.
    pub(super) fn number(&self, lane: Lane) -> usize {
        self.split(lane).number
    }

    /// Where a job of this id is pushed to.
    pub(super) fn of(&self, lane: Lane, id: Uuid) -> Partition {
        Partition::of(lane, id, self.number(lane))
    }

    /// Where an intent of this id may be kept: today's partition first, then those of other numbers. Nearly always one.
    pub(super) fn places(&self, lane: Lane, id: Uuid) -> Vec<Partition> {
        let mut places = vec![self.of(lane, id)];
        for number in &self.split(lane).heard.borrow().lately {
            let place = Partition::of(lane, id, *number);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// Every one that may hold jobs.
    pub(super) fn in_use(&self, lane: Lane) -> impl Iterator<Item = Partition> + use<> {
        let highest = self.split(lane).heard.borrow().highest;
        (0..highest).map(move |number| Partition { lane, number })
    }

    /// Waits until there are more than so many.
    pub(super) async fn more_than(&self, lane: Lane, known: usize) {
        let mut heard = self.split(lane).heard.subscribe();
        // The sender is ours, so the channel cannot be closed.
        let _ = heard.wait_for(|heard| heard.highest > known).await;
    }

    pub(super) fn keys(&self, partition: Partition) -> &LaneKeys {
        let Partition { lane, number } = partition;
        self.split(lane).keys[number].get_or_init(|| LaneKeys::new(&self.prefix, partition))
    }

    /// What `beat.lua` is told: the numbers in use here, of the lanes that were ever split.
    pub(super) fn told(&self) -> impl Iterator<Item = Vec<u8>> {
        let ever_split = self.lanes.iter().filter(|(_, split)| split.heard.borrow().highest > 1);
        ever_split.map(|(lane, split)| format!("{lane}:{}", split.number).into_bytes())
    }

    /// What `beat.lua` answers: (lane:number, ms since it was last in use)…
    pub(super) fn hear(&self, answer: Vec<redis::Value>) -> Result<(), QueueError> {
        let mut used: BTreeMap<Lane, Vec<(usize, Duration)>> = BTreeMap::new();
        let mut answer = answer.into_iter();
        while let (Some(name), Some(since)) = (answer.next(), answer.next()) {
            let name: String = redis::from_redis_value(name).map_err(QueueError::answer)?;
            let since = Duration::from_millis(u64::try_from(number(since)?).unwrap_or_default());
            // A lane of another version is none of ours.
            let Some((lane, partitions)) = name.rsplit_once(':') else { continue };
            if let (Some(lane), Ok(partitions)) = (Lane::named(lane), partitions.parse())
                && (1..=MOST_PARTITIONS).contains(&partitions)
            {
                used.entry(lane).or_default().push((partitions, since));
            }
        }
        for (lane, used) in used {
            self.hear_of(lane, &used);
        }
        Ok(())
    }

    fn hear_of(&self, lane: Lane, used: &[(usize, Duration)]) {
        let split = self.split(lane);
        let mut lately: Vec<usize> =
            used.iter().filter(|(_, since)| *since < self.kept).map(|(number, _)| *number).collect();
        lately.sort_unstable();
        split.heard.send_if_modified(|heard| {
            let highest = used.iter().map(|(number, _)| *number).fold(heard.highest, usize::max);
            let now = Heard { highest, lately };
            let is_news = *heard != now;
            *heard = now;
            is_news
        });
    }

    /// A push was answered with this sequence of its partition; the lane's, as far as is known here.
    pub(super) fn pushed(&self, partition: Partition, sequence: u64) -> u64 {
        let sequences = &self.split(partition.lane).sequences;
        sequences[partition.number].fetch_max(sequence, Ordering::Relaxed);
        sequences.iter().map(|sequence| sequence.load(Ordering::Relaxed)).sum()
    }

    /// A look showed this sequence of a partition. It may be lower: Redis may have been wiped.
    pub(super) fn saw(&self, partition: Partition, sequence: u64) {
        self.split(partition.lane).sequences[partition.number].store(sequence, Ordering::Relaxed);
    }
}

impl Queue {
    /// Hears how the lanes are split by others, and says how they are here. Workers do so with each heartbeat; whoever only
    /// pushes has to ask.
    pub async fn hear_of_partitions(&self) -> Result<(), QueueError> {
        hub::census(self, "", "").await.map(drop)
    }

    /// In how many partitions a lane's jobs may be.
    #[must_use]
    pub fn partitions(&self, lane: Lane) -> usize {
        self.0.partitions.in_use(lane).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::JobId;

    #[test]
    fn new_ids_are_spread_evenly() {
        let mut counts = [0_u32; 3];
        for _ in 0..3_000 {
            counts[Partition::of(Lane::Mail, JobId::new().uuid(), 3).number] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_id_stays_where_it_is() {
        // Written down: another rule would look for what is in Redis in the wrong place.
        let id = Uuid::from_u128(0x0123_4567_89ab_7def_8123_4567_89ab_cdef);
        let numbers = [1, 2, 3, 16].map(|partitions| Partition::of(Lane::Mail, id, partitions).number);
        assert_eq!(numbers, [0, 1, 2, 15]);
    }
}
