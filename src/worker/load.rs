//! The first transaction of an attempt: locks the slice's rows, decides, and ends whatever needs no call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::fate::{self, Fate};
use super::kit::{After, Calling, Item, Kit};
use super::phase::{self, Load};
use crate::ids::{JobId, jitter};
use crate::job::{Failure, Step};
use crate::jobs::{Job, Loaded};
use crate::proof::{self, Point};
use crate::queue::Origin;
use crate::store::dead_letters::{self, Dead};
use crate::store::exceptions::{self, Severity};
use crate::store::jobs::{self, Adopted, Locked};
use crate::store::{Committed, Tx};

/// A job that is early by less than this is worked: Redis's clock and the database's are never quite the same.
const EARLY: Duration = Duration::from_millis(5);

/// Where each job of the slice stands after the commit, and what the commit left to be done.
pub(super) type Outcome<J> = (Vec<(JobId, After<J>)>, Committed);

/// Loads a slice in one transaction.
pub(super) async fn load<J: Job>(kit: &Kit, items: &[Item<J>], careful: bool) -> Result<Outcome<J>, Failure> {
    let mut tx = kit.store.begin().await?;
    let ids: Vec<JobId> = items.iter().map(|item| item.id).collect();
    let locked = jobs::lock(&mut tx, &ids).await?;
    let mut sorted = Sorted { after: Vec::with_capacity(items.len()), ready: Vec::new(), slice: Vec::new() };
    for item in items {
        sort(&mut tx, item, locked.get(&item.id), &mut sorted);
    }
    let Sorted { mut after, ready, slice } = sorted;
    let steps = phase::run::<Load<J>>(&slice, &mut tx, &kit.rules, careful).await?;
    let mut written = Written::default();
    for ((item, loaded), step) in ready.into_iter().zip(slice).zip(steps) {
        let row = locked.get(&item.id).copied();
        let id = item.id;
        after.push((id, decided(kit, &mut tx, item, loaded, row, step, &mut written).await?));
    }
    overran(kit, &mut tx, items, &locked, &mut after, &mut written).await?;
    written.write(&mut tx).await?;
    proof::pass(Point::Loading, &[Some(J::KIND)]);
    Ok((after, tx.commit().await?))
}

struct Sorted<J: Job> {
    after: Vec<(JobId, After<J>)>,
    ready: Vec<Item<J>>,
    slice: Vec<Loaded<J>>,
}

/// Who is to be loaded, and who is not: gone, early, or overran its deadline.
fn sort<J: Job>(tx: &mut Tx, item: &Item<J>, row: Option<&Locked>, sorted: &mut Sorted<J>) {
    match row {
        None if item.origin == Origin::Row => {
            // It was done. Its order's public state is written again: Redis may have lost it.
            if let Some(order) = item.job.order() {
                tx.touch_order(order);
            }
            sorted.after.push((item.id, After::Finished));
        }
        Some(row) if row.early > EARLY => {
            sorted.after.push((item.id, After::Later(row.early, row.attempts, None)));
        }
        _ if item.overran => {}
        row => {
            let age = row.map_or(Duration::ZERO, |row| row.age);
            sorted.slice.push(Loaded { id: item.id, job: item.job.clone(), age, trace: item.trace });
            sorted.ready.push(item.clone());
        }
    }
}

/// A lease that ended under a living worker spends an attempt: its call hung past the kind's deadline.
async fn overran<J: Job>(
    kit: &Kit,
    tx: &mut Tx,
    items: &[Item<J>],
    locked: &HashMap<JobId, Locked>,
    after: &mut Vec<(JobId, After<J>)>,
    written: &mut Written,
) -> Result<(), Failure> {
    for item in items.iter().filter(|item| item.overran) {
        if after.iter().any(|(id, _)| *id == item.id) {
            continue;
        }
        let failure = Failure::retry("deadline_passed", "the attempt did not end within the kind's deadline");
        let row = locked.get(&item.id).copied();
        let age = row.map_or(Duration::ZERO, |row| row.age);
        let fate = refused(kit, tx, (item, row, age), &failure, written).await?;
        after.push((item.id, fate));
    }
    Ok(())
}

/// What a load's decision means for the row.
async fn decided<J: Job>(
    kit: &Kit,
    tx: &mut Tx,
    item: Item<J>,
    loaded: Loaded<J>,
    row: Option<Locked>,
    step: Step<J::Plan>,
    written: &mut Written,
) -> Result<After<J>, Failure> {
    match step {
        Step::Done => {
            if row.is_some() {
                written.done.push(item.id);
            }
            Ok(After::Finished)
        }
        Step::Call(plan) => {
            match row {
                Some(_) => written.raised.push(item.id),
                None => written.adopted.push(adopted(&item, Duration::ZERO, 1, 0)),
            }
            Ok(After::Call(Calling {
                run: row.map_or(1, |row| row.run.saturating_add(1)),
                attempts: row.map_or(0, |row| row.attempts),
                loaded: Arc::new(loaded),
                plan: Arc::new(plan),
                item,
            }))
        }
        Step::Refused(failure) => refused(kit, tx, (&item, row, loaded.age), &failure, written).await,
    }
}

