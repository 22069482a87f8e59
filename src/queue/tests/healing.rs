//! What may happen to a Redis, and to the way there: each ends calls, none ends a worker.

use std::net::SocketAddr;

use apalis::prelude::*;
use secrecy::SecretString;
use stage::proxy::Proxy;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{FleetLimits, LaneWork, Opening, Outcomes, Slice};
use super::*;
use crate::config::{RedisMode, RedisSettings};

const LANE: Lane = Lane::Shipping;

/// Handlers that finish whatever they are given; counted by Redis.
pub(super) struct Crew {
    queue: Queue,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Crew {
    pub(super) fn at_work(queue: &Queue, lanes: &[Lane]) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for lane in lanes {
            let (backend, outcomes) = queue.lane(LaneWork {
                lane: *lane,
                concurrency: 2,
                slice: 16,
                worker: "crew".to_owned(),
                host: "here".to_owned(),
                deadline_of: std::sync::Arc::new(|_| Duration::from_mins(1)),
                knows_kind: std::sync::Arc::new(|_| true),
                reads: std::sync::Arc::new(|_, _| true),
                opening: std::sync::Arc::new(|| Opening::Open),
                fleet: FleetLimits::default(),
                stop: stop.clone(),
            });
            let worker =
                WorkerBuilder::new("crew").backend(backend).data(outcomes).concurrency(2).build(finish_all);
            let stopped = stop.clone();
            tasks.spawn(async move {
                let signal = async move {
                    stopped.cancelled().await;
                    Ok::<(), std::io::Error>(())
                };
                worker.run_until(signal).await.unwrap();
            });
        }
        Self { queue: queue.clone(), stop, tasks }
    }

    /// Pushes a job to each lane as often as it takes, and waits until it is done.
    pub(super) async fn works(&self, lanes: &[Lane], what: &str) {
        let copies: Vec<Copy> = lanes.iter().map(|lane| copy(*lane, what)).collect();
        until(&format!("pushed after {what}"), async || self.queue.push(&copies).await.is_ok()).await;
        until(&format!("done after {what}"), async || {
            for copy in &copies {
                if !matches!(self.queue.knows(copy.lane, &[copy.id]).await.as_deref(), Ok([false])) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("the workers end");
        tokio::time::timeout(PATIENCE, self.queue.close()).await.expect("the queue ends");
    }
}

async fn finish_all(mut slice: Slice, outcomes: Data<Outcomes>) {
    for delivery in slice.take() {
        outcomes.finish(delivery);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_works_on_after_whatever_a_redis_does() {
    let (server, queue) = start().await;
    let crew = Crew::at_work(&queue, &[LANE]);
    crew.works(&[LANE], "the start").await;
    for fault in [
        &["CLIENT", "KILL", "TYPE", "normal"][..],
        &["SCRIPT", "FLUSH"],
        &["FLUSHALL"],
        // Longer than an answer may take.
        &["CLIENT", "PAUSE", "1500", "ALL"],
        // As a failover leaves an old master: it answers, and takes nothing.
        &["REPLICAOF", "127.0.0.1", "1"],
    ] {
        let _: Value = server.ask(fault);
        if fault[0] == "REPLICAOF" {
            let refused = queue.push(&[copy(LANE, "refused")]).await.unwrap_err();
            assert!(matches!(refused, QueueError::NotReady(_)), "{refused:?}");
            let _: () = server.ask(&["REPLICAOF", "NO", "ONE"]);
        }
        crew.works(&[LANE], &fault.join(" ")).await;
    }
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_may_only_read_is_thrown_away() {
    let (server, queue) = start().await;
    queue.push(&[copy(LANE, "before")]).await.unwrap();
    let connections = || server.ask::<String>(&["CLIENT", "LIST"]);
    let before = connections();
    let _: () = server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    queue.push(&[copy(LANE, "refused")]).await.unwrap_err();
    let _: () = server.ask(&["REPLICAOF", "NO", "ONE"]);
    queue.push(&[copy(LANE, "after")]).await.unwrap();
    let id = |list: &str| {
        let line = list.lines().find(|line| line.contains("cmd=evalsha")).unwrap_or_default().to_owned();
        line.split(' ').next().unwrap_or_default().to_owned()
    };
    assert_ne!(id(&before), id(&connections()), "behind the same name another master may answer by now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_network_forgot_is_replaced() {
    let (server, _) = start().await;
    let place: SocketAddr = super::super::place(&server.settings()).unwrap().parse().unwrap();
    let proxy = Proxy::start(place).await;
    let settings = RedisSettings {
        url: SecretString::from(format!("redis://{}", proxy.address())),
        mode: RedisMode::Single,
        ..server.settings()
    };
    let queue = Queue::connect(&settings, &super::settings(), &BTreeMap::new()).await.unwrap();
    let crew = Crew::at_work(&queue, &[LANE]);
    crew.works(&[LANE], "the start").await;
    for _ in 0..2 {
        // The blocking read and the renewals are as deaf as the commands.
        proxy.forget_all();
        let silent = queue.push(&[copy(LANE, "silent")]).await.unwrap_err();
        assert!(matches!(silent, QueueError::TimedOut), "{silent:?}");
        crew.works(&[LANE], "a black hole").await;
    }
    let (to, mut changes) = tokio::sync::broadcast::channel(8);
    let (stop, hearing) = (CancellationToken::new(), TaskTracker::new());
    hearing.spawn({
        let (queue, stop) = (queue.clone(), stop.clone());
        async move { queue.listen(to, stop).await }
    });
    let mut version = 0;
    let mut hears = async |what: &str| {
        until(what, async || {
            version += 1;
            let intent = crate::ids::IntentId::from(uuid::Uuid::from_u128(7));
            let state = super::super::Projection { intent, version, public: "{}".to_owned() };
            queue.project(&[state]).await.is_ok() && changes.try_recv().is_ok()
        })
        .await;
    };
    hears("a change").await;
    proxy.forget_all();
    hears("a change after a black hole").await;
    stop.cancel();
    hearing.close();
    hearing.wait().await;
    crew.end().await;
}
