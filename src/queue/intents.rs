//! An order intent's idempotency key and public state: pushed with its copy in one script, read and projected here.
//!
//! The state lies in the slot of its partition of the intents' lane, so that key and copy are written together or not at
//! all. Other lanes project into that slot with a call of their own, before their copy is finished.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use redis::Value;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::client::{arg, bytes, number};
use super::entry::Entry;
use super::gate::Gate;
use super::partitions::Partition;
use super::shorthand::{expand, shorten};
use super::{Inner, Queue, QueueError, keys, scripts};
use crate::ids::{IntentId, JobId};
use crate::job::{Band, Lane};
use crate::telemetry::TraceContext;

/// Bytes of a fingerprint: SHA-256.
const FINGERPRINT: usize = 32;
/// Between two tries to subscribe: a lost subscription is noticed by readers as a late event, never as a wrong one.
const RESUBSCRIBE: Duration = Duration::from_millis(250);
/// Without news for so long, the subscription is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(5);

/// An order intent at the door.
#[derive(Clone, Debug)]
pub struct IntentPush {
    /// Its id: a keyed hash of caller and idempotency key.
    pub intent: IntentId,
    /// The id of its job.
    pub job: JobId,
    /// The kind of its job.
    pub kind: String,
    /// How urgent it is.
    pub band: Band,
    /// The job's payload.
    pub body: Vec<u8>,
    /// The trace it belongs to.
    pub traceparent: Option<TraceContext>,
    /// SHA-256 of the canonical request.
    pub fingerprint: [u8; FINGERPRINT],
    /// The public state `queued`, as JSON.
    pub public: String,
    /// What it has to pass, where the lane is crowded. Whoever holds a place passes it.
    pub gate: Option<Gate>,
    /// Nothing new is taken in: only who is known already gets an answer.
    pub only_known: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntentPushed {
    /// The queue has it now. `position`: jobs pushed and not done when it came, itself included.
    Accepted {
        /// The lane's push sequence.
        sequence: u64,
        /// How many are open in the lane.
        position: u64,
    },
    /// The key is known, with the same request.
    Replayed {
        /// The version of the state.
        version: i64,
        /// The state, as JSON.
        public: String,
        /// It was queued and its copy was gone: it was pushed again.
        healed: bool,
    },
    /// The key is known, with another request.
    Mismatch,
    /// It was not known, and nothing new was to be taken in.
    Unknown,
    /// The gate did not let it in; nothing was taken in.
    Later {
        /// When there will be room.
        wait: Duration,
        /// Whether a place is kept for it then.
        booked: bool,
    },
}

/// An intent's state, as Redis has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentState {
    /// SHA-256 of the canonical request; `None` if only a projection wrote it.
    pub fingerprint: Option<[u8; FINGERPRINT]>,
    /// The order's version; 0 is what the intake wrote.
    pub version: i64,
    /// The state, as JSON.
    pub public: String,
}

/// A public state to be shown.
#[derive(Clone, Debug)]
pub struct Projection {
    /// Of which intent.
    pub intent: IntentId,
    /// Written only if this is newer.
    pub version: i64,
    /// The state, as JSON.
    pub public: String,
}

/// A public state that has just changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Of which intent.
    pub intent: IntentId,
    /// Its version.
    pub version: i64,
    /// The state, as JSON.
    pub public: String,
}

impl Queue {
    /// Takes an order intent in, together with its idempotency key.
    pub async fn push_intent(&self, intent: IntentPush) -> Result<IntentPushed, QueueError> {
        let places = self.0.partitions.places(Lane::Intents, intent.intent.uuid());
        match places.as_slice() {
            [place] => Entry::push(&self.0, *place, intent).await,
            places => self.push_where_known(places, intent).await,
        }
    }

    /// What Redis knows of an intent; `None` does not mean that Postgres knows nothing.
    pub async fn intent(&self, id: IntentId) -> Result<Option<IntentState>, QueueError> {
        let places = self.0.partitions.places(Lane::Intents, id.uuid());
        let found = try_join_all(places.into_iter().map(|place| self.intent_at(place, id))).await?;
        // Whoever goes by another number may have written elsewhere: the newest counts.
        Ok(found.into_iter().flatten().max_by_key(|state| state.version))
    }

    pub(super) async fn intent_at(
        &self,
        place: Partition,
        id: IntentId,
    ) -> Result<Option<IntentState>, QueueError> {
        let key = self.0.keys(place).intent(id);
        let state: Option<Vec<u8>> = self.0.link.send(&key, redis::cmd("GET").arg(&key)).await?;
        state.map(|state| read_state(&state, id)).transpose()
    }

    /// Shows public states: each only if it is newer, told on the channel that [`Queue::listen`] hears.
    pub async fn project(&self, states: &[Projection]) -> Result<(), QueueError> {
        let mut partitions: BTreeMap<Partition, Vec<&Projection>> = BTreeMap::new();
        for state in states {
            let partition = self.0.partitions.of(Lane::Intents, state.intent.uuid());
            partitions.entry(partition).or_default().push(state);
        }
        for (partition, states) in partitions {
            for states in states.chunks(self.0.batch()) {
                self.project_into(partition, states).await?;
            }
        }
        Ok(())
    }

