//! Where one job stands, for the person who asks why it is not running. A look that walks the waiting lists: never part of the
//! fleet's own work.

use std::time::Duration;

use redis::Value;

use super::client::{arg, bytes, number};
use super::envelope::{Decoded, Envelope};
use super::partitions::Partition;
use super::{Queue, QueueError, scripts};
use crate::config::ms;
use crate::ids::JobId;
use crate::job::{Band, Lane};

/// Places of a waiting list that are walked: some ten milliseconds of Redis's time.
const MOST_PLACES: u64 = 100_000;
/// The numbers of the lists among a partition's keys (see `scripts/prelude.lua`).
const FIRST_BAND: i64 = 2;
const SUSPECTS: i64 = 6;
const ALONE: i64 = 7;

/// What Redis has of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub place: Place,
    /// Its kind, where this version can read it.
    pub kind: Option<String>,
    /// Attempts that its row counted when it was pushed or delayed.
    pub attempts: u16,
    /// Hand-overs since its last outcome.
    pub deliveries: u32,
    /// Deaths of workers that had it alone in their hands.
    pub strikes: u32,
}

/// One of the places where a job can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind so many others in its band.
    Waiting(Band, u64),
    /// Its last lease ended without a word: handed over in a small slice, behind so many others.
    Suspect(u64),
    /// It happened again: handed over alone, behind so many others.
    Alone(u64),
    /// Behind more than can be counted.
    FarBack,
    /// Due after this.
    Delayed(Duration),
    /// In the hands of this worker, for so long without another sign of life.
    Leased(String, Duration),
    /// For so long, because no worker knew its kind or version.
    Parked(Duration),
    /// Buried, with this reason.
    Buried(String),
}

impl Queue {
    /// Where a job of this lane stands; none where Redis has nothing of it.
    pub async fn locate(&self, lane: Lane, id: JobId) -> Result<Option<Standing>, QueueError> {
        for partition in self.0.partitions.in_use(lane) {
            let found = self.locate_in(partition, id).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn locate_in(&self, partition: Partition, id: JobId) -> Result<Option<Standing>, QueueError> {
        let args = vec![id.uuid().as_bytes().to_vec(), arg(MOST_PLACES)];
        let answer: Vec<Value> = self.0.call(partition, &scripts::LOCATE, args).await?;
        let [envelope, list, at, due, ending, parked, record, buried] =
            answer.try_into().map_err(|_| QueueError::answer("a place of another shape"))?;
        let (envelope, record, buried) = (bytes(envelope)?, bytes(record)?, bytes(buried)?);
        if envelope.is_empty() && buried.is_empty() {
            return Ok(None);
        }
        let known = match Envelope::decode(&envelope) {
            Decoded::Known(known) => Some(known),
            Decoded::Newer | Decoded::Unreadable(_) => None,
        };
        let after = |value: Value| number(value).map(|value| u64::try_from(value).ok().map(ms));
        let (due, ending, parked) = (after(due)?, after(ending)?, after(parked)?);
        let record = String::from_utf8_lossy(&record).into_owned();
        let mut fields = record.split('|');
        let holder = fields.next().unwrap_or_default().split_once(':').map(|(_, worker)| worker.to_owned());
        let mut count = || fields.next().and_then(|field| field.parse().ok()).unwrap_or_default();
        let (deliveries, strikes) = (count(), count());
        let before = u64::try_from(number(at)?).unwrap_or_default().saturating_sub(1);
        let place = match (number(list)?, due, ending, parked) {
            _ if !buried.is_empty() => {
                let reason = buried.split(|byte| *byte == b'\n').next().unwrap_or_default();
                Place::Buried(String::from_utf8_lossy(reason).into_owned())
            }
            (_, _, Some(left), _) => Place::Leased(holder.unwrap_or_default(), left),
            (_, Some(due), ..) => Place::Delayed(due),
            (.., Some(since)) => Place::Parked(since),
            (SUSPECTS, ..) => Place::Suspect(before),
            (ALONE, ..) => Place::Alone(before),
            (list, ..) if list >= FIRST_BAND => {
                let band = u8::try_from(list - FIRST_BAND).ok().and_then(Band::numbered).unwrap_or_default();
                Place::Waiting(band, before)
            }
            _ => Place::FarBack,
        };
        let attempts = known.as_ref().map_or(0, |known| known.attempts);
        Ok(Some(Standing { place, kind: known.map(|known| known.kind), attempts, deliveries, strikes }))
    }
}
