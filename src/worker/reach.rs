//! What this worker knows of what lies outside: who is away, who bears no more calls now, and when to ask again.
//!
//! Permits to call are the fleet's, asked of Redis for a whole slice at once, before anything is loaded: what gets none waits in
//! the queue and spends nothing. What was heard is remembered here, so that a lane whose every job needs somebody who is
//! away claims nothing meanwhile. Postgres is every lane's, and each process sees for itself whether it is there.
//!
//! It must never stop work because Redis does not answer: then the calls go on, and the providers' own limits hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::permit::{Calls, Permit};
use crate::ids::jitter;
use crate::job::{Dependency, Failure, Lane};
use crate::jobs::needed_by;
use crate::queue::{CallLimits, Opening, Permits, Queue, QueueError, Word};

/// After a refusal by a rate or a number of calls: a quarter of a second's calls may go at once, so as much is worth asking for.
const NOT_SOONER: Duration = Duration::from_millis(250);
/// Postgres is tried again after the first wait, then after twice as long each time, up to the last: it is our own, one job of
/// each lane burdens it little, and work has to go on within seconds of its return.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What one worker knows; clones share it.
#[derive(Clone)]
pub(super) struct Reach(Arc<Inner>);

struct Inner {
    queue: Queue,
    postgres: Known,
    providers: Vec<Provider>,
    tasks: TaskTracker,
}

pub(super) struct Provider {
    pub(super) dependency: Dependency,
    limits: CallLimits,
    pub(super) known: Known,
    /// Those that run here.
    pub(super) calls: Calls,
}

/// What is known of one of them.
#[derive(Default)]
pub(super) struct Known(Mutex<Seen>);

#[derive(Clone, Copy, Default)]
struct Seen {
    /// Nothing is asked of it until then.
    until: Option<Instant>,
    /// It was away: what is asked first finds out.
    is_away: bool,
    /// The wait that is over then, where this process counts it.
    wait: Duration,
}

impl Reach {
    pub(super) fn new(queue: &Queue, limits: &[(Dependency, CallLimits)], tasks: &TaskTracker) -> Self {
        let provider = |(dependency, limits): &(Dependency, CallLimits)| Provider {
            dependency: *dependency,
            limits: *limits,
            known: Known::default(),
            calls: Calls::default(),
        };
        let inner = Inner {
            queue: queue.clone(),
            postgres: Known::default(),
            providers: limits.iter().map(provider).collect(),
            tasks: tasks.clone(),
        };
        Self(Arc::new(inner))
    }

    /// Whether a lane's jobs are wanted now.
    pub(super) fn opening(&self, lane: Lane) -> Opening {
        let provider = needed_by(lane).and_then(|needed| self.provider(needed));
        let seen = [Some(&self.0.postgres), provider.map(|provider| &provider.known)];
        seen.into_iter().flatten().map(|known| known.opening(Instant::now())).fold(
            Opening::Open,
            |one, other| match (one, other) {
                (Opening::Shut(one), Opening::Shut(other)) => Opening::Shut(one.max(other)),
                (shut @ Opening::Shut(_), _) | (_, shut @ Opening::Shut(_)) => shut,
                (Opening::One, _) | (_, Opening::One) => Opening::One,
                (Opening::Open, Opening::Open) => Opening::Open,
            },
        )
    }

    /// Asks for so many calls at once. Answers the permits, and for how long each of the others has to wait.
    pub(super) async fn permits(&self, to: Dependency, wanted: usize) -> (Vec<Permit>, Vec<Duration>) {
        let Some(provider) = self.provider(to).filter(|_| wanted > 0) else {
            return (Vec::new(), Vec::new());
        };
        let asked = self.0.queue.ask_permits(to.name(), provider.limits, wanted).await;
        let asked = asked.unwrap_or_else(|error| {
            tracing::debug!(provider = to.name(), %error, "nobody could be asked for permits");
            Permits { granted: u64::try_from(wanted).unwrap_or(u64::MAX), ..Permits::default() }
        });
        let number = |at: u64| (asked.first > 0).then(|| asked.first + at);
        let permit = |at| Permit::new(self, provider, asked.is_probe, number(at));
        let permits: Vec<Permit> = (0..asked.granted).map(permit).collect();
        let refused = wanted.saturating_sub(permits.len());
        if let Some(wait) = asked.wait {
            metrics::counter!("orderfleet_calls_held_total", "provider" => to.name())
                .increment(u64::try_from(refused).unwrap_or_default());
            provider.known.shut(
                Instant::now(),
                if asked.is_away { wait } else { wait.max(NOT_SOONER) },
                asked.is_away,
            );
        } else if !asked.is_probe {
            provider.known.back();
        }
        let wait = asked.wait.unwrap_or_default();
        let step = asked.step;
        let waits = (0..u32::try_from(refused).unwrap_or(u32::MAX)).map(|at| wait + step * at);
        (permits, waits.collect())
    }

