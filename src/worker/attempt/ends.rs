//! How a delivery ends, as its job stands after a commit: finished, later, or given back where nothing was written.

use std::time::Duration;

use super::Attempt;
use crate::ids::{JobId, jitter};
use crate::job::Failure;
use crate::jobs::Job;
use crate::queue::{Delivery, Outcomes};
use crate::time::Clock;
use crate::worker::kit::{After, Kit};

/// How long jobs wait when Postgres is away: a slice is claimed about once a second until it is back.
const POSTGRES_AWAY: Duration = Duration::from_millis(700);

impl<J: Job> Attempt<'_, J> {
    /// Ends a delivery as its job stands, or begins its call.
    pub(super) fn end(&mut self, id: JobId, after: After<J>, carried: bool) {
        match after {
            After::Call(calling) => {
                if let Some(delivery) = self.held.get(&id) {
                    let lease = delivery.lease.clone();
                    let call = self.call(calling, lease);
                    self.calls.push(call);
                }
            }
            After::Finished if carried => {
                self.exemplify(id);
                self.finish(id, ("finished", None));
            }
            After::Buried(code) if carried => self.finish(id, ("buried", Some(code))),
            After::Later(delay, attempts, code) => {
                let attempts = u16::try_from(attempts).unwrap_or(u16::MAX);
                let spent = self.held.get(&id).is_some_and(|delivery| attempts > delivery.attempts);
                let how = if spent { "retried" } else { "snoozed" };
                self.told.put_off(id, how, code, (delay, attempts));
                self.take(id, (how, code), |outcomes, delivery| {
                    ended(J::KIND, how, 1);
                    outcomes.delay(delivery, delay, attempts);
                });
            }
            // Back at once when Redis answers: the next delivery projects what this one could not. Dropped, its lease
            // would end under a living worker, which spends an attempt that an outage must not.
            After::Finished => self.take(id, ("not_carried", None), Outcomes::hand_back),
            After::Buried(code) => self.take(id, ("not_carried", Some(code)), Outcomes::hand_back),
            // Dropped: it is another's.
            After::Again(_) | After::Overtaken => {
                ended(J::KIND, "overtaken", 1);
                self.told.end(id, "overtaken", None);
                self.held.remove(&id);
            }
        }
    }

    /// Its copy goes.
    fn finish(&mut self, id: JobId, how: (&'static str, Option<&'static str>)) {
        self.take(id, how, |outcomes, delivery| {
            ended(J::KIND, "finished", 1);
            let lived = Clock::real().unix_seconds() - i64::from(delivery.pushed_at);
            let lived = f64::from(i32::try_from(lived.max(0)).unwrap_or(i32::MAX));
            metrics::histogram!("orderfleet_job_life_seconds", "kind" => J::KIND).record(lived);
            outcomes.finish(delivery);
        });
    }

    /// It ended well: it may stand for its kind.
    fn exemplify(&self, id: JobId) {
        if let Some(delivery) = self.held.get(&id) {
            let Kit { store, tasks, exemplars, .. } = self.kit;
            exemplars.ended((store, tasks), J::KIND, (id, &delivery.body));
        }
    }

    /// Ends a delivery, and tells its trace how, with the code of what came between.
    pub(super) fn take(
        &mut self,
        id: JobId,
        (how, code): (&'static str, Option<&'static str>),
        end: impl FnOnce(&Outcomes, Delivery),
    ) {
        if let Some(delivery) = self.held.remove(&id) {
            self.told.end(id, how, code);
            end(self.outcomes, delivery);
        }
    }

    /// Nothing could be written: the jobs come back, spending nothing.
    pub(super) fn give_back(&mut self, ids: impl Iterator<Item = JobId>, failure: &Failure) {
        let ids: Vec<JobId> = ids.collect();
        tracing::warn!(
            kind = J::KIND,
            jobs = ids.len(),
            code = failure.code,
            detail = failure.detail,
            "a slice could not be written"
        );
        if failure.code == "postgres_unreachable" {
            self.kit.reach.postgres_is_away();
        }
        ended(J::KIND, "given_back", ids.len());
        let wait = POSTGRES_AWAY.mul_f64(1.0 + jitter());
        for id in ids {
            self.take(id, ("given_back", Some(failure.code)), |outcomes, delivery| {
                let attempts = delivery.attempts;
                outcomes.delay(delivery, wait, attempts);
            });
        }
    }
}

/// Counts deliveries by how they ended.
pub(super) fn ended(kind: &'static str, how: &'static str, jobs: usize) {
    let jobs = u64::try_from(jobs).unwrap_or_default();
    metrics::counter!("orderfleet_deliveries_ended_total", "kind" => kind, "how" => how).increment(jobs);
}
