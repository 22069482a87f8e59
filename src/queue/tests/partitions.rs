//! A lane in several partitions, and a number of them that changes while the fleet runs.

use apalis::prelude::*;
use tokio_util::sync::CancellationToken;

use super::super::{Change, IntentPushed, LaneWork, Place, Projection};
use super::healing::Crew;
use super::intents::intent;
use super::working::work;
use super::*;
use crate::ids::IntentId;

const LANE: Lane = Lane::Mail;

fn numbers(queue: &Queue, lane: Lane) -> Vec<usize> {
    queue.0.partitions.in_use(lane).map(|partition| partition.number).collect()
}

/// A job, or an intent, that this many partitions have in the one of this number.
fn id_in(partitions: usize, number: usize) -> uuid::Uuid {
    let by_its_end = |id: &uuid::Uuid| u32::from_be_bytes(id.as_bytes()[12..].try_into().unwrap());
    let in_it = |id: &uuid::Uuid| usize::try_from(by_its_end(id)).unwrap() % partitions == number;
    std::iter::repeat_with(|| JobId::new().uuid()).find(in_it).unwrap()
}

#[tokio::test]
async fn a_lane_is_the_sum_of_its_partitions() {
    let server = Server::start().await;
    let queue = split(&server, LANE, 3).await;
    let mut copies: Vec<Copy> = (0..60).map(|_| copy(LANE, "x")).collect();
    copies.extend((0..30).map(|_| Copy { delay: Duration::from_mins(1), ..copy(LANE, "later") }));
    queue.push(&copies).await.unwrap();
    let mut handed = Vec::new();
    for number in 0..3 {
        let here = claim(&queue, Partition { lane: LANE, number }, "w", 60_000, 5, "any").await;
        assert_eq!(here.len(), 5, "every partition has its share");
        handed.extend(here);
    }
    let depth = queue.depth(LANE).await.unwrap();
    assert_eq!((depth.waiting(), depth.leased, depth.delayed, depth.pushed), (45, 15, 30, 90));
    let gauge = queue.gauge(LANE).await.unwrap();
    assert_eq!((gauge.waiting, gauge.leased, gauge.pushed), (45, 15, 90));
    let ids: Vec<JobId> = copies.iter().map(|copy| copy.id).collect();
    assert!(queue.knows(LANE, &ids).await.unwrap().into_iter().all(|known| known));
    for job in &handed {
        let id = JobId::from(uuid::Uuid::from_slice(&job.id).unwrap());
        let standing = queue.locate(LANE, id).await.unwrap().unwrap();
        assert!(matches!(standing.place, Place::Leased(..)), "{standing:?}");
    }
    assert_eq!(queue.drop_jobs(LANE, &ids).await.unwrap(), 90);
    assert_eq!(left(&server).len(), 3, "the dropped jobs' places in three lists");
}

#[tokio::test]
async fn a_ruling_holds_in_every_partition_and_in_those_that_come() {
    let server = Server::start().await;
    let queue = split(&server, LANE, 2).await;
    queue.pause(LANE).await.unwrap();
    queue.limit(LANE, Some(Change::To(4)), Some(Change::To(40))).await.unwrap();
    let newer = split(&server, LANE, 3).await;
    for number in 0..3 {
        let id = JobId::from(id_in(3, number));
        newer.push(&[Copy { id, ..copy(LANE, "x") }]).await.unwrap();
        let at = Partition { lane: LANE, number };
        assert!(claim(&newer, at, "w", 60_000, 9, "any").await.is_empty(), "paused");
    }
    newer.resume(LANE).await.unwrap();
    newer.limit(LANE, None, Some(Change::Default)).await.unwrap();
    for number in 0..3 {
        let key = newer.0.keys(Partition { lane: LANE, number }).meter();
        let ruled: Vec<Option<String>> =
            server.ask(&["HMGET", &key, "paused", "most_leased", "most_a_second"]);
        assert_eq!(ruled, [None, Some("4".to_owned()), None]);
    }
    assert_eq!(newer.depth(LANE).await.unwrap().set.concurrency, Some(4));
}

