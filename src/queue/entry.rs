//! Where order intents come in: the pushes of many callers share one call of one script.
//!
//! Nobody waits for company: a push goes at once where fewer than [`CALLS`] calls are on their way, and what arrives
//! while they are goes together with the next. So a lone caller is as fast as ever, and a herd costs Redis, and its
//! `fsync`, a fraction a head. Each is still judged for itself and in its turn. Each partition has an entry of its own.

use std::sync::{Arc, OnceLock, Weak};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use redis::Value;
use tokio::sync::{mpsc, oneshot};

use super::client::{arg, number};
use super::envelope::{Envelope, Origin};
use super::gate::Gate;
use super::intents::read_pushed;
use super::partitions::Partition;
use super::shorthand::shorten;
use super::{Inner, IntentPush, IntentPushed, QueueError, scripts};
use crate::config::MOST_PARTITIONS;

/// Intents in one call, at most: a millisecond of Redis's time.
const TOGETHER: usize = 64;
/// Calls on their way at once: the next is written while Redis works on one.
const CALLS: usize = 2;
/// Pushes that may wait to be gathered; whoever comes beyond waits for room.
const WAITING: usize = 4_096;

/// The door's end of it.
#[derive(Default)]
pub(super) struct Entry([OnceLock<mpsc::Sender<Waiting>>; MOST_PARTITIONS]);

struct Waiting {
    intent: IntentPush,
    answer: oneshot::Sender<Result<IntentPushed, QueueError>>,
}

impl Entry {
    /// Pushes one; a partition's first push starts what gathers them.
    pub(super) async fn push(
        inner: &Arc<Inner>,
        partition: Partition,
        intent: IntentPush,
    ) -> Result<IntentPushed, QueueError> {
        let closed = || QueueError::Unreachable("the queue was closed".to_owned());
        let sender = inner.entry.0[partition.number].get_or_init(|| {
            let (sender, waiting) = mpsc::channel(WAITING);
            let (weak, stop) = (Arc::downgrade(inner), inner.stop.clone());
            inner.tasks.spawn(async move {
                stop.run_until_cancelled(gather(weak, partition, waiting)).await;
            });
            sender
        });
        let (answer, told) = oneshot::channel();
        sender.send(Waiting { intent, answer }).await.map_err(|_| closed())?;
        told.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn gather(inner: Weak<Inner>, partition: Partition, mut waiting: mpsc::Receiver<Waiting>) {
    let mut calls = FuturesUnordered::new();
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            Some(()) = calls.next() => {}
            count = waiting.recv_many(&mut batch, TOGETHER), if calls.len() < CALLS => {
                let Some(inner) = inner.upgrade().filter(|_| count > 0) else { return };
                calls.push(push_together(inner, partition, batch));
            }
        }
    }
}

async fn push_together(inner: Arc<Inner>, partition: Partition, batch: Vec<Waiting>) {
    let (intents, callers): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.intent, one.answer)).unzip();
    let ids: Vec<_> = intents.iter().map(|intent: &IntentPush| intent.intent).collect();
    match call(&inner, partition, intents).await {
        Ok((answers, done)) => {
            for ((caller, id), answer) in callers.into_iter().zip(ids).zip(answers) {
                // Whoever hung up is not told.
                let _ = caller
                    .send(read_pushed(answer, done, id).map(|pushed| of_lane(&inner, partition, pushed)));
            }
        }
        Err(error) => callers.into_iter().for_each(|caller| {
            let _ = caller.send(Err(error.clone()));
        }),
    }
}

/// What a partition answers, as the whole lane's: all of them are worked alike.
fn of_lane(inner: &Inner, partition: Partition, pushed: IntentPushed) -> IntentPushed {
    let IntentPushed::Accepted { sequence, position } = pushed else { return pushed };
    let number = inner.partitions.number(partition.lane);
    IntentPushed::Accepted {
        sequence: inner.partitions.pushed(partition, sequence),
        position: position.saturating_mul(u64::try_from(number).unwrap_or(1)),
    }
}

async fn call(
    inner: &Inner,
    partition: Partition,
    intents: Vec<IntentPush>,
) -> Result<(Vec<Value>, i64), QueueError> {
    let of_partition = inner.keys(partition);
    let (mut keys, mut args) = (of_partition.all().to_vec(), vec![arg(inner.intent_ttl_ms())]);
    keys.push(of_partition.promises());
    // The door's view of one moment: all that are gathered have the same.
    let gate = intents.iter().find_map(|intent| intent.gate).unwrap_or(Gate::OPEN);
    args.extend(gate.share(inner.partitions.number(partition.lane)).args());
    let pushed_at = inner.seconds();
    for intent in intents {
        keys.push(of_partition.intent(intent.intent));
        let envelope = Envelope {
            band: intent.band,
            kind: intent.kind,
            origin: Origin::Intake,
            attempts: 0,
            pushed_at,
            traceparent: intent.traceparent,
            body: intent.body,
        };
        args.extend([intent.job.uuid().as_bytes().to_vec(), envelope.encode()]);
        args.extend([intent.fingerprint.to_vec(), shorten(&intent.public, intent.intent).into_bytes()]);
        args.push(arg(if intent.only_known { 2 } else { u8::from(intent.gate.is_some()) }));
    }
    let mut answers: Vec<Value> = inner.door.call(&scripts::PUSH_INTENTS, &keys, args).await?;
    let done = number(answers.pop().unwrap_or(Value::Nil))?;
    Ok((answers, done))
}
