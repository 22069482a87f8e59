//! Mending a dead letter's payload before it is replayed: what stood there is kept, with who changed it and why.

use serde_json::Value;

use crate::ids::DeadLetterId;
use crate::job::Failure;
use crate::jobs::{Job, Kind, Visitor};
use crate::store::{Store, StoreError, actions, dead_letters};

/// Why a payload was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditRefused {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none, or it has had its end.
    #[error(
        "there is no open dead letter {0}: it was replayed, dropped, or never was. `orderfleet dead show` tells. Nothing was changed"
    )]
    NotOpen(DeadLetterId),
    /// This version knows no such kind.
    #[error(
        "{0} is a {1:?}, which this version does not know: edit it by the version that does, or drop it. Nothing was changed"
    )]
    UnknownKind(DeadLetterId, String),
    /// It would only die again.
    #[error("that is no payload of {0}: {1}. Nothing was changed")]
    NoPayload(String, String),
}

/// Changes an open letter's payload into another one that its kind can read.
pub async fn edit(
    store: &Store,
    id: DeadLetterId,
    payload: &Value,
    (actor, reason): (&str, &str),
) -> Result<(), EditRefused> {
    store
        .within(async {
            let mut tx = store.begin().await?;
            let letter = dead_letters::open(&mut tx, &[id]).await?.pop().ok_or(EditRefused::NotOpen(id))?;
            let kind =
                Kind::named(&letter.kind).ok_or_else(|| EditRefused::UnknownKind(id, letter.kind.clone()))?;
            // As the kind writes it: a field that it does not know would be lost on its way all the same.
            let payload = kind
                .visit(Read(payload))
                .await
                .map_err(|failure| EditRefused::NoPayload(letter.kind.clone(), failure.detail))?;
            dead_letters::edit(&mut tx, &letter, &payload, actor, reason).await?;
            let detail = serde_json::json!({ "letter": id, "kind": letter.kind, "reason": reason });
            actions::note(&mut tx, actor, "dead.edit", &detail).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
}

/// Reads a payload as its kind does, and writes it as its kind does.
pub(super) struct Read<'a>(pub(super) &'a Value);

impl Visitor for Read<'_> {
    type Out = Result<Value, Failure>;

    async fn visit<J: Job>(self) -> Result<Value, Failure> {
        let unreadable = |error| Failure::permanent("unreadable_payload", error);
        let job: J = serde_json::from_value(self.0.clone()).map_err(unreadable)?;
        serde_json::to_value(job).map_err(unreadable)
    }
}
