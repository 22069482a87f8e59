//! Postgres and Redis that die, and a Redis that forgets everything.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;

use stage::fleet::Fleet;

/// How long a server is away: longer than a lease, so that nothing is saved by being quick.
const OUTAGE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn without_postgres_wishes_are_taken_in_and_work_waits_unspent() {
    const ORDERS: u64 = 60;
    let mut fleet = Fleet::start().await;
    let mut worker = fleet.working(&[]).await;
    let demo = fleet.demo(ORDERS);
    fleet.paid(10).await;
    fleet.servers.kill_postgres().await.unwrap();
    let answer = fleet.wish("without-postgres").await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(fleet.wish("without-postgres").await.status(), StatusCode::ACCEPTED, "the same wish again");
    assert!(!worker.has_ended(), "a worker outlives Postgres");
    fleet.servers.start_postgres().await.unwrap();
    fleet.reserved("without-postgres").await;
    fleet.figures(demo).await.must_be_whole(ORDERS, "Postgres was away");
    assert_eq!(fleet.attempts().await, "none", "an outage spends no attempt");
    fleet.end().await;
}

#[tokio::test]
async fn without_redis_wishes_are_sent_away_and_their_keys_work_afterwards() {
    const ORDERS: u64 = 60;
    let mut fleet = Fleet::start().await;
    let mut worker = fleet.working(&[]).await;
    let demo = fleet.demo(ORDERS);
    fleet.paid(10).await;
    fleet.servers.kill_redis().await.unwrap();
    let answer = fleet.wish("without-redis").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let after = answer.headers()[RETRY_AFTER].to_str().unwrap().to_owned();
    assert!(after.parse::<u64>().unwrap() >= 1, "Retry-After: {after}");
    tokio::time::sleep(OUTAGE).await;
    assert!(!worker.has_ended(), "a worker outlives Redis");
    fleet.servers.start_redis().await.unwrap();
    fleet.reserved("without-redis").await;
    let figures = fleet.figures(demo).await;
    eprintln!("attempts spent: {}", fleet.attempts().await);
    figures.must_be_whole(ORDERS, "Redis was away");
    fleet.end().await;
}

#[tokio::test]
async fn a_redis_that_forgets_everything_costs_no_paid_order_its_label_or_mails() {
    const ORDERS: u64 = 200;
    const WAITING: &str = "select count(*) from jobs where kind in ('shipping-label', 'email')";
    let mut fleet = Fleet::start().await;
    let mut cashier = fleet.working(&["--lanes", "payments-in,intents,payments-out,expiry"]).await;
    let demo = fleet.demo(ORDERS);
    fleet.paid(i64::try_from(ORDERS).unwrap()).await;
    cashier.signal("TERM");
    assert!(cashier.ended().await.success());
    let waiting = fleet.count(WAITING).await;
    assert_eq!(waiting, i64::try_from(ORDERS).unwrap() * 2, "a label and a confirmation for each");
    fleet.redis(&["FLUSHALL"]).await;
    let _worker = fleet.working(&[]).await;
    fleet.figures(demo).await.must_be_whole(ORDERS, "FLUSHALL");
    fleet.end().await;
}
