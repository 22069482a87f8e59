//! Order intents: accepted, replayed, refused, healed; and their public states.

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::super::{Gate, Gauge, IntentPush, IntentPushed, Projection, QueueError};
use super::*;
use crate::ids::IntentId;

const LANE: Lane = Lane::Intents;

pub(super) fn intent(id: IntentId, fingerprint: u8) -> IntentPush {
    IntentPush {
        intent: id,
        job: JobId::from(id.uuid()),
        kind: "order-intent".to_owned(),
        band: Band::Normal,
        body: b"{}".to_vec(),
        traceparent: None,
        fingerprint: [fingerprint; 32],
        public: r#"{"status":"queued"}"#.to_owned(),
        gate: None,
        only_known: false,
    }
}

#[tokio::test]
async fn a_key_is_accepted_once_replayed_and_refused_for_another_request() {
    let (_server, queue) = start().await;
    let id = IntentId::new();
    let first = queue.push_intent(intent(id, 1)).await.unwrap();
    assert_eq!(first, IntentPushed::Accepted { sequence: 1, position: 1 });
    // With the number of its push: whoever asks can be told how many are before it.
    let queued = r#"{"status":"queued","sequence":1}"#.to_owned();
    let replayed = IntentPushed::Replayed { version: 0, public: queued.clone(), healed: false };
    assert_eq!(queue.push_intent(intent(id, 1)).await.unwrap(), replayed);
    assert_eq!(queue.push_intent(intent(id, 2)).await.unwrap(), IntentPushed::Mismatch);
    assert_eq!(queue.depth(LANE).await.unwrap().waiting(), 1);
    // Its copy is lost while it is still queued: the caller's repetition heals it.
    queue.drop_jobs(LANE, &[JobId::from(id.uuid())]).await.unwrap();
    let healed = IntentPushed::Replayed { version: 0, public: queued, healed: true };
    assert_eq!(queue.push_intent(intent(id, 1)).await.unwrap(), healed);
    let handed = claim(&queue, LANE, "w", 60_000, 8, "any").await;
    assert_eq!(handed.len(), 1);
    // Decided and done: nothing to heal any more.
    let reserved = r#"{"status":"reserved"}"#.to_owned();
    queue.project(&[Projection { intent: id, version: 1, public: reserved.clone() }]).await.unwrap();
    finish(&queue, LANE, &handed).await;
    let replayed = IntentPushed::Replayed { version: 1, public: reserved, healed: false };
    assert_eq!(queue.push_intent(intent(id, 1)).await.unwrap(), replayed);
    assert!(claim(&queue, LANE, "w", 60_000, 8, "any").await.is_empty());
}

#[tokio::test]
async fn only_a_newer_state_is_shown_and_it_is_told() {
    let (server, queue) = start().await;
    let (sender, mut heard) = broadcast::channel(16);
    let stop = CancellationToken::new();
    let listening = tokio_util::task::TaskTracker::new();
    let (hearing, stopped) = (queue.clone(), stop.clone());
    listening.spawn(async move { hearing.listen(sender, stopped).await });
    until("it listens", async || server.ask::<(String, i64)>(&["PUBSUB", "NUMSUB", "t:intents"]).1 == 1)
        .await;
    let (known, unknown) = (IntentId::new(), IntentId::new());
    queue.push_intent(intent(known, 1)).await.unwrap();
    let state = |intent, version, public: &str| Projection { intent, version, public: public.to_owned() };
    queue.project(&[state(known, 2, "two words"), state(unknown, 5, "five")]).await.unwrap();
    queue.project(&[state(known, 1, "one"), state(unknown, 5, "again")]).await.unwrap();
    queue.project(&[state(known, 3, "three")]).await.unwrap();
    let shown = queue.intent(known).await.unwrap().unwrap();
    assert_eq!((shown.version, shown.public.as_str(), shown.fingerprint), (3, "three", Some([1; 32])));
    let shown = queue.intent(unknown).await.unwrap().unwrap();
    assert_eq!((shown.version, shown.public.as_str(), shown.fingerprint), (5, "five", None));
    let mut told = Vec::new();
    for _ in 0..3 {
        let changed = heard.recv().await.unwrap();
        told.push((changed.intent, changed.version, changed.public));
    }
    assert_eq!(
        told,
        [(known, 2, "two words".into()), (unknown, 5, "five".into()), (known, 3, "three".into())]
    );
    let key = queue.0.keys(Partition::home(LANE)).intent(unknown);
    assert!((1..=60_000).contains(&server.ask::<i64>(&["PTTL", &key])), "every state ends");
    assert_eq!(queue.intent(IntentId::new()).await.unwrap(), None);
    stop.cancel();
    listening.close();
    listening.wait().await;
}

/// As after a burst: a hundred open in a lane that takes a second for each and is full with a hundred.
async fn crowd(queue: &Queue) -> Gate {
    for _ in 0..100 {
        queue.push_intent(intent(IntentId::new(), 1)).await.unwrap();
    }
    Gate { full: 100, busy: 0, most: 200, each: Duration::from_secs(1), longest: Duration::from_mins(5) }
}

async fn through(queue: &Queue, gate: Gate, id: IntentId) -> Option<(Duration, bool)> {
    match queue.push_intent(IntentPush { gate: Some(gate), ..intent(id, 1) }).await.unwrap() {
        IntentPushed::Accepted { .. } => None,
        IntentPushed::Later { wait, booked } => Some((wait, booked)),
        other @ (IntentPushed::Replayed { .. } | IntentPushed::Mismatch | IntentPushed::Unknown) => {
            panic!("{other:?}")
        }
    }
}

