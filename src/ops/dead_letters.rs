//! Dead letters, for the person who works with them: seen, replayed, tried without harm, mended, dropped, carried elsewhere.
//!
//! A job that was given up is taken up again by nobody but a person, and only through a row of `jobs` in the commit that
//! marks its letter: whoever replays the same twice, or is killed midway, changes nothing more. Lists show ids and codes;
//! payloads are masked unless somebody asks for all of them, which is written down.

use std::fmt::Write as _;

use crate::ids::DeadLetterId;
use crate::job::{Class, Dependency, Failure};
use crate::store::dead_letters::{Attempt, Group, Head, Selection};
use crate::store::{Store, StoreError};

mod compare;
mod edit;
mod rehearsal;
mod replay;
mod show;
mod transfer;

pub use compare::{Compared, Difference, How};
pub use edit::{EditRefused, edit};
pub use rehearsal::{Rehearsed, Would, rehearse};
pub use replay::{Replayed, replay};
pub use show::{Shown, show};
pub use transfer::{Brought, bring_in, export};

/// Letters that are worked on in one transaction: short enough to wait for, long enough that 10,000 take seconds.
pub const AT_ONCE: i64 = 500;
/// Letters on a page, at most.
pub const LONGEST_PAGE: i64 = 1_000;
/// Groups shown: whoever has more has one cause that they are all about.
pub const GROUPS: i64 = 200;
/// How often the same is tried again where Postgres asks for it: another operator, or a worker, was faster with a row.
const TRIES: usize = 5;

/// The letters of a selection by the page, the newest first. What dies after the walk began is no part of it: what is
/// replayed may die again, and would be met for ever.
pub(super) struct Walk<'a> {
    store: &'a Store,
    of: Selection,
    after: Option<DeadLetterId>,
}

impl<'a> Walk<'a> {
    pub(super) async fn begin(store: &'a Store, of: &Selection) -> Result<Walk<'a>, StoreError> {
        let now = store.now().await?;
        let until = of.until.map_or(now, |until| until.min(now));
        Ok(Self { store, of: Selection { until: Some(until), ..of.clone() }, after: None })
    }

    /// The next page; empty where there is none.
    pub(super) async fn next(&mut self) -> Result<Vec<Head>, StoreError> {
        let page = self.store.dead_letters(&self.of, self.after, AT_ONCE).await?;
        self.after = page.last().map(|head| head.id).or(self.after);
        Ok(page)
    }
}

/// Does it again while Postgres asks for that. Not `AsyncFnMut`: its futures could not be handed to another task.
pub(super) async fn patiently<T, F>(mut step: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    for _ in 1..TRIES {
        match step().await {
            Err(failure) if failure.class == Class::Unavailable(Dependency::Postgres) => {
                tracing::debug!(code = failure.code, detail = failure.detail, "dead letters: once more");
            }
            ended => return ended,
        }
    }
    step().await
}

/// Gives a selection up for good, a batch a transaction. Answers how many there were.
pub async fn drop_all(store: &Store, of: &Selection, actor: &str, reason: &str) -> Result<u64, Failure> {
    let mut walk = Walk::begin(store, of).await?;
    let mut dropped = 0;
    loop {
        let page = walk.next().await?;
        if page.is_empty() {
            return Ok(dropped);
        }
        let ids: Vec<DeadLetterId> = page.iter().map(|head| head.id).collect();
        dropped += patiently(|| drop_batch(store, &ids, actor, reason)).await?;
    }
}

async fn drop_batch(store: &Store, ids: &[DeadLetterId], actor: &str, reason: &str) -> Result<u64, Failure> {
    let mut tx = store.begin().await?;
    let letters = crate::store::dead_letters::drop_all(&mut tx, ids, actor, reason).await?;
    if letters > 0 {
        let detail = serde_json::json!({ "letters": letters, "reason": reason, "last": ids.first(), "first": ids.last() });
        crate::store::actions::note(&mut tx, actor, "dead.drop", &detail).await?;
    }
    tx.commit().await?;
    Ok(letters)
}

/// A page as a table.
#[must_use]
pub fn render(heads: &[Head]) -> String {
    if heads.is_empty() {
        return "No dead letter is like that.\n".to_owned();
    }
    let wide = |of: fn(&Head) -> &str| heads.iter().map(|head| of(head).len()).max().unwrap_or_default();
    let (kind, code) = (wide(|head| &head.kind), wide(|head| &head.code));
    let mut text = String::new();
    for head in heads {
        let order = head.order.map(|order| order.to_string()).unwrap_or_default();
        let ended = match (head.replayed_at, head.dropped_at) {
            (Some(_), _) => "  replayed",
            (None, Some(_)) => "  dropped",
            (None, None) => "",
        };
        // Writing into a text can't fail.
        let _ = writeln!(
            text,
            "{}  {}  {:kind$}  {:code$}  {:>2} tried  {order:30}{ended}",
            head.id,
            head.died_at.format("%Y-%m-%d %H:%M:%S"),
            head.kind,
            head.code,
            head.attempts
        );
    }
    text
}

/// Groups as a table.
#[must_use]
pub fn render_groups(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "No dead letter is like that.\n".to_owned();
    }
    let mut text = String::new();
    for group in groups {
        // Writing into a text can't fail.
        let _ = writeln!(
            text,
            "{:>6} × {}  since {}  last {}",
            group.letters,
            group.fingerprint,
            group.first.format("%Y-%m-%d %H:%M:%S"),
            group.last.format("%Y-%m-%d %H:%M:%S")
        );
    }
    text
}

/// A letter with all that is known of it.
#[must_use]
pub fn render_one(Shown { letter, compared }: &Shown) -> String {
    let mut text = format!("{}  {}  {}\n  {}\n", letter.id, letter.kind, letter.code, letter.detail);
    let mut line = |name: &str, what: String| {
        // Writing into a text can't fail.
        let _ = writeln!(text, "  {name:9} {what}");
    };
    let when = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    line(
        "died",
        format!("{} after {} attempts, in lane {}", when(letter.died_at), letter.attempts, letter.lane),
    );
    line("job", format!("{}, caused by {}", letter.job, letter.caused_by));
    line("trace", letter.traceparent.clone().unwrap_or_else(|| "none".to_owned()));
    let order =
        letter.order.map(|order| format!("{order} {}", letter.order_number.as_deref().unwrap_or_default()));
    line("order", order.unwrap_or_else(|| "none that its fields lead to".to_owned()));
    if let (Some(at), Some(by)) = (letter.replayed_at, &letter.replayed_by) {
        let job = letter.replayed_as.map(|job| format!(" as {job}")).unwrap_or_default();
        line("replayed", format!("{} by {by}{job}", when(at)));
    }
    if let (Some(at), Some(by)) = (letter.dropped_at, &letter.dropped_by) {
        line(
            "dropped",
            format!("{} by {by}: {}", when(at), letter.drop_reason.as_deref().unwrap_or_default()),
        );
    }
    for edit in &letter.edits {
        line("edited", format!("{} by {}: {}", when(edit.at), edit.actor, edit.reason));
    }
    for tried in &letter.tried {
        let Attempt { no, at, worker, code, detail, duration_ms, class } = tried;
        line(
            "attempt",
            format!("{no}  {}  {worker}  {duration_ms} ms  {class}  {code}: {detail}", when(*at)),
        );
    }
    let payload = serde_json::to_string_pretty(&letter.payload).unwrap_or_default();
    let _ = writeln!(text, "{payload}");
    if let Some(compared) = compared {
        let _ = write!(text, "\n{}", compare::render(compared));
    }
    text
}
