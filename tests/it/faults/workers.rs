//! Workers that are killed, stopped for a while, and told to end, each in the middle of its work.

use std::time::Duration;

use serde_json::json;

use stage::fleet::{Fleet, Setup};
use stage::process::until;

/// Between two deaths. Shorter than a lease: what a worker had in its hands is still held when its successor dies.
const DEATH_EVERY: Duration = Duration::from_secs(2);
/// What the carrier takes for a label here, so that a worker has some in its hands at any moment.
const SLOW_CARRIER_MS: u64 = 300;
/// And where a worker is to be caught in a call that its grace is too short for.
const VERY_SLOW_CARRIER_MS: u64 = 1_500;
/// Leased jobs of the lane of labels.
const HELD: [&str; 2] = ["ZCARD", "{of:shipping:0}:l"];

#[tokio::test]
async fn a_worker_killed_every_two_seconds_loses_and_repeats_nothing() {
    const ORDERS: u64 = 200;
    let mut fleet = Fleet::start().await;
    let mut worker = fleet.working(&[]).await;
    let mut demo = fleet.demo(ORDERS);
    let mut deaths = 0;
    while !demo.has_ended() {
        tokio::time::sleep(DEATH_EVERY).await;
        worker.kill();
        deaths += 1;
        // Until it works: on a busy machine a process may need longer than it would live.
        worker = fleet.working(&[]).await;
    }
    let figures = fleet.figures(demo).await;
    eprintln!("{deaths} deaths; attempts spent: {}", fleet.attempts().await);
    figures.must_be_whole(ORDERS, "kill -9 every two seconds");
    fleet.end().await;
}

#[tokio::test]
async fn a_worker_that_sleeps_through_its_leases_does_nothing_twice_when_it_wakes() {
    const ORDERS: u64 = 60;
    let mut fleet = Fleet::start().await;
    fleet
        .break_outside(json!([{ "at": "easypost.buy", "what": { "delay": { "ms": SLOW_CARRIER_MS } } }]))
        .await;
    let mut sleeper = fleet.working(&[]).await;
    let demo = fleet.demo(ORDERS);
    // It is the only worker: what is held while it sleeps is in its hands.
    let held = until("a worker with labels in its hands", async || {
        sleeper.signal("STOP");
        if let redis::Value::Int(held @ 1..) = fleet.redis(&HELD).await {
            return Some(held);
        }
        sleeper.signal("CONT");
        None
    })
    .await;
    let mut other = fleet.working(&[]).await;
    other.says("leases had ended").await;
    sleeper.signal("CONT");
    let figures = fleet.figures(demo).await;
    let overtaken = sleeper.log().matches("overtaken").count();
    eprintln!("{held} labels were held asleep, {overtaken} calls came back to a job that was another's");
    figures.must_be_whole(ORDERS, "a stopped worker");
    for worker in [&mut sleeper, &mut other] {
        worker.signal("TERM");
        assert!(worker.ended().await.success());
    }
    fleet.end().await;
}

#[tokio::test]
async fn a_worker_told_to_end_under_load_ends_well_and_spends_nothing() {
    const ORDERS: u64 = 60;
    let mut fleet = Fleet::start().await;
    let mut first = fleet.working(&[]).await;
    let demo = fleet.demo(ORDERS);
    fleet.paid(10).await;
    first.signal("TERM");
    let status = first.ended().await;
    assert!(status.success(), "{status}");
    assert!(first.log().contains("\"drained\":true"), "the grace was enough");
    let paid = fleet.count("select count(*) from jobs").await;
    let _second = fleet.working(&[]).await;
    let figures = fleet.figures(demo).await;
    eprintln!("{paid} jobs were open when the first worker had ended");
    figures.must_be_whole(ORDERS, "SIGTERM under load");
    assert_eq!(fleet.attempts().await, "none", "a drain spends no attempt");
    fleet.end().await;
}

#[tokio::test]
async fn a_worker_whose_grace_is_over_hands_back_what_runs() {
    const ORDERS: u64 = 40;
    let mut fleet = Fleet::set_up(Setup::default().set("worker.grace_ms", 300)).await;
    fleet
        .break_outside(json!([{ "at": "easypost.buy", "what": { "delay": { "ms": VERY_SLOW_CARRIER_MS } } }]))
        .await;
    let mut first = fleet.working(&[]).await;
    let demo = fleet.demo(ORDERS);
    until("labels in hand", async || {
        matches!(fleet.redis(&HELD).await, redis::Value::Int(held) if held > 0).then_some(())
    })
    .await;
    first.signal("TERM");
    let status = first.ended().await;
    assert!(status.success(), "{status}");
    assert!(first.log().contains("handed back while they ran"), "some did not end within the grace");
    assert_eq!(fleet.redis(&HELD).await, redis::Value::Int(0), "nothing waits for a lease to end");
    let _second = fleet.working(&[]).await;
    let figures = fleet.figures(demo).await;
    figures.must_be_whole(ORDERS, "a grace that was too short");
    // The carrier goes on with what was cut off: whoever asks again meanwhile is told that the postage is there.
    let spent = fleet.attempts().await;
    assert!(spent == "none" || spent.starts_with("postage_exists: "), "a drain spends no attempt: {spent}");
    fleet.end().await;
}

#[tokio::test]
async fn a_worker_without_postgres_hands_back_what_it_can_not_settle() {
    let mut fleet = Fleet::set_up(Setup::default().set("worker.grace_ms", 300)).await;
    fleet
        .break_outside(json!([{ "at": "easypost.buy", "what": { "delay": { "ms": VERY_SLOW_CARRIER_MS } } }]))
        .await;
    let mut first = fleet.working(&[]).await;
    let demo = fleet.demo(1);
    until("a label in hand", async || (fleet.redis(&HELD).await == redis::Value::Int(1)).then_some(())).await;
    fleet.servers.kill_postgres().await.unwrap();
    // The carrier answers, and nobody can write it down.
    tokio::time::sleep(Duration::from_millis(VERY_SLOW_CARRIER_MS)).await;
    first.signal("TERM");
    assert!(first.ended().await.success());
    assert_eq!(fleet.redis(&HELD).await, redis::Value::Int(0), "nothing waits for a lease to end");
    fleet.servers.start_postgres().await.unwrap();
    let _second = fleet.working(&[]).await;
    fleet.figures(demo).await.must_be_whole(1, "a drain without Postgres");
    fleet.end().await;
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once_and_loses_nothing() {
    const ORDERS: u64 = 10;
    let mut fleet = Fleet::start().await;
    fleet
        .break_outside(json!([{ "at": "easypost.buy", "what": { "delay": { "ms": VERY_SLOW_CARRIER_MS } } }]))
        .await;
    let mut first = fleet.working(&[]).await;
    let demo = fleet.demo(ORDERS);
    until("labels in hand", async || {
        matches!(fleet.redis(&HELD).await, redis::Value::Int(held) if held > 0).then_some(())
    })
    .await;
    first.signal("TERM");
    first.says("draining").await;
    first.signal("TERM");
    assert_eq!(first.ended().await.code(), Some(130), "it did not wait for its calls");
    let _second = fleet.working(&[]).await;
    fleet.figures(demo).await.must_be_whole(ORDERS, "two signals");
    fleet.end().await;
}
