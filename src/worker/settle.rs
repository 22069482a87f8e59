//! The last transaction of an attempt: receipts first and for everybody, then the domain for those whose run is still
//! theirs.

use std::collections::HashSet;

use tokio::sync::OwnedSemaphorePermit;

use super::fate::{self, Fate};
use super::kit::{After, Calling, Kit};
use super::load::{Outcome, bury};
use super::phase::{self, Settle};
use crate::ids::{JobId, jitter};
use crate::job::{Class, Failure, Verdict};
use crate::jobs::{Called, Job};
use crate::proof::{self, Point};
use crate::store::effects::{self, EffectState};
use crate::store::{Tx, dead_letters, jobs};

/// A call that came back, well or not.
pub(super) struct Back<J: Job> {
    pub(super) calling: Calling<J>,
    pub(super) answer: Result<Called<J>, Failure>,
    /// How long the call took, in milliseconds.
    pub(super) took_ms: i64,
    /// Its place among the slice's calls: kept until it is settled, so that no more answers than places are ever unwritten.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// Settles whatever came back, in one transaction.
pub(super) async fn settle<J: Job>(
    kit: &Kit,
    back: &[Back<J>],
    careful: bool,
) -> Result<Outcome<J>, Failure> {
    let mut tx = kit.store.begin().await?;
    let runs: Vec<(JobId, i32)> = back.iter().map(|back| (back.calling.item.id, back.calling.run)).collect();
    let ours: HashSet<JobId> = jobs::still_ours(&mut tx, &runs).await?.into_iter().collect();
    let is_ours = |back: &&Back<J>| ours.contains(&back.calling.item.id);
    receipts(&mut tx, back).await?;
    let answered: Vec<&Back<J>> = back.iter().filter(is_ours).filter(|back| back.answer.is_ok()).collect();
    let called: Vec<Called<J>> =
        answered.iter().filter_map(|back| back.answer.as_ref().ok()).cloned().collect();
    let verdicts = phase::run::<Settle<J>>(&called, &mut tx, &kit.rules, careful).await?;
    let mut after = Vec::with_capacity(back.len());
    let mut done = Vec::new();
    for (back, verdict) in answered.into_iter().zip(verdicts) {
        let item = &back.calling.item;
        let stands = match verdict {
            Verdict::Done => {
                done.push(item.id);
                After::Finished
            }
            Verdict::Again => After::Again(item.clone()),
            Verdict::Refused(failure) => refused(kit, &mut tx, back, &failure).await?,
        };
        after.push((item.id, stands));
    }
    for back in back.iter().filter(is_ours) {
        if let Err(failure) = &back.answer {
            mark(&mut tx, back, failure).await?;
            after.push((back.calling.item.id, refused(kit, &mut tx, back, failure).await?));
        }
    }
    for back in back.iter().filter(|back| !is_ours(back)) {
        tracing::warn!(job = %back.calling.item.id, kind = J::KIND, run = back.calling.run, "overtaken: only the receipt was kept");
        after.push((back.calling.item.id, After::Overtaken));
    }
    jobs::delete(&mut tx, &done).await?;
    proof::pass(Point::Settling, &[Some(J::KIND)]);
    Ok((after, tx.commit().await?))
}

/// Writes every receipt, whatever became of its job meanwhile.
async fn receipts<J: Job>(tx: &mut Tx, back: &[Back<J>]) -> Result<(), Failure> {
    let mut proofs = Vec::new();
    for back in back {
        if let Ok(called) = &back.answer
            && let Some(proof) = J::proof(&called.plan, &called.receipt)
        {
            proofs.push((proof, back.calling.run));
        }
    }
    Ok(effects::record(tx, &proofs).await?)
}

/// What a failed call says of its effect: only an unknown outcome has to be looked up before it is sent again.
async fn mark<J: Job>(tx: &mut Tx, back: &Back<J>, failure: &Failure) -> Result<(), Failure> {
    let Some(name) = J::effect(&back.calling.plan) else {
        return Ok(());
    };
    let state = match failure.class {
        Class::Unknown => EffectState::Unknown,
        Class::Permanent | Class::Data => EffectState::Failed,
        Class::Snooze(_) | Class::Unavailable(_) | Class::Retry | Class::RetryAfter(_) => {
            return Ok(effects::not_sent(tx, name).await?);
        }
    };
    Ok(effects::mark(tx, name, state).await?)
}

/// Puts a job off, or gives it up.
async fn refused<J: Job>(
    kit: &Kit,
    tx: &mut Tx,
    back: &Back<J>,
    failure: &Failure,
) -> Result<After<J>, Failure> {
    let Calling { item, loaded, attempts, .. } = &back.calling;
    match fate::judge(failure, *attempts, loaded.age, &J::LIMITS, jitter()) {
        Fate::Later(delay, attempts) => {
            jobs::postpone(tx, item.id, delay, attempts).await?;
            if failure.spends_an_attempt() {
                dead_letters::attempted(tx, item.id, attempts, &kit.worker, failure, back.took_ms).await?;
            }
            Ok(After::Later(delay, attempts, Some(failure.code)))
        }
        Fate::Buried(attempts) => {
            bury(kit, tx, item, failure, attempts, back.took_ms).await?;
            Ok(After::Buried(failure.code))
        }
    }
}
