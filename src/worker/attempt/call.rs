//! One call to a provider, on a task of its own: begun while the lease has time for it, and cut off where it ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::Attempt;
use crate::job::{Class, Failure};
use crate::jobs::{Called, Job};
use crate::proof::{self, Point};
use crate::queue::Lease;
use crate::telemetry::spans::{Begun, Side, within};
use crate::time::Stopwatch;
use crate::worker::kit::Calling;
use crate::worker::settle::Back;

/// A call is begun only while this much of the lease is left.
const LEASE_LEFT: Duration = Duration::from_secs(1);

impl<J: Job> Attempt<'_, J> {
    /// Asks the provider on a task of its own. No transaction is open.
    pub(super) fn call(&mut self, calling: Calling<J>, lease: Lease) -> AbortOnDropHandle<Back<J>> {
        let (reach, permit) = (self.kit.reach.clone(), self.permits.pop());
        let (attempt, names) = self.told.calling(calling.item.id);
        let (providers, places) = (Arc::clone(&self.kit.providers), Arc::clone(&self.places));
        AbortOnDropHandle::new(self.kit.tasks.spawn(async move {
            // The semaphore is never closed.
            let place = places.acquire_owned().await.ok();
            let watch = Stopwatch::start();
            let permit = match (permit, J::whom(&calling.plan, &providers)) {
                (None, Some(whom)) => reach.permit(whom).await.map(Some),
                (permit, _) => Ok(permit),
            };
            proof::pass(Point::Calling, &[Some(J::KIND)]);
            let answer = match permit {
                Ok(permit) => {
                    let begun = Begun::under(attempt);
                    let asked = within(begun.map(|call| call.context()), ask(&calling, &providers, &lease));
                    let answer = asked.instrument(names).await;
                    if let Some(call) = begun {
                        let code = answer.as_ref().err().map(|failure| failure.code);
                        call.end("call", Side::Inside).failed(code).record();
                    }
                    if let Some(permit) = permit {
                        permit.tell(answer.as_ref().map(drop)).await;
                    }
                    answer
                }
                Err(failure) => Err(failure),
            };
            proof::pass(Point::Called, &[Some(J::KIND), J::effect(&calling.plan)]);
            let answer = answer.map(|receipt| Called {
                loaded: Arc::clone(&calling.loaded),
                plan: Arc::clone(&calling.plan),
                receipt: Arc::new(receipt),
            });
            metrics::histogram!("orderfleet_call_seconds", "kind" => J::KIND).record(watch.elapsed());
            Back { calling, answer, took_ms: watch.elapsed_ms(), _place: place }
        }))
    }
}

/// One call: only while the lease lasts, and a panic is its failure.
async fn ask<J: Job>(
    calling: &Calling<J>,
    providers: &crate::provider::Providers,
    lease: &Lease,
) -> Result<J::Receipt, Failure> {
    if lease.remaining() < LEASE_LEFT {
        return Err(Failure::snooze(
            Duration::ZERO,
            "lease_short",
            "too little of the lease was left for a call",
        ));
    }
    let call = AssertUnwindSafe(calling.loaded.job.call(&calling.plan, providers)).catch_unwind();
    tokio::select! {
        answer = call => answer.unwrap_or_else(|_| Err(Failure::new(Class::Unknown, "panicked", "the call panicked"))),
        () = lease.lost() => Err(Failure::new(Class::Unknown, "lease_lost", "the lease ended during the call")),
    }
}
