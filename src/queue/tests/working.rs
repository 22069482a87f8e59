//! The lanes at work, under apalis.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use apalis::prelude::*;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{FleetLimits, LaneWork, Opening, Outcomes, Slice};
use super::*;

const LANE: Lane = Lane::Shipping;

pub(super) fn work(worker: &str, stop: &CancellationToken) -> LaneWork {
    LaneWork {
        lane: LANE,
        concurrency: 3,
        slice: 16,
        fleet: FleetLimits::default(),
        worker: worker.to_owned(),
        host: "here".to_owned(),
        deadline_of: Arc::new(|_| Duration::from_mins(1)),
        knows_kind: Arc::new(|kind| kind == "email"),
        reads: Arc::new(|kind, _| kind == "email"),
        opening: Arc::new(|| Opening::Open),
        stop: stop.clone(),
    }
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<HashMap<JobId, u32>>>);

impl Seen {
    fn add(&self, id: JobId) {
        *self.0.lock().unwrap().entry(id).or_default() += 1;
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

async fn handle(mut slice: Slice, seen: Data<Seen>, outcomes: Data<Outcomes>) {
    for delivery in slice.take() {
        assert!(!delivery.lease.is_lost());
        seen.add(delivery.id);
        outcomes.finish(delivery);
    }
}

fn run(queue: &Queue, worker: &str, seen: &Seen, stop: &CancellationToken, tasks: &TaskTracker) {
    run_lane(queue, work(worker, stop), seen, tasks);
}

fn run_lane(queue: &Queue, work: LaneWork, seen: &Seen, tasks: &TaskTracker) {
    let (worker, stopped) = (work.worker.clone(), work.stop.clone());
    let (backend, outcomes) = queue.lane(work);
    let worker = WorkerBuilder::new(&*worker)
        .backend(backend)
        .data(seen.clone())
        .data(outcomes)
        .concurrency(3)
        .build(handle);
    tasks.spawn(async move {
        let signal = async move {
            stopped.cancelled().await;
            Ok::<(), std::io::Error>(())
        };
        worker.run_until(signal).await.unwrap();
    });
}

async fn end(queue: &Queue, stop: &CancellationToken, tasks: &TaskTracker) {
    stop.cancel();
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.expect("the workers end");
    tokio::time::timeout(PATIENCE, queue.close()).await.expect("the queue ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_do_two_thousand_jobs_and_leave_nothing() {
    let (server, queue) = start().await;
    let (seen, stop, tasks) = (Seen::default(), CancellationToken::new(), TaskTracker::new());
    run(&queue, "one", &seen, &stop, &tasks);
    run(&queue, "two", &seen, &stop, &tasks);
    let copies: Vec<Copy> = (0..2_000)
        .map(|n| Copy {
            delay: Duration::from_millis(if n % 10 == 0 { 150 } else { 0 }),
            band: Band::numbered(u8::try_from(n % 4).unwrap()).unwrap(),
            ..copy(LANE, "x")
        })
        .collect();
    for copies in copies.chunks(100) {
        queue.push(copies).await.unwrap();
    }
    until("all are handled", async || seen.len() == 2_000).await;
    until("all are done", async || queue.depth(LANE).await.unwrap().done == 2_000).await;
    assert_eq!(queue.workers().await.unwrap().len(), 2);
    assert_eq!(
        queue.turning("one").iter().map(|(what, _)| *what).collect::<Vec<_>>(),
        ["shipping", "wake-ups", "heartbeat"]
    );
    end(&queue, &stop, &tasks).await;
    assert!(seen.0.lock().unwrap().values().all(|times| *times == 1), "handled twice");
    assert_eq!(left(&server), Vec::<String>::new());
    assert!(queue.workers().await.unwrap().is_empty());
}

/// Nothing looks by itself here for longer than the test waits: only the token can tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_hears_a_push_at_once() {
    const SOONER_THAN_ANY_LOOK: Duration = Duration::from_secs(4);
    let server = Server::start().await;
    let deaf_to_time = QueueSettings { block_ms: 60_000, ..settings() };
    let queue = Queue::connect(&server.settings(), &deaf_to_time, &BTreeMap::new()).await.unwrap();
    let (seen, stop, tasks) = (Seen::default(), CancellationToken::new(), TaskTracker::new());
    run(&queue, "idle", &seen, &stop, &tasks);
    run_lane(&queue, LaneWork { lane: Lane::Mail, ..work("idle", &stop) }, &seen, &tasks);
    for count in 1..=20 {
        until("it listens", async || {
            server.ask::<String>(&["INFO", "clients"]).contains("blocked_clients:1")
        })
        .await;
        queue.push(&[copy(if count % 3 == 0 { Lane::Mail } else { LANE }, "x")]).await.unwrap();
        let heard = until("it is handled", async || seen.len() == count);
        tokio::time::timeout(SOONER_THAN_ANY_LOOK, heard).await.expect("heard");
    }
    end(&queue, &stop, &tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_hands_back_what_was_not_started() {
    let (_server, queue) = start().await;
    let stop = CancellationToken::new();
    // Nobody polls this backend: what it claims is never started.
    let (mut backend, _outcomes) = queue.lane(work("draining", &stop));
    let copies: Vec<Copy> = (0..100).map(|_| copy(LANE, "x")).collect();
    queue.push(&copies).await.unwrap();
    until("three hands are full", async || queue.depth(LANE).await.unwrap().leased == 48).await;
    stop.cancel();
    let context = WorkerContext::new("draining");
    std::future::poll_fn(|cx| backend.poll_close(cx, &context)).await.unwrap();
    let depth = queue.depth(LANE).await.unwrap();
    assert_eq!((depth.leased, depth.waiting(), depth.suspects), (0, 100, 0));
    let handed = claim(&queue, LANE, "next", 60_000, 100, "any").await;
    assert!(handed.iter().all(|job| job.deliveries == 1), "a drain spends nothing");
    let first = copies[0].id.uuid().as_bytes().to_vec();
    assert_eq!(handed[0].id, first, "and keeps the order");
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_jobs_come_back_as_suspects() {
    let (server, queue) = start().await;
    queue.push(&(0..30).map(|_| copy(LANE, "x")).collect::<Vec<_>>()).await.unwrap();
    let settings_of_redis = server.settings();
    let (held, dead) = (
        Arc::new(AtomicUsize::new(0)),
        std::thread::spawn({
            let redis = settings_of_redis.clone();
            move || {
                // A process of its own, as far as Redis can see; dropped without a goodbye.
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let queue = Queue::connect(&redis, &settings(), &BTreeMap::new()).await.unwrap();
                    let (backend, outcomes) = queue.lane(work("killed", &CancellationToken::new()));
                    until("it holds them", async || queue.depth(LANE).await.unwrap().leased == 30).await;
                    tokio::time::sleep(Duration::from_millis(LEASE_MS * 2)).await;
                    let renewed = queue.depth(LANE).await.unwrap().leased;
                    std::mem::forget((backend, outcomes));
                    renewed
                })
            }
        }),
    );
    let renewed = tokio::task::spawn_blocking(|| dead.join().unwrap()).await.unwrap();
    assert_eq!(renewed, 30, "leases are renewed while their worker lives");
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (backend, outcomes) = queue.lane(work("heir", &stop));
    let count = Arc::clone(&held);
    let worker = WorkerBuilder::new("heir").backend(backend).concurrency(3).build(move |mut slice: Slice| {
        let (count, outcomes) = (Arc::clone(&count), outcomes.clone());
        async move {
            let deliveries = slice.take();
            assert!(deliveries.len() <= 16, "suspects come in small slices");
            for delivery in deliveries {
                assert_eq!((delivery.deliveries, delivery.strikes), (2, 0));
                count.fetch_add(1, Ordering::Relaxed);
                outcomes.finish(delivery);
            }
        }
    });
    tasks.spawn(async move { worker.run().await });
    until("all came back", async || held.load(Ordering::Relaxed) == 30).await;
    until("all are done", async || left(&server).is_empty()).await;
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_suspected_twice_is_worked_alone() {
    let (server, queue) = start().await;
    let suspects: Vec<Copy> = (0..6).map(|_| copy(LANE, "suspect")).collect();
    queue.push(&suspects).await.unwrap();
    for _ in 0..2 {
        assert_eq!(claim(&queue, LANE, "slow", 20, 16, "any").await.len(), 6);
        until("all leases ended", async || {
            let _: (u64, u64, i64) = queue
                .0
                .call(Partition::home(LANE), &scripts::SWEEP, vec![arg(99), arg(3), arg(0), b"slow".to_vec()])
                .await
                .unwrap();
            queue.depth(LANE).await.unwrap().leased == 0
        })
        .await;
    }
    queue.push(&(0..60).map(|_| copy(LANE, "usual")).collect::<Vec<_>>()).await.unwrap();
    let (stop, tasks, lone) = (CancellationToken::new(), TaskTracker::new(), Arc::new(AtomicUsize::new(0)));
    let (running, counted) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&lone));
    let (backend, outcomes) = queue.lane(LaneWork { slice: 4, ..work("careful", &stop) });
    let worker =
        WorkerBuilder::new("careful").backend(backend).concurrency(3).build(move |mut slice: Slice| {
            let (running, lone, outcomes) = (Arc::clone(&running), Arc::clone(&counted), outcomes.clone());
            async move {
                let before = running.fetch_add(1, Ordering::SeqCst);
                // Lets the other hands be filled, if they may.
                tokio::time::sleep(Duration::from_millis(5)).await;
                let deliveries = slice.take();
                if deliveries.iter().any(|delivery| delivery.body == b"suspect") {
                    assert_eq!(
                        (deliveries.len(), before, running.load(Ordering::SeqCst)),
                        (1, 0, 1),
                        "not alone"
                    );
                    lone.fetch_add(1, Ordering::SeqCst);
                }
                for delivery in deliveries {
                    outcomes.finish(delivery);
                }
                running.fetch_sub(1, Ordering::SeqCst);
            }
        });
    let stopped = stop.clone();
    tasks.spawn(async move {
        let signal = async move {
            stopped.cancelled().await;
            Ok::<(), std::io::Error>(())
        };
        worker.run_until(signal).await.unwrap();
    });
    until("all are done", async || left(&server).is_empty()).await;
    assert_eq!(lone.load(Ordering::SeqCst), 6);
    end(&queue, &stop, &tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_outlives_redis() {
    let (mut server, queue) = start().await;
    let (seen, stop, tasks) = (Seen::default(), CancellationToken::new(), TaskTracker::new());
    run(&queue, "lasting", &seen, &stop, &tasks);
    queue.push(&(0..50).map(|_| copy(LANE, "x")).collect::<Vec<_>>()).await.unwrap();
    until("the first are handled", async || seen.len() == 50).await;
    server.kill();
    assert!(queue.push(&[copy(LANE, "lost")]).await.is_err());
    server.run(&[]).await;
    let more: Vec<Copy> = (0..50).map(|_| copy(LANE, "y")).collect();
    until("it takes jobs again", async || queue.push(&more).await.is_ok()).await;
    until("the rest is handled", async || seen.len() == 100).await;
    until("all are done", async || left(&server).is_empty()).await;
    // Wiped: the next jobs are worked all the same.
    let _: () = server.ask(&["FLUSHALL"]);
    queue.push(&[copy(LANE, "z")]).await.unwrap();
    until("the last is handled", async || seen.len() == 101).await;
    end(&queue, &stop, &tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_does_not_know_waits_and_what_nobody_can_read_is_buried() {
    let (_server, queue) = start().await;
    let (seen, stop, tasks) = (Seen::default(), CancellationToken::new(), TaskTracker::new());
    let unknown = Copy { kind: "of-tomorrow".to_owned(), ..copy(LANE, "x") };
    queue.push(std::slice::from_ref(&unknown)).await.unwrap();
    let broken = JobId::new();
    let args = vec![arg(1), broken.uuid().as_bytes().to_vec(), b"2rub".to_vec()];
    each(&queue, LANE, &scripts::PUSH, args).await;
    run(&queue, "old", &seen, &stop, &tasks);
    until("one is parked, one buried", async || {
        let depth = queue.depth(LANE).await.unwrap();
        (depth.parked, depth.dead, depth.leased) == (1, 1, 0)
    })
    .await;
    assert_eq!(queue.buried(LANE, 5).await.unwrap()[0].id, broken);
    assert_eq!(seen.len(), 0);
    let (mut newer, stop_newer) = (work("new", &stop), CancellationToken::new());
    newer.knows_kind = Arc::new(|_| true);
    newer.reads = Arc::new(|_, _| true);
    newer.stop = stop_newer;
    stop.cancel();
    let (_backend, _outcomes) = queue.lane(newer);
    until("it is taken back", async || {
        let depth = queue.depth(LANE).await.unwrap();
        (depth.parked, depth.leased) == (0, 1)
    })
    .await;
    end(&queue, &stop, &tasks).await;
}
