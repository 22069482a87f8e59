//! What is sold out: news in any order, comparisons, and an open door where nothing is sure.

use super::intents::intent;
use super::start;
use crate::domain::stock::Left;
use crate::ids::IntentId;
use crate::queue::{IntentPush, IntentPushed, Queue};

fn left(sku: &str, version: i64, available: i64) -> Left {
    Left { sku: sku.to_owned(), version, available }
}

async fn sold_out(queue: &Queue) -> Vec<String> {
    let mut out = queue.sold_out().await.unwrap();
    out.sort();
    out
}

#[tokio::test]
async fn the_newest_version_stands_whatever_comes_last() {
    let (_server, queue) = start().await;
    queue.correct_left(&[]).await.unwrap();
    queue.tell_left(&[left("SUIT", 7, 0), left("SHIRT", 3, 4)]).await.unwrap();
    assert_eq!(sold_out(&queue).await, ["SUIT"]);
    assert_eq!(queue.noted_articles().await.unwrap(), ["SUIT"], "what never ran out is not kept");
    queue.tell_left(&[left("SUIT", 9, 2)]).await.unwrap();
    queue.tell_left(&[left("SUIT", 8, 0)]).await.unwrap();
    assert!(sold_out(&queue).await.is_empty());
}

#[tokio::test]
async fn what_stands_in_postgres_stands_here_even_if_it_is_older() {
    let (_server, queue) = start().await;
    queue.tell_left(&[left("SUIT", 900, 0), left("SHIRT", 5, 0)]).await.unwrap();
    assert!(sold_out(&queue).await.is_empty(), "nobody has compared yet: the door is open");
    queue.correct_left(&[left("SUIT", 4, 5), left("SHIRT", 5, 0)]).await.unwrap();
    assert_eq!(sold_out(&queue).await, ["SHIRT"]);
}

#[tokio::test]
async fn who_is_known_is_answered_and_who_is_not_is_told() {
    let (_server, queue) = start().await;
    let (known, new) = (IntentId::new(), IntentId::new());
    queue.push_intent(intent(known, 1)).await.unwrap();
    let again = queue.push_intent(IntentPush { only_known: true, ..intent(known, 1) }).await.unwrap();
    assert!(matches!(again, IntentPushed::Replayed { healed: false, .. }), "{again:?}");
    let refused = queue.push_intent(IntentPush { only_known: true, ..intent(new, 1) }).await.unwrap();
    assert_eq!(refused, IntentPushed::Unknown);
    assert!(queue.intent(new).await.unwrap().is_none(), "nothing was taken in");
}
