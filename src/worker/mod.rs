//! One process of the fleet: its lanes under apalis, and how it drains.
//!
//! Apalis drives one worker for each lane; its task is a claimed slice, and what becomes of each delivery is ours. A lane
//! never ends by itself because of Redis or Postgres: the backend swallows and retries its own errors.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::*;
use futures::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{LaneSettings, RetentionSettings, WorkerSettings, ms};
use crate::ids::random_hex;
use crate::job::{Dependency, Lane};
use crate::jobs::{Job, Kind, Rules, Visitor};
use crate::provider::Providers;
use crate::queue::{CallLimits, Delivery, FleetLimits, LaneWork, Opening, Outcomes, Queue, Slice};
use crate::relay::Relay;
use crate::store::Store;
use crate::telemetry::health::{self, Readiness};
use crate::terminal::complain;

mod attempt;
mod burial;
mod exemplars;
mod fate;
mod gauges;
mod kit;
mod load;
pub mod nightly;
mod pace;
mod permit;
mod phase;
mod reach;
pub mod retention;
mod settle;
mod sweeps;

use exemplars::Exemplars;
use gauges::Gauges;
use kit::Kit;
use pace::Pace;
use reach::Reach;

/// What a worker works with.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The queue.
    pub queue: Queue,
    /// The outside world.
    pub providers: Arc<Providers>,
    /// What the fleet may ask of each provider.
    pub call_limits: Vec<(Dependency, CallLimits)>,
    /// What jobs go by.
    pub rules: Arc<Rules>,
    /// How long personal data is kept.
    pub retention: RetentionSettings,
    /// The machine's name, for operators.
    pub host: String,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Health and metrics are served here.
    pub health: TcpListener,
}

/// A loop of the queue that has not turned for this long stands still: it turns every six seconds, and while Redis is silent
/// every ten at most.
const STUCK: Duration = Duration::from_secs(12);

/// After the grace: to hand back what still runs (its transactions get half of that), and for the relay's last marks. Together below the second that a
/// supervisor may grant on top of the grace.
const HAND_BACK: Duration = Duration::from_millis(500);
const LAST_MARKS: Duration = Duration::from_millis(300);

/// Ready while every loop of the queue turns.
struct Turning {
    queue: Queue,
    worker: String,
    gauges: Arc<Gauges>,
}

impl Readiness for Turning {
    fn role(&self) -> &'static str {
        "worker"
    }

    fn obstacles(&self) -> Vec<&'static str> {
        let turning = self.queue.turning(&self.worker);
        if turning.is_empty() {
            return vec!["no_lane_is_worked"];
        }
        turning.iter().filter(|(_, age)| *age > STUCK).map(|(what, _)| *what).collect()
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.gauges.refresh())
    }
}

/// Works the lanes until `stop`, then drains: takes nothing new, finishes within the grace, hands back the rest. Returns
/// whether everything was finished or handed back in time.
pub async fn run(
    parts: Parts,
    lanes: &BTreeMap<String, LaneSettings>,
    settings: &WorkerSettings,
    name: &str,
    stop: CancellationToken,
) -> bool {
    let (tasks, stop) = (TaskTracker::new(), stop.child_token());
    // The relay outlives the lanes: what they commit while they drain is still carried.
    let relaying = CancellationToken::new();
    let relay = Relay::start(&parts.store, &parts.queue, settings, &tasks, &relaying);
    let reach = Reach::new(&parts.queue, &parts.call_limits, &tasks);
    // As the relay: calls that end in the grace hold their places until then.
    tasks.spawn(reach.clone().keep(relaying.clone()));
    let kit = Kit {
        reach: reach.clone(),
        store: parts.store,
        relay,
        providers: parts.providers,
        rules: parts.rules,
        worker: Arc::from(name),
        halt: CancellationToken::new(),
        pace: Pace::default(),
        exemplars: Exemplars::default(),
        tasks: tasks.clone(),
    };
    let worked =
        |lane: &Lane| settings.lanes.is_empty() || settings.lanes.iter().any(|name| name == lane.name());
    let worked: Vec<Lane> = Lane::ALL.into_iter().filter(worked).collect();
    let target = Duration::from_secs(settings.target_wait_seconds);
    let gauges = Gauges::new(
        (&parts.queue, &kit.store),
        (&tasks, &relaying),
        &worked,
        lanes,
        target,
        &kit.rules.orders,
    );
    let ready =
        Arc::new(Turning { queue: parts.queue.clone(), worker: name.to_owned(), gauges: Arc::new(gauges) });
    tasks.spawn(health::upkeep(parts.metrics.clone(), relaying.clone()));
    let health = axum::serve(parts.health, health::router(ready, parts.metrics));
    tasks.spawn(health.with_graceful_shutdown(relaying.clone().cancelled_owned()).into_future());
    tasks.spawn(burial::keep(kit.clone(), parts.queue.clone(), relaying.clone()));
    // It ends with the lanes: an audit that is under way must not use up the grace.
    tasks.spawn(nightly::keep(kit.store.clone(), settings.audit_hour, name.to_owned(), stop.clone()));
    tasks.spawn(retention::keep(kit.store.clone(), parts.retention, stop.clone()));
    tasks.spawn(sweeps::keep(kit.clone(), stop.clone()));
    let queue = parts.queue.clone();
    tasks.spawn(relaying.clone().run_until_cancelled_owned(async move {
        queue.wedged().await;
        complain("orderfleet: a loop of the queue stands still and does not end: this process ends, for its supervisor to start another. What it held comes back by its leases; the log says which loop it was");
        std::process::exit(1);
    }));
    let (queue, asked) = (parts.queue.clone(), stop.clone());
    tasks.spawn(relaying.clone().run_until_cancelled_owned(async move {
        queue.drain_asked().await;
        tracing::info!("an operator asks this worker to drain");
        asked.cancel();
    }));
    let working = TaskTracker::new();
    for lane in worked {
        if let Some(setting) = lanes.get(lane.name()) {
            let mut work = lane_work(lane, setting, name, &parts.host, &stop);
            let reach = reach.clone();
            work.opening = Arc::new(move || reach.opening(lane));
            working.spawn(work_lane(kit.clone(), parts.queue.clone(), work));
        }
    }
    working.close();
    tracing::info!(worker = name, lanes = working.len(), "worker started");
    stop.cancelled().await;
    tracing::info!(worker = name, "draining");
    let mut drained = tokio::time::timeout(ms(settings.grace_ms), working.wait()).await.is_ok();
    if !drained {
        kit.halt.cancel();
        drained = tokio::time::timeout(HAND_BACK, working.wait()).await.is_ok();
    }
    relaying.cancel();
    tasks.close();
    // A mark that is lost costs one more push.
    let _ = tokio::time::timeout(LAST_MARKS, tasks.wait()).await;
    tracing::info!(worker = name, drained, "worker stopped");
    drained
}

