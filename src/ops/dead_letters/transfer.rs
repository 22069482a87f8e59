//! Dead letters as JSON lines: for reading elsewhere, masked; or whole, to be brought into another database.

use serde::Serialize;

use super::Walk;
use super::edit::Read;
use crate::ids::DeadLetterId;
use crate::job::{Failure, Lane, masked};
use crate::jobs::Kind;
use crate::store::dead_letters::{self, Carried, Selection};
use crate::store::{Store, actions};

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Brought {
    /// Brought in.
    pub brought: u64,
    /// Here already, or their jobs are open here.
    pub known: u64,
    /// Refused: the line, from 1, and why.
    pub refused: Vec<(usize, String)>,
}

/// Writes the letters of a selection, one line of JSON each; `whole` with everything that they hold, which is written down.
/// Answers how many there were.
pub async fn export(
    store: &Store,
    of: &Selection,
    (actor, whole): (&str, bool),
    mut line: impl FnMut(&str),
) -> Result<u64, Failure> {
    let mut walk = Walk::begin(store, of).await?;
    if whole {
        // Before the first line is out.
        let detail = serde_json::json!({ "lane": of.lane, "kind": of.kind, "fingerprint": of.fingerprint,
            "order": of.order, "since": of.since, "until": of.until, "letters": of.ids });
        store.note(actor, "dead.export", &detail).await?;
    }
    let mut letters = 0;
    loop {
        let page = walk.next().await?;
        if page.is_empty() {
            return Ok(letters);
        }
        for head in page {
            let Some(letter) = store.dead_letter(head.id).await? else { continue };
            let mut letter = Carried::from(letter);
            if !whole {
                letter.payload = masked(&letter.payload);
                letter.masked = true;
            }
            line(&serde_json::to_string(&letter).map_err(|error| Failure::permanent("unwritable", error))?);
            letters += 1;
        }
    }
}

/// Brings letters in, a line each, in one transaction. A line that can not be brought in hinders no other.
pub async fn bring_in(
    store: &Store,
    lines: impl Iterator<Item = &str>,
    actor: &str,
) -> Result<Brought, Failure> {
    let mut told = Brought::default();
    let mut letters: Vec<Carried> = Vec::new();
    for (no, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match read(line).await {
            Ok(letter) => letters.push(letter),
            Err(why) => told.refused.push((no + 1, why)),
        }
    }
    let mut tx = store.begin().await?;
    let mut ids: Vec<DeadLetterId> = Vec::new();
    for letter in &letters {
        if dead_letters::bring_in(&mut tx, letter).await? {
            ids.push(letter.id);
        } else {
            told.known += 1;
        }
    }
    told.brought = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    if !ids.is_empty() {
        let detail = serde_json::json!({ "letters": ids.len(), "first": ids.first(), "last": ids.last() });
        actions::note(&mut tx, actor, "dead.import", &detail).await?;
    }
    tx.commit().await?;
    Ok(told)
}

async fn read(line: &str) -> Result<Carried, String> {
    let letter: Carried =
        serde_json::from_str(line).map_err(|error| format!("it is no dead letter: {error}"))?;
    if letter.masked {
        return Err("it is masked: export it with --personal-data".to_owned());
    }
    if Lane::named(&letter.lane).is_none() {
        return Err(format!("there is no lane {:?}", letter.lane));
    }
    let kind = Kind::named(&letter.kind).ok_or_else(|| format!("this version knows no {:?}", letter.kind))?;
    // What could not be read where it died is brought in as it is: to be edited here.
    if !letter.payload.is_string() {
        kind.visit(Read(&letter.payload)).await.map_err(|failure| failure.detail)?;
    }
    Ok(letter)
}
