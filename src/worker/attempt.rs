//! One attempt at a slice: load, call, settle, and what becomes of each delivery.
//!
//! The steps share one rule: nothing is finished in the queue before its commit, and nothing is projected or pushed but
//! what a commit left. Calls run on tasks of their own, so that one slow provider holds nobody: settle takes whatever has
//! come back. A panic is an outcome of the job that panicked, never of its neighbours.

mod call;
mod ends;
mod told;
mod transaction;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::ends::ended;
use self::told::Told;
use self::transaction::in_transaction;
use super::kit::{After, Item, Kit};
use super::load;
use super::permit::Permit;
use super::settle::{self, Back};
use crate::ids::JobId;
use crate::job::Calls;
use crate::job::Failure;
use crate::jobs::Job;
use crate::proof::{self, Point};
use crate::queue::{Delivery, Outcomes};
use crate::store::{About, Committed};
use crate::telemetry::spans::Since;
use crate::time::Stopwatch;

/// Kept back of a deadline: the last try of a transaction may wait for a connection, and its outcome for Redis.
const LAST_TRY: Duration = Duration::from_secs(4);
/// After a drain's grace, for a transaction that is on its way: receipts of calls that have ended are worth a moment.
const LAST_COMMIT: Duration = Duration::from_millis(250);
/// Tries to project what was committed, before the copy is left to come back.
const CARRY_TRIES: u32 = 5;
const CARRY_WAIT: Duration = Duration::from_millis(200);

/// Works a slice of deliveries of one kind to its end.
pub(super) async fn work<J: Job>(kit: Kit, outcomes: Outcomes, deliveries: Vec<Delivery>) {
    let mut waiting = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        match read::<J>(&delivery) {
            Some(item) => waiting.push((delivery, item)),
            None if is_of_a_newer_version(&delivery.body) => {
                metrics::counter!("orderfleet_jobs_parked_total", "lane" => delivery.lane.name())
                    .increment(1);
                outcomes.park(delivery);
            }
            None => outcomes.bury(delivery, "unreadable_payload"),
        }
    }
    let (mut waiting, mut permits) = admit::<J>(&kit, &outcomes, waiting).await;
    // At most one job of a subject in a transaction; the others take the next turn.
    loop {
        if kit.halt.is_cancelled() {
            return outcomes.hand_back_all(waiting.into_iter().map(|(delivery, _)| delivery));
        }
        // What was held up past its lease is another's by now: to load it would be to overtake the successor.
        waiting.retain(|(delivery, _)| !delivery.lease.is_lost());
        if waiting.is_empty() {
            return;
        }
        let mut subjects = HashSet::new();
        let limit = kit.pace.slice(J::KIND, J::LIMITS.slice);
        let (turn, rest): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(_, item)| subjects.len() < limit && subjects.insert(item.job.subject()));
        waiting = rest;
        let mut attempt = Attempt::<J>::new(&kit, &outcomes, turn, permits);
        tokio::select! {
            biased;
            () = attempt.run() => {}
            () = past(&kit.halt) => {}
        }
        // Those that nobody needed.
        permits = std::mem::take(&mut attempt.permits);
        if kit.halt.is_cancelled() {
            attempt.hand_back();
        }
    }
}

/// When even a transaction is cut off: Postgres may be away, or a row be locked by another.
async fn past(halt: &CancellationToken) {
    halt.cancelled().await;
    sleep(LAST_COMMIT).await;
}

/// Of a kind that always calls: those that may call now, with the permits of all of them. The others wait in the queue, as
/// long as they were told; nothing of them was read, and no attempt is spent.
async fn admit<J: Job>(
    kit: &Kit,
    outcomes: &Outcomes,
    mut waiting: Vec<(Delivery, Item<J>)>,
) -> (Vec<(Delivery, Item<J>)>, Vec<Permit>) {
    let Calls::Always(whom) = J::CALLS else { return (waiting, Vec::new()) };
    let (permits, waits) = kit.reach.permits(whom, waiting.len()).await;
    for ((delivery, _), wait) in waiting.split_off(permits.len().min(waiting.len())).into_iter().zip(waits) {
        let attempts = delivery.attempts;
        ended(J::KIND, "no_permit", 1);
        outcomes.delay(delivery, wait, attempts);
    }
    (waiting, permits)
}

