//! The fleet's limits of a lane, kept by the claim.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use apalis::prelude::*;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{Change, FleetLimits, LaneWork, Opening, Outcomes, Slice};
use super::*;

const LANE: Lane = Lane::Mail;
/// Where the claim's answer says how long a limit holds it back.
const HELD: usize = 8;

/// A claim of up to 64 jobs under the settings' limits; how long it is held back, and what it got.
async fn claim_under(queue: &Queue, concurrency: u32, rate: u32) -> (i64, Vec<Handed>) {
    let args = vec![
        "w".into(),
        arg(60_000),
        arg(64),
        "any".into(),
        arg(16),
        arg(concurrency),
        arg(rate),
        arg(1),
        arg(0),
    ];
    let (head, handed) = claim_with(queue, LANE, args).await;
    (head[HELD], handed)
}

async fn push(queue: &Queue, count: usize) {
    let copies: Vec<Copy> = (0..count).map(|_| copy(LANE, "x")).collect();
    queue.push(&copies).await.unwrap();
}

#[tokio::test]
async fn no_more_is_leased_than_the_fleet_may_hold() {
    let (server, queue) = start().await;
    push(&queue, 10).await;
    let (held, first) = claim_under(&queue, 3, 0).await;
    assert_eq!((held, first.len()), (1_000, 3), "the rest waits");
    let (held, none) = claim_under(&queue, 3, 0).await;
    assert_eq!((held, none.len()), (1_000, 0));
    let wake = "{t:mail:0}:wake";
    let _: i64 = server.ask(&["DEL", wake]);
    finish(&queue, LANE, &first[..1]).await;
    assert_eq!(server.ask::<i64>(&["LLEN", wake]), 1, "whoever waits for room is told");
    assert_eq!(claim_under(&queue, 3, 0).await.1.len(), 1);
    // What waited is gone: nothing holds anybody back.
    let (_, rest) = claim_under(&queue, 0, 0).await;
    assert_eq!(rest.len(), 6);
    assert_eq!(claim_under(&queue, 3, 0).await.0, -1);
}

#[tokio::test]
async fn no_more_goes_out_than_the_rate_lets_through() {
    let (_server, queue) = start().await;
    push(&queue, 100).await;
    let began = queue.now_ms().await.unwrap();
    let (held, first) = claim_under(&queue, 0, 40).await;
    assert_eq!(first.len(), 10, "a quarter of a second at once");
    assert!((1..=50).contains(&held), "two jobs are worth a look after 50 ms: {held}");
    let mut handed = first.len();
    while handed < 40 {
        let (held, next) = claim_under(&queue, 0, 40).await;
        handed += next.len();
        if next.is_empty() {
            assert!(held > 0, "it says when to look again");
            tokio::time::sleep(Duration::from_millis(u64::try_from(held).unwrap())).await;
        }
    }
    // 30 jobs beyond the first ten, at 40 a second.
    let took = queue.now_ms().await.unwrap() - began;
    assert!(took >= 749, "too fast by Redis's own clock: {took} ms");
}

#[tokio::test]
async fn what_an_operator_sets_holds_until_it_is_cleared_or_wiped() {
    let (server, queue) = start().await;
    push(&queue, 20).await;
    queue.limit(LANE, Some(Change::To(2)), Some(Change::To(1_000))).await.unwrap();
    let set = queue.depth(LANE).await.unwrap().set;
    assert_eq!((set.concurrency, set.rate), (Some(2), Some(1_000)));
    let settings = FleetLimits { concurrency: 5, rate: 0 };
    assert_eq!(set.over(settings), FleetLimits { concurrency: 2, rate: 1_000 });
    assert_eq!(claim_under(&queue, 5, 0).await.1.len(), 2, "the operator's word counts");
    queue.limit(LANE, Some(Change::Default), None).await.unwrap();
    assert_eq!(queue.depth(LANE).await.unwrap().set.rate, Some(1_000), "the other stays");
    assert_eq!(claim_under(&queue, 5, 0).await.1.len(), 3, "the settings count again");
    queue.limit(LANE, Some(Change::To(0)), Some(Change::Default)).await.unwrap();
    assert_eq!(claim_under(&queue, 5, 1).await.1.len(), 1, "none for one, the settings for the other");
    queue.limit(LANE, Some(Change::To(1)), None).await.unwrap();
    let _: String = server.ask(&["FLUSHALL"]);
    push(&queue, 20).await;
    assert_eq!(claim_under(&queue, 5, 0).await.1.len(), 5, "a wiped Redis knows the settings alone");
}

#[tokio::test]
async fn a_suspect_goes_alone_within_the_limit_too() {
    let (_server, queue) = start().await;
    push(&queue, 3).await;
    let held = claim(&queue, LANE, "w", 1, 1, "any").await;
    sweep(&queue, LANE, &[]).await;
    let again = claim(&queue, LANE, "w", 1, 1, "any").await;
    assert_eq!(held[0].id, again[0].id);
    sweep(&queue, LANE, &[]).await;
    let others = claim_under(&queue, 1, 0).await.1;
    assert_eq!(others.len(), 1);
    let alone =
        vec!["w".into(), arg(60_000), arg(1), "alone".into(), arg(16), arg(1), arg(0), arg(1), arg(0)];
    assert!(claim_with(&queue, LANE, alone.clone()).await.1.is_empty());
    finish(&queue, LANE, &others).await;
    assert_eq!(claim_with(&queue, LANE, alone).await.1.len(), 1);
}

#[derive(Clone, Default)]
struct Gauge {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    done: Arc<Mutex<Vec<JobId>>>,
}

async fn handle(mut slice: Slice, gauge: Data<Gauge>, outcomes: Data<Outcomes>) {
    let deliveries = slice.take();
    let now = gauge.now.fetch_add(deliveries.len(), Ordering::SeqCst) + deliveries.len();
    gauge.most.fetch_max(now, Ordering::SeqCst);
    tokio::task::yield_now().await;
    gauge.now.fetch_sub(deliveries.len(), Ordering::SeqCst);
    for delivery in deliveries {
        gauge.done.lock().unwrap().push(delivery.id);
        outcomes.finish(delivery);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_keep_one_limit_and_still_finish() {
    let (_server, queue) = start().await;
    push(&queue, 300).await;
    let (gauge, stop, tasks) = (Gauge::default(), CancellationToken::new(), TaskTracker::new());
    for name in ["one", "two"] {
        let (backend, outcomes) = queue.lane(LaneWork {
            lane: LANE,
            concurrency: 3,
            slice: 16,
            fleet: FleetLimits { concurrency: 4, rate: 0 },
            worker: name.to_owned(),
            host: "here".to_owned(),
            deadline_of: Arc::new(|_| Duration::from_mins(1)),
            knows_kind: Arc::new(|_| true),
            reads: Arc::new(|_, _| true),
            opening: Arc::new(|| Opening::Open),
            stop: stop.clone(),
        });
        let worker = WorkerBuilder::new(name)
            .backend(backend)
            .data(gauge.clone())
            .data(outcomes)
            .concurrency(3)
            .build(handle);
        let stopped = stop.clone();
        tasks.spawn(async move {
            let signal = async move {
                stopped.cancelled().await;
                Ok::<(), std::io::Error>(())
            };
            worker.run_until(signal).await.unwrap();
        });
    }
    until("all are done", async || queue.depth(LANE).await.unwrap().done == 300).await;
    assert!(gauge.most.load(Ordering::SeqCst) <= 4, "over the limit");
    assert_eq!(gauge.done.lock().unwrap().len(), 300);
    stop.cancel();
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.expect("the workers end");
    queue.close().await;
}
