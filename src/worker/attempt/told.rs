//! What logs and traces are told of a slice's jobs: each attempt is a span under its order's request, with a step for each
//! transaction and call in it.
//!
//! Nothing here decides anything. A webhook's job learns only at its load which order it is about: from then on it stands in
//! that order's trace, and is linked with the request that brought it.

use std::collections::HashMap;
use std::time::Duration;

use crate::ids::{JobId, OrderId};
use crate::jobs::Job;
use crate::queue::Delivery;
use crate::store::About;
use crate::telemetry::TraceContext;
use crate::telemetry::spans::{Begun, Side, Since};
use crate::worker::kit::Item;

/// What is known of the jobs in hand, by their ids.
pub(super) struct Told(HashMap<JobId, One>);

struct One {
    kind: &'static str,
    lane: &'static str,
    order: Option<OrderId>,
    /// The trace that it came with.
    trace: Option<TraceContext>,
    /// The request of another trace that brought it.
    brought_by: Option<TraceContext>,
    /// Its attempt, where spans are exported.
    attempt: Option<Begun>,
    /// Attempts spent before this one, and hand-overs since.
    attempts: u16,
    deliveries: u32,
}

impl Told {
    /// Begins the attempts of these.
    pub(super) fn of<J: Job>(turn: &[(Delivery, Item<J>)]) -> Self {
        let one = |(delivery, item): &(Delivery, Item<J>)| {
            let one = One {
                kind: J::KIND,
                lane: J::LANE.name(),
                order: item.job.order(),
                trace: item.trace,
                brought_by: None,
                attempt: Begun::under(item.trace),
                attempts: delivery.attempts,
                deliveries: delivery.deliveries,
            };
            (item.id, one)
        };
        Self(turn.iter().map(one).collect())
    }

    /// A transaction of these jobs is over: what they turned out to be about, or the code of why nothing was written.
    pub(super) fn stepped(
        &mut self,
        name: &'static str,
        since: Since,
        jobs: impl Iterator<Item = JobId>,
        ended: Result<&[About], &'static str>,
    ) {
        for about in ended.unwrap_or_default() {
            if let Some(one) = self.0.get_mut(&about.job) {
                one.is_about(about);
            }
        }
        for id in jobs {
            if let Some(attempt) = self.0.get(&id).and_then(|one| one.attempt) {
                attempt.step(since).end(name, Side::Inside).failed(ended.err()).record();
            }
        }
    }

    /// What a job's call stands under, and its names for the logs.
    pub(super) fn calling(&self, id: JobId) -> (Option<TraceContext>, tracing::Span) {
        let Some(one) = self.0.get(&id) else { return (None, tracing::Span::none()) };
        let (order, trace) = one.names();
        (
            one.attempt.map(|attempt| attempt.context()),
            tracing::info_span!("call", job = %id, kind = one.kind, order, trace),
        )
    }

    /// A job is put off: told in the log where that spends an attempt, because somebody may ask why it is late.
    pub(super) fn put_off(
        &self,
        id: JobId,
        how: &'static str,
        code: Option<&'static str>,
        (wait, attempts): (Duration, u16),
    ) {
        let (Some(one), Some(code)) = (self.0.get(&id), code) else { return };
        if how != "retried" {
            return;
        }
        let (order, trace) = one.names();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(job = %id, kind = one.kind, order, trace, code, attempts, wait_ms, "tried again later");
    }

    /// An attempt is over.
    pub(super) fn end(&mut self, id: JobId, how: &'static str, code: Option<&'static str>) {
        let Some(one) = self.0.remove(&id) else { return };
        let Some(attempt) = one.attempt else { return };
        attempt
            .end(one.kind, Side::Consumer)
            .linked(one.brought_by)
            .with("orderfleet.job", id.to_string())
            .with("orderfleet.lane", one.lane)
            .with("orderfleet.outcome", how)
            .with("orderfleet.attempts_before", i64::from(one.attempts))
            .with("orderfleet.deliveries", i64::from(one.deliveries))
            .with_some("orderfleet.order", one.order.map(|order| order.to_string()))
            .failed(code)
            .record();
    }
}

impl One {
    fn is_about(&mut self, about: &About) {
        self.order = Some(about.order);
        let Some(order) = about.trace else { return };
        if self.trace.is_some_and(|came| came.trace_id() != order.trace_id()) {
            self.brought_by = self.trace;
            self.trace = Some(order);
            self.attempt = self.attempt.map(|attempt| attempt.moved(order));
        }
    }

    fn names(&self) -> (Option<String>, Option<String>) {
        let trace = self.trace.map(|trace| trace.trace_id().to_string());
        (self.order.map(|order| order.to_string()), trace)
    }
}
