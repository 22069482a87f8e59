//! Moves what Redis had to bury alone (quarantined, unreadable) to Postgres, with its domain side.
//!
//! A job that Redis gave up waits there until a worker writes its dead letter by the same transaction as every other
//! burial. A row that is gone means that the job was done after all: then its copy is simply dropped.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::kit::{Item, Kit};
use super::load::bury;
use crate::ids::JobId;
use crate::job::{Band, Class, Failure, Lane};
use crate::jobs::{Job, Kind, Visitor};
use crate::queue::{Buried, Envelope, Origin, Queue};
use crate::store::dead_letters::{self, Dead};
use crate::store::jobs;

/// Between two looks: a flood of burials must not starve the lanes.
const LOOK: Duration = Duration::from_millis(250);
/// Moved in one look; the next claim tells of the rest.
const AT_ONCE: usize = 64;

/// Moves them whenever a claim has seen some, until `stop`.
pub(super) async fn keep(kit: Kit, queue: Queue, stop: CancellationToken) {
    while let Some(lanes) = stop.run_until_cancelled(queue.lanes_with_buried()).await {
        for lane in lanes {
            if let Err(failure) = lane_once(&kit, &queue, lane).await {
                tracing::warn!(%lane, code = failure.code, detail = failure.detail, "buried jobs could not be moved yet");
            }
        }
        if stop.run_until_cancelled(sleep(LOOK)).await.is_none() {
            return;
        }
    }
}

async fn lane_once(kit: &Kit, queue: &Queue, lane: Lane) -> Result<(), Failure> {
    let away = |error: crate::queue::QueueError| {
        Failure::new(Class::Unavailable(crate::job::Dependency::Redis), "redis_unreachable", error)
    };
    for buried in queue.buried(lane, AT_ONCE).await.map_err(away)? {
        let id = buried.id;
        let kind = buried.envelope.as_ref().and_then(|envelope| Kind::named(&envelope.kind));
        match (kind, &buried.envelope) {
            (Some(kind), Some(envelope)) => {
                let dug = Dug { kit, id, envelope, reason: &buried.reason };
                kit.store.within(kind.visit(dug)).await?;
            }
            _ => kit.store.within(unknown(kit, lane, &buried)).await?,
        }
        queue.drop_buried(lane, &[id]).await.map_err(away)?;
    }
    Ok(())
}

/// Buries a job of a kind that is known.
struct Dug<'a> {
    kit: &'a Kit,
    id: JobId,
    envelope: &'a Envelope,
    reason: &'a str,
}

impl Visitor for Dug<'_> {
    type Out = Result<(), Failure>;

    async fn visit<J: Job>(self) -> Result<(), Failure> {
        let mut tx = self.kit.store.begin().await?;
        let locked = jobs::lock(&mut tx, &[self.id]).await?;
        let attempts = locked.get(&self.id).map_or(0, |row| row.attempts);
        if locked.is_empty() && self.envelope.origin == Origin::Row {
            return Ok(tx.rollback().await?);
        }
        let failure = told(self.reason);
        let (band, trace) = (i16::from(self.envelope.band.number()), self.envelope.traceparent);
        if let Ok(job) = serde_json::from_slice::<J>(&self.envelope.body) {
            let item = Item { id: self.id, origin: self.envelope.origin, band, job, overran: false, trace };
            bury(self.kit, &mut tx, &item, &failure, attempts.saturating_add(1), 0).await?;
        } else {
            let dead =
                Dead { traceparent: trace, ..dead(self.id, J::KIND, J::LANE, band, &self.envelope.body) };
            dead_letters::bury(&mut tx, &dead, &failure).await?;
        }
        self.kit.relay.carry(tx.commit().await?).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a burial's news could not be projected yet");
        });
        Ok(())
    }
}

/// Keeps what nobody here can read.
async fn unknown(kit: &Kit, lane: Lane, buried: &Buried) -> Result<(), Failure> {
    let mut tx = kit.store.begin().await?;
    let kind = buried.envelope.as_ref().map_or("unreadable", |envelope| envelope.kind.as_str());
    let dead = dead(buried.id, kind, lane, i16::from(Band::default().number()), &buried.raw);
    dead_letters::bury(&mut tx, &dead, &told(&buried.reason)).await?;
    tx.commit().await?;
    Ok(())
}

fn dead(job: JobId, kind: &str, lane: Lane, band: i16, body: &[u8]) -> Dead {
    // Postgres's JSON can not hold a NUL character.
    let body = String::from_utf8_lossy(body).replace('\0', "\u{fffd}");
    Dead {
        job,
        kind: kind.to_owned(),
        lane: lane.name().to_owned(),
        band,
        payload: serde_json::Value::String(body),
        attempts: 0,
        caused_by: "queue".to_owned(),
        traceparent: None,
    }
}

fn told(reason: &str) -> Failure {
    match reason {
        "unreadable_payload" => {
            Failure::permanent("unreadable_payload", "this version can not read its fields")
        }
        "crashed_worker" => {
            Failure::permanent("crashed_worker", "three workers died with this job alone in their hands")
        }
        other => Failure::permanent("buried_by_queue", other),
    }
}