    /// One permit, or what becomes of a call that got none.
    pub(super) async fn permit(&self, to: Dependency) -> Result<Permit, Failure> {
        let (mut permits, waits) = self.permits(to, 1).await;
        permits.pop().ok_or_else(|| {
            let wait = waits.first().copied().unwrap_or(NOT_SOONER);
            Failure::snooze(wait, "no_permit", "the provider is away, or bears no more calls now")
        })
    }

    /// Says for the calls that run here that this worker lives, until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let every = self.0.queue.renewed_every();
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            for provider in &self.0.providers {
                let Some((places, has_probe)) = provider.calls.running() else { continue };
                let name = provider.dependency.name();
                if let Err(error) = self.0.queue.keep_places(name, &places, has_probe).await {
                    tracing::debug!(provider = name, %error, "the places of calls could not be kept");
                }
            }
        }
    }

    /// Postgres did not answer.
    pub(super) fn postgres_is_away(&self) {
        let wait = self.0.postgres.shut_longer(Instant::now());
        metrics::gauge!("orderfleet_breaker_open", "dependency" => Dependency::Postgres.name()).set(1.0);
        tracing::warn!(?wait, "Postgres is away: the lanes wait");
    }

    /// Postgres committed something.
    pub(super) fn postgres_is_back(&self) {
        if self.0.postgres.back() {
            metrics::gauge!("orderfleet_breaker_open", "dependency" => Dependency::Postgres.name()).set(0.0);
            tracing::info!("Postgres is back");
        }
    }

    pub(super) fn provider(&self, dependency: Dependency) -> Option<&Provider> {
        self.0.providers.iter().find(|provider| provider.dependency == dependency)
    }

    /// A call ended: its place is free for the whole fleet.
    pub(super) fn leave(&self, dependency: Dependency, place: u64) {
        let reach = self.clone();
        self.0.tasks.spawn(async move {
            if let Err(error) = reach.0.queue.leave_places(dependency.name(), &[place]).await {
                // It is free once nobody says that it is taken.
                tracing::debug!(provider = dependency.name(), %error, "a call's place could not be left");
            }
        });
    }

    /// Tells the whole fleet what a call showed; answers how long nobody may call now.
    pub(super) async fn tell(
        &self,
        of: Dependency,
        word: Word,
        was_probe: bool,
    ) -> Result<Duration, QueueError> {
        self.0.queue.tell_of_call(of.name(), word, was_probe).await
    }
}

impl Known {
    pub(super) fn opening(&self, now: Instant) -> Opening {
        let seen = *self.seen();
        match seen.until {
            Some(until) if now < until => Opening::Shut(until),
            Some(_) if seen.is_away => Opening::One,
            Some(_) | None => Opening::Open,
        }
    }

    pub(super) fn shut(&self, now: Instant, wait: Duration, is_away: bool) {
        *self.seen() = Seen { until: Some(now + wait), is_away, wait };
    }

    /// Shut for twice as long as the last time, unless it still is.
    fn shut_longer(&self, now: Instant) -> Duration {
        let seen = *self.seen();
        let wait = match self.opening(now) {
            Opening::Shut(_) => return seen.wait,
            Opening::One => (seen.wait * 2).min(LAST_WAIT),
            Opening::Open => FIRST_WAIT,
        };
        self.shut(now, wait.mul_f64(1.0 + jitter() / 4.0), true);
        self.seen().wait = wait;
        wait
    }

    /// Whether that is news.
    pub(super) fn back(&self) -> bool {
        std::mem::take(&mut *self.seen()).is_away
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Sources, load};
    use crate::config::{QueueSettings, ms};
    use crate::job::Class;
    use crate::queue::tests::server::Server;

    #[test]
    fn a_lane_pauses_only_for_whom_all_of_its_jobs_call() {
        assert_eq!(needed_by(Lane::PaymentsOut), Some(Dependency::Stripe));
        assert_eq!(needed_by(Lane::Shipping), Some(Dependency::EasyPost));
        assert_eq!(needed_by(Lane::Mail), Some(Dependency::Smtp));
        for lane in [Lane::Intents, Lane::PaymentsIn, Lane::Expiry, Lane::ShippingIn] {
            assert_eq!(needed_by(lane), None, "{lane} has jobs that end in Postgres");
        }
    }

    #[test]
    fn what_is_away_is_tried_by_one_and_waited_for_longer_each_time() {
        let (known, mut now) = (Known::default(), Instant::now());
        assert_eq!(known.opening(now), Opening::Open);
        assert_eq!(known.shut_longer(now), FIRST_WAIT);
        assert!(matches!(known.opening(now), Opening::Shut(_)));
        assert_eq!(known.shut_longer(now), FIRST_WAIT, "many failures at once are one outage");
        for wait in [FIRST_WAIT * 2, LAST_WAIT, LAST_WAIT] {
            now += LAST_WAIT * 2;
            assert_eq!(known.opening(now), Opening::One, "one finds out");
            assert_eq!(known.shut_longer(now), wait);
        }
        assert!(known.back());
        assert_eq!(known.opening(now), Opening::Open);
        known.shut(now, NOT_SOONER, false);
        assert!(matches!(known.opening(now), Opening::Shut(_)));
        assert_eq!(known.opening(now + NOT_SOONER), Opening::Open, "a limit needs nobody to find out");
    }

