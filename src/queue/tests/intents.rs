//! Order intents: accepted, replayed, refused, healed; and their public states.

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::super::{IntentPush, IntentPushed, Projection};
use super::*;
use crate::ids::IntentId;

const LANE: Lane = Lane::Intents;

fn intent(id: IntentId, fingerprint: u8) -> IntentPush {
    IntentPush {
        intent: id,
        job: JobId::from(id.uuid()),
        kind: "order-intent".to_owned(),
        band: Band::Normal,
        body: b"{}".to_vec(),
        traceparent: None,
        fingerprint: [fingerprint; 32],
        public: r#"{"status":"queued"}"#.to_owned(),
    }
}

#[tokio::test]
async fn a_key_is_accepted_once_replayed_and_refused_for_another_request() {
    let (_server, queue) = start().await;
    let id = IntentId::new();
    let first = queue.push_intent(intent(id, 1)).await.unwrap();
    assert_eq!(first, IntentPushed::Accepted { sequence: 1, position: 1 });
    let queued = r#"{"status":"queued"}"#.to_owned();
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
    let key = queue.0.keys(LANE).intent(unknown);
    assert!((1..=60_000).contains(&server.ask::<i64>(&["PTTL", &key])), "every state ends");
    assert_eq!(queue.intent(IntentId::new()).await.unwrap(), None);
    stop.cancel();
    listening.close();
    listening.wait().await;
}