/// Puts a job off, or gives it up.
async fn refused<J: Job>(
    kit: &Kit,
    tx: &mut Tx,
    (item, row, age): (&Item<J>, Option<Locked>, Duration),
    failure: &Failure,
    written: &mut Written,
) -> Result<After<J>, Failure> {
    let spent = row.map_or(0, |row| row.attempts);
    match fate::judge(failure, spent, age, &J::LIMITS, jitter()) {
        Fate::Later(delay, attempts) => {
            match row {
                Some(_) => jobs::postpone(tx, item.id, delay, attempts).await?,
                None => written.adopted.push(adopted(item, delay, 0, attempts)),
            }
            if failure.spends_an_attempt() {
                dead_letters::attempted(tx, item.id, attempts, &kit.worker, failure, 0).await?;
            }
            Ok(After::Later(delay, attempts, Some(failure.code)))
        }
        Fate::Buried(attempts) => {
            bury(kit, tx, item, failure, attempts, 0).await?;
            Ok(After::Buried(failure.code))
        }
    }
}

/// Gives a job up: its domain side, its dead letter, and its row, in the transaction that is open. A domain side that
/// can not be written does not keep the job alive.
pub(super) async fn bury<J: Job>(
    kit: &Kit,
    tx: &mut Tx,
    item: &Item<J>,
    failure: &Failure,
    attempts: i32,
    took_ms: i64,
) -> Result<(), Failure> {
    let mark = tx.savepoint().await?;
    match item.job.buried(item.id, failure, tx).await {
        Ok(()) => tx.release().await?,
        Err(error) if phase::is_postgres(&error) => return Err(error),
        Err(error) => {
            tracing::error!(job = %item.id, kind = J::KIND, %error, "a buried job's domain side could not be written");
            tx.give_up(mark).await?;
            not_followed_up(tx, item, &error).await?;
        }
    }
    dead_letters::attempted(tx, item.id, attempts, &kit.worker, failure, took_ms).await?;
    let dead = Dead {
        job: item.id,
        kind: J::KIND.to_owned(),
        lane: J::LANE.name().to_owned(),
        band: item.band,
        payload: serde_json::to_value(&item.job).unwrap_or_default(),
        attempts,
        caused_by: "intake".to_owned(),
        traceparent: item.trace,
    };
    metrics::counter!("orderfleet_jobs_buried_total", "kind" => J::KIND, "code" => failure.code).increment(1);
    Ok(dead_letters::bury(tx, &dead, failure).await?)
}

/// What should have followed a burial could not be written: a person has to see to it, where an order is there to show it.
async fn not_followed_up<J: Job>(tx: &mut Tx, item: &Item<J>, error: &Failure) -> Result<(), Failure> {
    let Some(order) = item.job.order() else { return Ok(()) };
    let mark = tx.savepoint().await?;
    let detail =
        format!("{} {} was given up, and what should follow failed: {}", J::KIND, item.id, error.code);
    match exceptions::open(tx, order, "not_followed_up", Severity::Critical, &detail)
        .await
        .map_err(Failure::from)
    {
        Ok(_) => tx.release().await?,
        Err(error) if phase::is_postgres(&error) => return Err(error),
        Err(_) => tx.give_up(mark).await?,
    }
    Ok(())
}

fn adopted<J: Job>(item: &Item<J>, delay: Duration, run: i32, attempts: i32) -> Adopted {
    Adopted {
        id: item.id,
        kind: J::KIND.to_owned(),
        lane: J::LANE.name().to_owned(),
        band: item.band,
        payload: serde_json::to_value(&item.job).unwrap_or_default(),
        delay,
        run,
        attempts,
        traceparent: item.trace,
    }
}

/// Writes to job rows, gathered: one statement each.
#[derive(Default)]
struct Written {
    done: Vec<JobId>,
    raised: Vec<JobId>,
    adopted: Vec<Adopted>,
}

impl Written {
    async fn write(self, tx: &mut Tx) -> Result<(), Failure> {
        if !self.raised.is_empty() {
            jobs::raise(tx, &self.raised).await?;
        }
        if !self.done.is_empty() {
            jobs::delete(tx, &self.done).await?;
        }
        Ok(jobs::adopt(tx, self.adopted).await?)
    }
}