fn read<J: Job>(delivery: &Delivery) -> Option<Item<J>> {
    let job = serde_json::from_slice(&delivery.body)
        .inspect_err(|error| tracing::error!(job = %delivery.id, kind = J::KIND, at = error.column(), "unreadable payload"))
        .ok()?;
    Some(Item {
        id: delivery.id,
        origin: delivery.origin,
        band: i16::from(delivery.band.number()),
        job,
        overran: delivery.overran,
        trace: delivery.traceparent,
    })
}

/// Whether a newer version may read what this one can not: fields that are none are read by nobody.
fn is_of_a_newer_version(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).is_ok()
}

/// A slice in hand.
struct Attempt<'a, J: Job> {
    kit: &'a Kit,
    outcomes: &'a Outcomes,
    held: HashMap<JobId, Delivery>,
    items: Vec<Item<J>>,
    calls: FuturesUnordered<AbortOnDropHandle<Back<J>>>,
    places: Arc<Semaphore>,
    /// Of its calls, asked for before.
    permits: Vec<Permit>,
    /// What logs and traces are told of its jobs.
    told: Told,
}

impl<'a, J: Job> Attempt<'a, J> {
    fn new(
        kit: &'a Kit,
        outcomes: &'a Outcomes,
        turn: Vec<(Delivery, Item<J>)>,
        permits: Vec<Permit>,
    ) -> Self {
        let told = Told::of(&turn);
        let mut held = HashMap::with_capacity(turn.len());
        let mut items = Vec::with_capacity(turn.len());
        for (delivery, item) in turn {
            held.insert(delivery.id, delivery);
            items.push(item);
        }
        let places = Arc::new(Semaphore::new(J::LIMITS.calls.max(1)));
        Self { kit, outcomes, held, items, calls: FuturesUnordered::new(), places, permits, told }
    }

    /// Works it to its end, or to the end of a drain's grace.
    async fn run(&mut self) {
        let items = std::mem::take(&mut self.items);
        self.load(items).await;
        let halt = self.kit.halt.clone();
        loop {
            let first = tokio::select! {
                biased;
                () = halt.cancelled() => return,
                first = self.calls.next() => first,
            };
            let Some(first) = first else { return };
            let mut back = vec![first];
            // Whatever else has come back by now is settled in the same commit.
            while back.len() < J::LIMITS.settle {
                match self.calls.next().now_or_never() {
                    Some(Some(next)) => back.push(next),
                    _ => break,
                }
            }
            // A task that calls never panics: that is caught inside.
            let back: Vec<Back<J>> = back.into_iter().filter_map(Result::ok).collect();
            let again = self.settle(back).await;
            if !again.is_empty() {
                self.load(again).await;
            }
        }
    }

    /// The process must end: what still runs is cut off where it is, and its jobs go back to the front of the queue, spending
    /// nothing. What a cut-off call did is unknown; its effect stays in flight, and the next load looks it up. A commit that
    /// was on its way stands or does not: the next load sees which.
    fn hand_back(mut self) {
        if self.held.is_empty() {
            return;
        }
        tracing::warn!(
            kind = J::KIND,
            jobs = self.held.len(),
            "the grace is over: handed back while they ran"
        );
        let held: Vec<Delivery> = self.held.drain().map(|(_, delivery)| delivery).collect();
        for delivery in &held {
            self.told.end(delivery.id, "handed_back", None);
        }
        self.outcomes.hand_back_all(held.into_iter());
    }

