//! Where a job stands, and what a worker says of itself.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::super::{FleetLimits, LaneWork, Opening, Place};
use super::*;

const LANE: Lane = Lane::Mail;

async fn place(queue: &Queue, id: JobId) -> Option<Place> {
    queue.locate(LANE, id).await.unwrap().map(|standing| standing.place)
}

#[tokio::test]
async fn a_job_is_found_wherever_it_stands() {
    let (_server, queue) = start().await;
    let copies: Vec<Copy> = (0..3).map(|_| copy(LANE, "x")).collect();
    let later = Copy { delay: Duration::from_mins(1), ..copy(LANE, "x") };
    queue.push(&copies).await.unwrap();
    queue.push(std::slice::from_ref(&later)).await.unwrap();
    let [first, second, third] = [copies[0].id, copies[1].id, copies[2].id];
    assert_eq!(place(&queue, JobId::new()).await, None);
    assert_eq!(place(&queue, second).await, Some(Place::Waiting(Band::Normal, 1)));
    assert!(
        matches!(place(&queue, later.id).await, Some(Place::Delayed(due)) if due > Duration::from_secs(50))
    );
    let handed = claim(&queue, LANE, "here-1", 60_000, 1, "any").await;
    assert!(matches!(place(&queue, first).await, Some(Place::Leased(worker, _)) if worker == "here-1"));
    assert_eq!(each(&queue, LANE, &scripts::PARK, handed[0].pair()).await, [1]);
    assert!(matches!(place(&queue, first).await, Some(Place::Parked(_))));
    claim(&queue, LANE, "here-1", 1, 1, "any").await;
    sweep(&queue, LANE, &[]).await;
    assert_eq!(place(&queue, second).await, Some(Place::Suspect(0)));
    claim(&queue, LANE, "here-1", 1, 1, "any").await;
    sweep(&queue, LANE, &[]).await;
    assert_eq!(place(&queue, second).await, Some(Place::Alone(0)));
    let handed = claim(&queue, LANE, "here-1", 60_000, 1, "any").await;
    let bury = vec![handed[0].id.clone(), handed[0].token.clone(), b"unreadable".to_vec()];
    assert_eq!(each(&queue, LANE, &scripts::BURY, bury).await, [1]);
    assert_eq!(place(&queue, third).await, Some(Place::Buried("unreadable".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_says_what_it_does_and_hears_that_it_is_to_drain() {
    let (_server, queue) = start().await;
    let stop = CancellationToken::new();
    let (_backend, _outcomes) = queue.lane(LaneWork {
        lane: LANE,
        concurrency: 3,
        slice: 16,
        fleet: FleetLimits::default(),
        worker: "one".to_owned(),
        host: "here".to_owned(),
        deadline_of: Arc::new(|_| Duration::from_mins(1)),
        knows_kind: Arc::new(|_| true),
        reads: Arc::new(|_, _| true),
        opening: Arc::new(|| Opening::Open),
        stop: stop.clone(),
    });
    until("it says what it does", async || {
        let workers = queue.workers().await.unwrap();
        let card = workers.first().and_then(|worker| worker.card.clone());
        card.is_some_and(|card| card.lanes == ["mail"] && card.slots == 3 && card.host == "here")
    })
    .await;
    queue.ask_to_drain("two").await.unwrap();
    queue.ask_to_drain("one").await.unwrap();
    tokio::time::timeout(PATIENCE, queue.drain_asked()).await.expect("it hears");
    stop.cancel();
    queue.close().await;
}