#[tokio::test]
async fn partitions_share_the_limits_of_their_lane() {
    let server = Server::start().await;
    let queue = split(&server, LANE, 3).await;
    queue.push(&(0..90).map(|_| copy(LANE, "x")).collect::<Vec<_>>()).await.unwrap();
    let claim_under = async |concurrency: u32, rate: u32| {
        let mut handed = Vec::new();
        for number in 0..3 {
            let mut args = vec!["w".into(), arg(60_000), arg(64), "any".into(), arg(16)];
            args.extend([arg(concurrency), arg(rate), arg(3), arg(number)]);
            let at = Partition { lane: LANE, number };
            handed.push(claim_with(&queue, at, args).await.1.len());
        }
        handed
    };
    assert_eq!(claim_under(5, 0).await, [2, 2, 1]);
    assert_eq!(claim_under(5, 0).await, [0, 0, 0]);
    assert_eq!(claim_under(0, 48).await, [4, 4, 4], "a quarter of a second's jobs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_share_the_hands_of_their_lane_and_a_drain_empties_all() {
    let server = Server::start().await;
    let queue = split(&server, LANE, 3).await;
    let copies: Vec<Copy> = (0..300).map(|_| copy(LANE, "x")).collect();
    queue.push(&copies).await.unwrap();
    // Nobody polls this backend: what it claims is never started.
    let work = LaneWork { lane: LANE, ..work("draining", &CancellationToken::new()) };
    let stop = work.stop.clone();
    let (mut backend, _outcomes) = queue.lane(work);
    until("three hands are full", async || queue.depth(LANE).await.unwrap().leased >= 48).await;
    assert_eq!(queue.depth(LANE).await.unwrap().leased, 48, "no hand is filled twice");
    stop.cancel();
    let context = WorkerContext::new("draining");
    std::future::poll_fn(|cx| backend.poll_close(cx, &context)).await.unwrap();
    let depth = queue.depth(LANE).await.unwrap();
    assert_eq!((depth.leased, depth.waiting(), depth.suspects), (0, 300, 0));
    queue.close().await;
}

/// The processes of a rolling change: one by the old number, one by the new, and again one by the old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_serve_whatever_number_was_ever_in_use() {
    let server = Server::start().await;
    let old = split(&server, LANE, 1).await;
    let crew = Crew::at_work(&old, &[LANE]);
    crew.works(&[LANE], "the start").await;
    assert_eq!(numbers(&old, LANE), [0]);
    // Somebody who pushes by a larger number: the old workers hear of it with their heartbeat.
    let newer = split(&server, LANE, 3).await;
    let copies: Vec<Copy> = (0..60).map(|_| copy(LANE, "x")).collect();
    newer.push(&copies).await.unwrap();
    until("old workers do what a newer process pushed", async || newer.depth(LANE).await.unwrap().done == 61)
        .await;
    assert_eq!(numbers(&old, LANE), [0, 1, 2]);
    assert_eq!(old.turning("crew").iter().filter(|(what, _)| *what == "mail").count(), 1);
    crew.end().await;
    // Back to one: what is left in the others is worked all the same.
    let later =
        Copy { id: JobId::from(id_in(3, 2)), delay: Duration::from_millis(300), ..copy(LANE, "later") };
    newer.push(std::slice::from_ref(&later)).await.unwrap();
    let back = split(&server, LANE, 1).await;
    assert_eq!(numbers(&back, LANE), [0, 1, 2]);
    assert_eq!(back.knows(LANE, &[later.id]).await.unwrap(), [true]);
    let crew = Crew::at_work(&back, &[LANE]);
    until("it is done", async || back.depth(LANE).await.unwrap().done == 62).await;
    crew.works(&[LANE], "the change back").await;
    crew.end().await;
    assert_eq!(left(&server), Vec::<String>::new());
}

