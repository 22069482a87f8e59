//! Taking dead letters up again: one commit marks a letter, inserts the job's row, and takes back what the burial told.
//!
//! Nothing is pushed from here: the workers' sweep finds the rows. Effects keep their names and keys, so that a job that is
//! replayed looks for what may have happened instead of asking for it again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Walk, patiently};
use crate::ids::DeadLetterId;
use crate::job::Failure;
use crate::jobs::{Job, Kind, Loaded, Visitor};
use crate::store::dead_letters::{self, Open, Selection};
use crate::store::{Store, Tx, actions, exceptions};

/// What became of a selection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Taken up again.
    pub replayed: u64,
    /// Left as they are, because this version can not read them: to be edited, or dropped.
    pub unreadable: Vec<DeadLetterId>,
    /// Left as they are, because somebody else was faster.
    pub passed_over: u64,
}

impl Replayed {
    fn add(&mut self, other: Self) {
        self.replayed += other.replayed;
        self.unreadable.extend(other.unreadable);
        self.passed_over += other.passed_over;
    }
}

/// Replays the open letters of a selection, a batch a transaction, and tells after each how far it is.
pub async fn replay(
    store: &Store,
    of: &Selection,
    actor: &str,
    mut told: impl FnMut(&Replayed),
) -> Result<Replayed, Failure> {
    let mut walk = Walk::begin(store, of).await?;
    let mut sum = Replayed::default();
    loop {
        let page = walk.next().await?;
        if page.is_empty() {
            return Ok(sum);
        }
        let mut kinds: BTreeMap<&str, Vec<DeadLetterId>> = BTreeMap::new();
        for head in &page {
            kinds.entry(&head.kind).or_default().push(head.id);
        }
        for (kind, letters) in kinds {
            let Some(kind) = Kind::named(kind) else {
                sum.unreadable.extend(letters);
                continue;
            };
            sum.add(patiently(|| kind.visit(Batch { store, letters: &letters, actor })).await?);
        }
        told(&sum);
    }
}

/// Letters of one kind, in one transaction: their orders are locked in order, whatever other kinds lock.
struct Batch<'a> {
    store: &'a Store,
    letters: &'a [DeadLetterId],
    actor: &'a str,
}

impl Visitor for Batch<'_> {
    type Out = Result<Replayed, Failure>;

    async fn visit<J: Job>(self) -> Result<Replayed, Failure> {
        let Self { store, letters, actor } = self;
        store
            .within(async {
                let mut tx = store.begin().await?;
                let open = dead_letters::open(&mut tx, letters).await?;
                let passed_over = count(letters.len().saturating_sub(open.len()));
                let (ready, unreadable) = sort::<J>(&open);
                let ids: Vec<DeadLetterId> = ready.iter().map(|(letter, _)| letter.id).collect();
                let replayed = dead_letters::replay(&mut tx, &ids, actor).await?;
                take_back::<J>(&mut tx, ready).await?;
                if replayed > 0 {
                    actions::note(&mut tx, actor, "dead.replay", &named(J::KIND, &ids)).await?;
                }
                tx.commit().await?;
                Ok(Replayed { replayed, unreadable, passed_over })
            })
            .await
    }
}

type Ready<'a, J> = Vec<(&'a Open, Loaded<J>)>;

/// Those whose fields can be read, and the others.
fn sort<J: Job>(open: &[Open]) -> (Ready<'_, J>, Vec<DeadLetterId>) {
    let (mut ready, mut unreadable) = (Vec::new(), Vec::new());
    for letter in open {
        match serde_json::from_value::<J>(letter.payload.clone()) {
            Ok(job) => ready.push((letter, Loaded { id: letter.job, job, age: Duration::ZERO, trace: None })),
            Err(_) => unreadable.push(letter.id),
        }
    }
    (ready, unreadable)
}

/// Takes back what the world was told when these were given up: they are open work again.
pub(super) async fn take_back<J: Job>(tx: &mut Tx, ready: Ready<'_, J>) -> Result<(), Failure> {
    let (letters, jobs): (Vec<&Open>, Vec<Loaded<J>>) = ready.into_iter().unzip();
    if jobs.is_empty() {
        return Ok(());
    }
    J::replayed(&jobs, tx).await?;
    if let Some(exception) = J::EXCEPTION {
        let orders: Vec<_> = letters.iter().filter_map(|letter| letter.order).collect();
        exceptions::taken_up(tx, &orders, exception, J::KIND).await?;
    }
    Ok(())
}

fn named(kind: &str, ids: &[DeadLetterId]) -> Value {
    json!({ "kind": kind, "letters": ids.len(), "first": ids.first(), "last": ids.last() })
}

fn count(letters: usize) -> u64 {
    u64::try_from(letters).unwrap_or(u64::MAX)
}