    /// A worker's view of a fleet of its own.
    async fn reach(server: &Server, settings: &QueueSettings) -> Reach {
        let queue =
            Queue::connect(&server.settings(), settings, &std::collections::BTreeMap::new()).await.unwrap();
        Reach::new(&queue, &[(Dependency::Smtp, CallLimits { a_second: 0, at_once: 2 })], &TaskTracker::new())
    }

    #[tokio::test]
    async fn what_one_worker_finds_away_another_learns_by_asking_and_one_call_brings_both_back() {
        let server = Server::start().await;
        let settings = load(&Sources::default()).unwrap().queue;
        let (one, other) = (reach(&server, &settings).await, reach(&server, &settings).await);
        let refused = Failure::new(Class::Unavailable(Dependency::Smtp), "not_reached", "refused");
        one.permit(Dependency::Smtp).await.unwrap().tell(Err(&refused)).await;
        assert!(matches!(one.opening(Lane::Mail), Opening::Shut(_)));
        assert_eq!(one.opening(Lane::Intents), Opening::Open, "no other lane waits");
        assert_eq!(other.opening(Lane::Mail), Opening::Open, "it was not told");
        let failure = other.permit(Dependency::Smtp).await.err().expect("the breaker is open");
        assert!(!failure.spends_an_attempt());
        assert!(matches!(other.opening(Lane::Mail), Opening::Shut(_)), "now it knows");
        let Opening::Shut(until) = one.opening(Lane::Mail) else { panic!("it is shut") };
        tokio::time::sleep_until(until).await;
        assert_eq!(one.opening(Lane::Mail), Opening::One, "one job finds out");
        one.permit(Dependency::Smtp).await.unwrap().tell(Ok(())).await;
        assert_eq!(one.opening(Lane::Mail), Opening::Open);
        let (permits, waits) = other.permits(Dependency::Smtp, 5).await;
        assert_eq!((permits.len(), waits.len()), (2, 3), "two at once, and the others are told to wait");
    }

    /// Lets `reach` say that it lives.
    fn alive(reach: &Reach) -> (CancellationToken, TaskTracker) {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(reach.clone().keep(stop.clone()));
        tasks.close();
        (stop, tasks)
    }

    #[tokio::test]
    async fn the_places_of_a_worker_are_its_own_as_long_as_it_lives_and_soon_free_when_it_died() {
        let server = Server::start().await;
        let settings =
            QueueSettings { lease_ms: 600, renew_ms: 150, ..load(&Sources::default()).unwrap().queue };
        let (one, other) = (reach(&server, &settings).await, reach(&server, &settings).await);
        let (stop, keeping) = alive(&one);
        let (calls, _) = one.permits(Dependency::Smtp, 2).await;
        let lease = ms(settings.lease_ms);
        tokio::time::sleep(2 * lease).await;
        assert_eq!(
            other.permits(Dependency::Smtp, 1).await.0.len(),
            0,
            "the calls take long, but their worker lives"
        );
        stop.cancel();
        keeping.wait().await;
        tokio::time::sleep(lease).await;
        assert_eq!(other.permits(Dependency::Smtp, 2).await.0.len(), 2, "nobody lives who holds them");
        assert_eq!(calls.len(), 2);
    }

    #[tokio::test]
    async fn a_probe_goes_on_as_long_as_its_worker_lives_and_another_follows_soon_when_it_died() {
        let server = Server::start().await;
        let settings =
            QueueSettings { lease_ms: 600, renew_ms: 150, ..load(&Sources::default()).unwrap().queue };
        let (one, other) = (reach(&server, &settings).await, reach(&server, &settings).await);
        let refused = Failure::new(Class::Unavailable(Dependency::Smtp), "not_reached", "refused");
        one.permit(Dependency::Smtp).await.unwrap().tell(Err(&refused)).await;
        let Opening::Shut(until) = one.opening(Lane::Mail) else { panic!("it is shut") };
        tokio::time::sleep_until(until).await;
        let (stop, keeping) = alive(&one);
        let probe = one.permit(Dependency::Smtp).await.unwrap();
        let lease = ms(settings.lease_ms);
        tokio::time::sleep(2 * lease).await;
        assert!(other.permit(Dependency::Smtp).await.is_err(), "one finds out, and it lives");
        stop.cancel();
        keeping.wait().await;
        tokio::time::sleep(lease).await;
        other.permit(Dependency::Smtp).await.unwrap().tell(Ok(())).await;
        assert_eq!(other.opening(Lane::Mail), Opening::Open);
        drop(probe);
    }

    #[tokio::test]
    async fn a_silent_redis_stops_no_call() {
        let mut server = Server::start().await;
        let settings = load(&Sources::default()).unwrap().queue;
        let reach = reach(&server, &settings).await;
        server.kill();
        assert_eq!(reach.permits(Dependency::Smtp, 5).await.0.len(), 5);
    }
}