    /// Loads items and begins their calls.
    async fn load(&mut self, items: Vec<Item<J>>) {
        let items = Arc::new(items);
        let step = |careful: bool| {
            let (kit, items) = (self.kit.clone(), Arc::clone(&items));
            self.kit
                .tasks
                .spawn(async move { kit.store.within(Box::pin(load::load(&kit, &items, careful))).await })
        };
        let (watch, since) = (Stopwatch::start(), Since::now());
        // Nothing was asked yet: the jobs may as well wait in the queue.
        let loaded = in_transaction(step, items.len(), Duration::ZERO).await;
        self.told.stepped("load", since, items.iter().map(|item| item.id), outcome(&loaded));
        // Who waits for an article's row is not slow: smaller slices would only wait more often.
        let waited = loaded.as_ref().map_or(Duration::ZERO, |(_, committed)| committed.waited);
        let busy = watch.elapsed().saturating_sub(waited);
        self.kit.pace.took(J::KIND, J::LIMITS.slice, items.len(), busy);
        measured(J::KIND, "load", items.len(), watch.elapsed());
        match loaded {
            Ok((after, committed)) => {
                self.kit.reach.postgres_is_back();
                proof::pass(Point::Loaded, &[Some(J::KIND)]);
                let carried = self.carry(committed).await;
                for (id, after) in after {
                    self.end(id, after, carried);
                }
            }
            Err(failure) => self.give_back(items.iter().map(|item| item.id), &failure),
        }
    }

    /// How long the answers of these calls may wait for Postgres: until their deadlines are near. A deadline that passes
    /// spends an attempt, which an outage must not.
    fn patience(&self, back: &[Back<J>]) -> Duration {
        let left = back.iter().filter_map(|back| self.held.get(&back.calling.item.id));
        let left = left.map(|delivery| delivery.lease.left_of_deadline()).min().unwrap_or_default();
        left.saturating_sub(LAST_TRY)
    }

    /// Settles calls that came back, and returns those that take another step.
    async fn settle(&mut self, back: Vec<Back<J>>) -> Vec<Item<J>> {
        let back = Arc::new(back);
        let step = |careful: bool| {
            let (kit, back) = (self.kit.clone(), Arc::clone(&back));
            self.kit
                .tasks
                .spawn(async move { kit.store.within(Box::pin(settle::settle(&kit, &back, careful))).await })
        };
        let mut again = Vec::new();
        // What a provider answered is worth waiting for: a receipt that is lost is a mail sent twice.
        let (watch, since) = (Stopwatch::start(), Since::now());
        let settled = in_transaction(step, back.len(), self.patience(&back)).await;
        self.told.stepped("settle", since, back.iter().map(|back| back.calling.item.id), outcome(&settled));
        measured(J::KIND, "settle", back.len(), watch.elapsed());
        match settled {
            Ok((after, committed)) => {
                proof::pass(Point::Settled, &[Some(J::KIND)]);
                let carried = self.carry(committed).await;
                for (id, after) in after {
                    if let After::Again(item) = after {
                        again.push(item);
                    } else {
                        self.end(id, after, carried);
                    }
                }
            }
            // Nothing was written: the next delivery finds the effect in flight, and looks.
            Err(failure) => self.give_back(back.iter().map(|back| back.calling.item.id), &failure),
        }
        again
    }

    /// Projects and pushes what a commit left. False where the copies must come back, because readers were not told.
    async fn carry(&self, committed: Committed) -> bool {
        for tried in 1..=CARRY_TRIES {
            match self.kit.relay.carry(committed.clone()).await {
                Ok(()) => return true,
                Err(error) => tracing::warn!(%error, tried, "what was committed could not be carried yet"),
            }
            sleep(CARRY_WAIT).await;
        }
        false
    }
}

/// What a transaction's end says to those who watch: what its jobs are about, or the code of why it was not written.
fn outcome<J: Job>(ended: &Result<load::Outcome<J>, Failure>) -> Result<&[About], &'static str> {
    match ended {
        Ok((_, committed)) => Ok(&committed.about),
        Err(failure) => Err(failure.code),
    }
}

/// A transaction over a slice: there are as many of them as of these measurements.
fn measured(kind: &'static str, phase: &'static str, jobs: usize, time: Duration) {
    let jobs = f64::from(u32::try_from(jobs).unwrap_or(u32::MAX));
    metrics::histogram!("orderfleet_slice_jobs", "kind" => kind, "phase" => phase).record(jobs);
    metrics::histogram!("orderfleet_transaction_seconds", "kind" => kind, "phase" => phase).record(time);
}
