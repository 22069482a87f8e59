//! One dead letter, for whoever looks at it: masked, or whole where that is asked for, and then it is written down.

use serde::Serialize;

use super::compare::{Compared, compare};
use crate::ids::DeadLetterId;
use crate::job::masked;
use crate::store::dead_letters::Letter;
use crate::store::{Store, Stored};

/// A letter as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The letter.
    #[serde(flatten)]
    pub letter: Letter,
    /// What it is beside a job of its kind that ended well; none before there is one.
    pub compared: Option<Compared>,
}

/// Shows a letter: without personal data, or with it to this actor, who may see it.
pub async fn show(store: &Store, id: DeadLetterId, whole_to: Option<&str>) -> Stored<Option<Shown>> {
    let Some(mut letter) = store.dead_letter(id).await? else { return Ok(None) };
    if let Some(actor) = whole_to {
        store.note(actor, "dead.show", &serde_json::json!({ "letter": id })).await?;
    } else {
        letter.payload = masked(&letter.payload);
        letter.edits.iter_mut().for_each(|edit| edit.before = masked(&edit.before));
    }
    let exemplar = store.exemplar(&letter.kind).await?;
    let compared = exemplar.map(|exemplar| compare(&letter.payload, &exemplar));
    Ok(Some(Shown { letter, compared }))
}