#[tokio::test]
async fn each_caller_who_is_sent_away_is_told_another_moment_and_keeps_its_place() {
    let (_server, queue) = start().await;
    let gate = crowd(&queue).await;
    let callers: Vec<_> = (0..20).map(|_| IntentId::new()).collect();
    let mut told = Vec::new();
    for caller in &callers {
        let (wait, booked) = through(&queue, gate, *caller).await.unwrap();
        assert!(booked);
        told.push(wait);
    }
    // A hundred seconds of work, and a second more for each place before.
    assert!(told[0] > Duration::from_secs(90) && told[0] < Duration::from_secs(100), "{told:?}");
    let apart = |pair: &[Duration]| pair[1].saturating_sub(pair[0]) > Duration::from_millis(500);
    assert!(told.windows(2).all(apart), "{told:?}");
    let (again, _) = through(&queue, gate, callers[7]).await.unwrap();
    assert!(again <= told[7], "whoever asks early stays where it was");
    assert_eq!(queue.gauge(LANE).await.unwrap().promised, 20);
    // Known keys never meet the gate.
    let known = IntentId::new();
    queue.push_intent(intent(known, 1)).await.unwrap();
    let replayed = queue.push_intent(IntentPush { gate: Some(gate), ..intent(known, 1) }).await.unwrap();
    assert!(matches!(replayed, IntentPushed::Replayed { .. }), "{replayed:?}");
}

#[tokio::test]
async fn a_promised_place_is_kept_while_newcomers_are_sent_away() {
    let (_server, queue) = start().await;
    let gate = Gate { each: Duration::from_millis(10), ..crowd(&queue).await };
    let promised = IntentId::new();
    let (wait, _) = through(&queue, gate, promised).await.unwrap();
    assert!(
        wait < Duration::from_millis(50),
        "a second of work, and the second that callers are late: {wait:?}"
    );
    until("its time has come", async || {
        assert!(through(&queue, gate, IntentId::new()).await.is_some(), "a newcomer took the place");
        through(&queue, gate, promised).await.is_none()
    })
    .await;
    // It was used: nobody comes in by it twice.
    let replayed = queue.push_intent(IntentPush { gate: Some(gate), ..intent(promised, 1) }).await.unwrap();
    assert!(matches!(replayed, IntentPushed::Replayed { .. }), "{replayed:?}");
}

#[tokio::test]
async fn a_fleet_that_would_be_idle_takes_newcomers_and_a_lane_that_is_full_takes_nobody() {
    let (_server, queue) = start().await;
    let gate = Gate { each: Duration::from_millis(1), ..crowd(&queue).await };
    let promised = IntentId::new();
    through(&queue, gate, promised).await.unwrap();
    assert_eq!(through(&queue, Gate { busy: 101, ..gate }, IntentId::new()).await, None);
    // One more than that came in: a hundred and one.
    assert!(through(&queue, Gate { busy: 101, ..gate }, IntentId::new()).await.is_some());
    assert!(through(&queue, Gate { most: 101, ..gate }, promised).await.is_some(), "deeper than allowed");
    // Beyond the longest wait nothing is kept, and the longest wait is what is told.
    let short = Gate { longest: Duration::from_millis(1), each: Duration::from_secs(1), ..gate };
    assert_eq!(through(&queue, short, IntentId::new()).await, Some((Duration::from_millis(1), false)));
}

#[tokio::test]
async fn a_full_redis_refuses_the_push_books_nothing_and_still_knows_its_intents() {
    let (server, queue) = start().await;
    let gate = crowd(&queue).await;
    let (known, waits) = (IntentId::new(), IntentId::new());
    queue.push_intent(intent(known, 1)).await.unwrap();
    let immediate = Gate { each: Duration::from_millis(1), ..gate };
    through(&queue, immediate, waits).await.unwrap();
    server.ask::<String>(&["CONFIG", "SET", "maxmemory", "1mb"]);
    let gauge = queue.gauge(LANE).await.unwrap();
    assert_eq!((gauge.open(), gauge.pushed, gauge.allowed_bytes), (101, 101, 1 << 20));
    assert!(gauge.used_bytes > gauge.allowed_bytes, "{gauge:?}");
    for (what, gate) in [
        ("no gate", None),
        ("a closed gate", Some(gate)),
        ("an open gate", Some(Gate { full: 1_000, ..gate })),
    ] {
        let refused = queue.push_intent(IntentPush { gate, ..intent(IntentId::new(), 1) }).await;
        assert!(matches!(refused, Err(QueueError::Full(_))), "{what}: {refused:?}");
    }
    until("its time has come", async || {
        matches!(
            queue.push_intent(IntentPush { gate: Some(immediate), ..intent(waits, 1) }).await,
            Err(QueueError::Full(_))
        )
    })
    .await;
    let replayed = queue.push_intent(intent(known, 1)).await.unwrap();
    assert!(matches!(replayed, IntentPushed::Replayed { healed: false, .. }), "{replayed:?}");
    // Nothing half done: with room again, both come in.
    server.ask::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    let after = queue.gauge(LANE).await.unwrap();
    assert_eq!(after, Gauge { used_bytes: after.used_bytes, allowed_bytes: 0, ..gauge });
    assert_eq!(through(&queue, immediate, waits).await, None);
}