    async fn project_into(&self, partition: Partition, states: &[&Projection]) -> Result<(), QueueError> {
        let of_partition = self.0.keys(partition);
        let mut keys = of_partition.all().to_vec();
        let mut args = vec![arg(self.0.intent_ttl_ms()), keys::changes(&self.0.prefix).into_bytes()];
        for state in states {
            keys.push(of_partition.intent(state.intent));
            args.extend([
                arg(state.intent),
                arg(state.version),
                shorten(&state.public, state.intent).into_bytes(),
            ]);
        }
        let _written: Vec<i64> = self.0.link.call(&scripts::PROJECT, &keys, args).await?;
        Ok(())
    }

    /// Hears every changed state until `stop`, one subscription for the whole process. Whoever needs one state
    /// subscribes to `to` first and reads [`Queue::intent`] then: what is published while Redis is away is not repeated.
    pub async fn listen(&self, to: broadcast::Sender<Changed>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                ended = self.hear(&to) => if let Err(error) = ended {
                    warn!(%error, "not hearing changes of intents");
                }
            }
            tokio::time::sleep(RESUBSCRIBE).await;
        }
    }

    async fn hear(&self, to: &broadcast::Sender<Changed>) -> Result<(), QueueError> {
        let (mut sink, mut messages) =
            self.0.link.subscriber(&self.0.keys(Partition::home(Lane::Intents)).meter()).await?.split();
        sink.subscribe(keys::changes(&self.0.prefix)).await?;
        loop {
            match tokio::time::timeout(SILENCE, messages.next()).await {
                Ok(Some(message)) => {
                    if let Some(changed) = read_change(message.get_payload_bytes()) {
                        // Nobody listening is no error.
                        let _ = to.send(changed);
                    }
                }
                Ok(None) => return Err(QueueError::Unreachable("the subscription ended".to_owned())),
                // Nothing to tell, or a connection that only looks alive?
                Err(_) => {
                    let alive = tokio::time::timeout(self.0.link.response_timeout(), sink.ping::<Value>());
                    let _pong = alive.await.map_err(|_| QueueError::TimedOut)??;
                }
            }
        }
    }
}

impl Inner {
    pub(super) fn intent_ttl_ms(&self) -> u64 {
        // Redis refuses an expiry of 0: at least a second.
        self.settings.idempotency_ttl_seconds.max(1).saturating_mul(1000)
    }
}

pub(super) fn read_pushed(answer: Value, done: i64, id: IntentId) -> Result<IntentPushed, QueueError> {
    // What nearly everybody gets is one number, which is read in a tenth of the time.
    if let Value::Int(sequence) = answer {
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        return Ok(IntentPushed::Accepted { sequence: count(sequence), position: count(sequence - done) });
    }
    let answer: Vec<Value> = redis::from_redis_value(answer).map_err(QueueError::answer)?;
    let mut answer = answer.into_iter();
    let mut next = || answer.next().unwrap_or(Value::Nil);
    match bytes(next())?.as_slice() {
        b"full" => Err(QueueError::Full("an order intent was not taken in".to_owned())),
        b"mismatch" => Ok(IntentPushed::Mismatch),
        b"unknown" => Ok(IntentPushed::Unknown),
        b"later" => Ok(IntentPushed::Later {
            wait: Duration::from_millis(u64::try_from(number(next())?).unwrap_or_default()),
            booked: number(next())? == 1,
        }),
        b"replayed" => Ok(IntentPushed::Replayed {
            version: number(next())?,
            public: expand(&String::from_utf8(bytes(next())?).map_err(QueueError::answer)?, id),
            healed: number(next())? == 1,
        }),
        other => Err(QueueError::answer(String::from_utf8_lossy(other))),
    }
}

fn read_state(state: &[u8], id: IntentId) -> Result<IntentState, QueueError> {
    let unreadable = || QueueError::answer("an intent's state that cannot be read");
    let (fingerprint, rest) = state.split_first_chunk::<FINGERPRINT>().ok_or_else(unreadable)?;
    let (version, public) =
        std::str::from_utf8(rest).ok().and_then(|rest| rest.split_once('\n')).ok_or_else(unreadable)?;
    Ok(IntentState {
        fingerprint: (*fingerprint != [0; FINGERPRINT]).then_some(*fingerprint),
        version: version.parse().map_err(|_| unreadable())?,
        public: expand(public, id),
    })
}

fn read_change(message: &[u8]) -> Option<Changed> {
    let mut parts = std::str::from_utf8(message).ok()?.splitn(3, ' ');
    let intent = parts.next()?.parse().ok()?;
    Some(Changed { intent, version: parts.next()?.parse().ok()?, public: expand(parts.next()?, intent) })
}