#[tokio::test]
async fn an_intent_is_known_under_every_number_and_accepted_once() {
    const LANE: Lane = Lane::Intents;
    let server = Server::start().await;
    let old = split(&server, LANE, 1).await;
    let id = IntentId::from(id_in(3, 2));
    assert!(matches!(old.push_intent(intent(id, 1)).await.unwrap(), IntentPushed::Accepted { .. }));
    let newer = split(&server, LANE, 3).await;
    let public = r#"{"status":"queued","sequence":1}"#.to_owned();
    let queued = IntentPushed::Replayed { version: 0, public, healed: false };
    assert_eq!(newer.push_intent(intent(id, 1)).await.unwrap(), queued);
    assert_eq!(newer.push_intent(intent(id, 2)).await.unwrap(), IntentPushed::Mismatch);
    // Projected by a process that goes by the new number, and read by both.
    let reserved = r#"{"status":"reserved"}"#.to_owned();
    newer.project(&[Projection { intent: id, version: 1, public: reserved.clone() }]).await.unwrap();
    old.hear_of_partitions().await.unwrap();
    for door in [&newer, &old] {
        assert_eq!(door.intent(id).await.unwrap().unwrap().public, reserved);
        let known = IntentPushed::Replayed { version: 1, public: reserved.clone(), healed: false };
        assert_eq!(door.push_intent(intent(id, 1)).await.unwrap(), known);
        assert_eq!(door.push_intent(intent(id, 2)).await.unwrap(), IntentPushed::Mismatch);
    }
    // The other way round: taken in by the new number, repeated at an old door.
    let next = IntentId::from(id_in(3, 1));
    let accepted = newer.push_intent(intent(next, 1)).await.unwrap();
    assert!(matches!(accepted, IntentPushed::Accepted { .. }), "{accepted:?}");
    assert!(matches!(old.push_intent(intent(next, 1)).await.unwrap(), IntentPushed::Replayed { .. }));
    assert_eq!(newer.depth(LANE).await.unwrap().pushed, 2, "each once");
    let copies = claim(&newer, LANE, "w", 60_000, 8, "any").await.len()
        + claim(&newer, Partition { lane: LANE, number: 1 }, "w", 60_000, 8, "any").await.len();
    assert_eq!(copies, 2);
}

#[tokio::test]
async fn a_number_counts_for_as_long_as_keys_are_kept() {
    let server = Server::start().await;
    let queue = split(&server, Lane::Intents, 3).await;
    let id = id_in(3, 2);
    let places = |queue: &Queue| queue.0.partitions.places(Lane::Intents, id).len();
    assert_eq!(places(&queue), 2, "before it was split it had one");
    let kept_ms = i64::try_from(settings().idempotency_ttl_seconds * 1_000).unwrap();
    let seen: i64 = server.ask(&["HGET", "{t:workers}:parts", "intents:1"]);
    let _: i64 = server.ask(&["HSET", "{t:workers}:parts", "intents:1", &(seen - kept_ms).to_string()]);
    queue.hear_of_partitions().await.unwrap();
    assert_eq!(places(&queue), 1, "nothing of then is kept");
    assert_eq!(places(&split(&server, Lane::Intents, 1).await), 2, "it is in use again");
}

#[tokio::test]
async fn a_lane_has_its_epoch_when_every_partition_has() {
    let server = Server::start().await;
    let queue = split(&server, LANE, 3).await;
    assert_eq!(queue.epoch(LANE).await.unwrap(), None);
    let epoch = queue.ensure_epoch(LANE).await.unwrap();
    queue.pause(LANE).await.unwrap();
    let lost = queue.0.keys(Partition { lane: LANE, number: 1 }).meter();
    let _: i64 = server.ask(&["DEL", &lost]);
    assert_eq!(queue.epoch(LANE).await.unwrap(), None);
    let again = queue.ensure_epoch(LANE).await.unwrap();
    let same = epoch.split('.').zip(again.split('.')).map(|(one, other)| one == other);
    assert_eq!(same.collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(server.ask::<i64>(&["HEXISTS", &lost, "paused"]), 1, "what was ruled came back with it");
}
