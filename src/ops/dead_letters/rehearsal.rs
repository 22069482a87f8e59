//! A replay that leaves no trace: each letter's job is loaded in a transaction that is rolled back, and its provider is not
//! called. What it would ask of the provider is told; what it would make of the answer nobody can know before there is one.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::Walk;
use super::replay::take_back;
use crate::ids::{DeadLetterId, JobId, OrderId};
use crate::job::{Calls, Class, Failure, Step};
use crate::jobs::{Job, Kind, Loaded, Rules, Visitor};
use crate::store::Store;
use crate::store::dead_letters::{self, Head, Selection};
use crate::store::effects::{self, EffectState};

/// Letters that are rehearsed at once: each is a transaction of half a dozen round trips, and holds a connection that long.
const TRIED_AT_ONCE: usize = 4;

/// What a replay would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "would", rename_all = "snake_case")]
pub enum Would {
    /// Ask a provider.
    Call {
        /// Whom.
        provider: &'static str,
        /// The outside mutation that it asks for; none where it only looks.
        effect: Option<String>,
        /// Whether that may have happened already, and is looked up first.
        maybe_done: bool,
    },
    /// End in the tables, with this many rows written.
    Write {
        /// How many.
        rows: i64,
    },
    /// Nothing: it is done, or its order wants it no more.
    Nothing,
    /// Wait, or try again later.
    Wait {
        /// Why, as a code.
        code: &'static str,
        /// Why, in words.
        detail: String,
    },
    /// Die again at once.
    Die {
        /// Why, as a code.
        code: &'static str,
        /// Why, in words.
        detail: String,
    },
    /// Be left as it is: this version can not read its fields.
    BeLeft,
}

impl Would {
    /// A few words, the same for letters that would fare the same.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Call { provider, maybe_done: true, .. } => {
                format!("look at {provider} whether it has happened")
            }
            Self::Call { provider, effect: Some(_), .. } => format!("call {provider}"),
            Self::Call { provider, effect: None, .. } => format!("look at {provider}"),
            Self::Write { .. } => "end without a call".to_owned(),
            Self::Nothing => "do nothing: done, or not wanted any more".to_owned(),
            Self::Wait { code, .. } => format!("wait: {code}"),
            Self::Die { code, .. } => format!("die again: {code}"),
            Self::BeLeft => "be left: its fields can not be read".to_owned(),
        }
    }
}

/// One letter's rehearsal.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsed {
    /// The letter.
    pub letter: DeadLetterId,
    /// Its kind.
    pub kind: String,
    /// The order that it is about, where it is known.
    pub order: Option<OrderId>,
    /// What its replay would do.
    #[serde(flatten)]
    pub would: Would,
}

/// Rehearses the open letters of a selection, the newest first, `most` of them. They are not tried one after the other's
/// outcome: each finds the tables as they are now.
pub async fn rehearse(
    store: &Store,
    of: &Selection,
    rules: &Rules,
    most: usize,
) -> Result<Vec<Rehearsed>, Failure> {
    let mut walk = Walk::begin(store, of).await?;
    let mut all = Vec::new();
    loop {
        let page = walk.next().await?;
        if page.is_empty() {
            return Ok(all);
        }
        let mut tried =
            stream::iter(page).map(|head| rehearse_one(store, rules, head)).buffered(TRIED_AT_ONCE);
        while let Some(one) = tried.try_next().await? {
            all.extend(one);
            if all.len() == most {
                return Ok(all);
            }
        }
    }
}

/// None where the letter is not open any more.
async fn rehearse_one(store: &Store, rules: &Rules, head: Head) -> Result<Option<Rehearsed>, Failure> {
    let would = match Kind::named(&head.kind) {
        Some(kind) => {
            let once = Once { store, letter: head.id, rules };
            store.within(kind.visit(once)).await?
        }
        None => Some(Would::BeLeft),
    };
    Ok(would.map(|would| Rehearsed { letter: head.id, kind: head.kind, order: head.order, would }))
}

struct Once<'a> {
    store: &'a Store,
    letter: DeadLetterId,
    rules: &'a Rules,
}

impl Visitor for Once<'_> {
    /// None where the letter is not open any more.
    type Out = Result<Option<Would>, Failure>;

    async fn visit<J: Job>(self) -> Result<Option<Would>, Failure> {
        let mut tx = self.store.begin().await?;
        let Some(letter) = dead_letters::open(&mut tx, &[self.letter]).await?.pop() else { return Ok(None) };
        let Ok(job) = serde_json::from_value::<J>(letter.payload.clone()) else {
            return Ok(Some(Would::BeLeft));
        };
        let dead = Loaded { id: letter.job, job: job.clone(), age: Duration::ZERO, trace: None };
        dead_letters::replay(&mut tx, &[letter.id], "rehearsal").await?;
        take_back::<J>(&mut tx, vec![(&letter, dead)]).await?;
        let before = tx.rows_written().await?;
        let again = Loaded { id: JobId::new(), job, age: Duration::ZERO, trace: None };
        let step = J::load(&[again], &mut tx, self.rules).await;
        let rows = match step {
            // A statement that was refused leaves a transaction that answers nothing more.
            Err(_) => 0,
            Ok(_) => tx.rows_written().await? - before,
        };
        tx.rollback().await?;
        let step = match step {
            Ok(mut steps) => steps.pop(),
            Err(failure) => Some(Step::Refused(failure)),
        };
        Ok(Some(self.judge::<J>(step, rows).await?))
    }
}

impl Once<'_> {
    async fn judge<J: Job>(&self, step: Option<Step<J::Plan>>, rows: i64) -> Result<Would, Failure> {
        Ok(match step {
            Some(Step::Call(plan)) => {
                let effect = J::effect(&plan).map(str::to_owned);
                let maybe_done = match &effect {
                    Some(name) => self.maybe_done(name).await?,
                    None => false,
                };
                let provider = match J::CALLS {
                    Calls::Nobody => "nobody",
                    Calls::Sometimes(whom) | Calls::Always(whom) => whom.name(),
                    Calls::Either => "the payment's provider",
                };
                Would::Call { provider, effect, maybe_done }
            }
            Some(Step::Refused(failure)) => refused(failure),
            Some(Step::Done) if rows > 0 => Would::Write { rows },
            Some(Step::Done) | None => Would::Nothing,
        })
    }

    async fn maybe_done(&self, effect: &str) -> Result<bool, Failure> {
        let mut tx = self.store.begin().await?;
        let state = effects::state_of(&mut tx, effect).await?;
        tx.rollback().await?;
        Ok(matches!(state, Some(EffectState::InFlight | EffectState::Unknown)))
    }
}

fn refused(failure: Failure) -> Would {
    let Failure { class, code, detail, .. } = failure;
    match class {
        Class::Permanent | Class::Data => Would::Die { code, detail },
        Class::Snooze(_) | Class::Unavailable(_) | Class::Retry | Class::RetryAfter(_) | Class::Unknown => {
            Would::Wait { code, detail }
        }
    }
}