/// A name that no other start of a process has.
#[must_use]
pub fn unique_name(host: &str) -> String {
    format!("{host}-{}-{}", std::process::id(), random_hex::<4>())
}

fn lane_work(
    lane: Lane,
    setting: &LaneSettings,
    worker: &str,
    host: &str,
    stop: &CancellationToken,
) -> LaneWork {
    LaneWork {
        lane,
        concurrency: setting.concurrency,
        slice: setting.slice.min(crate::store::MAX_SLICE),
        fleet: FleetLimits::from(setting),
        worker: worker.to_owned(),
        host: host.to_owned(),
        deadline_of: Arc::new(|kind| {
            Kind::named(kind).map_or(Duration::from_secs(10), |kind| kind.limits().deadline)
        }),
        knows_kind: Arc::new(|kind| Kind::named(kind).is_some()),
        reads: Arc::new(|kind, fields| Kind::named(kind).is_some_and(|kind| kind.reads(fields))),
        opening: Arc::new(|| Opening::Open),
        stop: stop.clone(),
    }
}

/// Drives one lane until it is told to stop and everything in hand has ended.
async fn work_lane(kit: Kit, queue: Queue, work: LaneWork) {
    let (lane, concurrency, stop) = (work.lane, work.concurrency, work.stop.clone());
    while !stop.is_cancelled() {
        let (backend, outcomes) = queue.lane(work.clone());
        let kit = kit.clone();
        let worker = WorkerBuilder::new(format!("{}-{lane}", kit.worker))
            .backend(backend)
            .concurrency(concurrency.max(1))
            .build(move |slice: Slice| {
                let (kit, outcomes) = (kit.clone(), outcomes.clone());
                async move { hand_over(kit, outcomes, slice).await }
            });
        let stopped = stop.clone();
        let ended = worker
            .run_until(async move {
                stopped.cancelled().await;
                Ok::<(), std::io::Error>(())
            })
            .await;
        if let Err(error) = ended {
            // Our backend has no errors, so this is apalis's own; the lane goes on with a new one.
            tracing::error!(%lane, %error, "a lane's worker ended: it is started again");
        }
    }
}

/// Works a slice, its kinds beside each other: none waits for another's provider. Its hand stays taken until every
/// delivery of it has ended.
async fn hand_over(kit: Kit, outcomes: Outcomes, mut slice: Slice) {
    let mut kinds: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
    for delivery in slice.take() {
        kinds.entry(delivery.kind.clone()).or_default().push(delivery);
    }
    let mut turns = Vec::with_capacity(kinds.len());
    for (name, deliveries) in kinds {
        match Kind::named(&name) {
            Some(kind) => {
                let turn = Turn { kit: kit.clone(), outcomes: outcomes.clone(), deliveries };
                // On tasks of their own: apalis polls all handlers of a lane on one.
                turns.push(kit.tasks.spawn(async move { Box::pin(kind.visit(turn)).await }));
            }
            None => deliveries.into_iter().for_each(|delivery| outcomes.park(delivery)),
        }
    }
    // A turn that panicked has dropped its deliveries: they come back by their leases.
    futures::future::join_all(turns).await;
}

/// A slice's deliveries of one kind.
struct Turn {
    kit: Kit,
    outcomes: Outcomes,
    deliveries: Vec<Delivery>,
}

impl Visitor for Turn {
    type Out = ();

    async fn visit<J: Job>(self) {
        attempt::work::<J>(self.kit, self.outcomes, self.deliveries).await;
    }
}
