//! The audit sees nothing wrong in a right world, and exactly what was planted in a wrong one.

use std::collections::BTreeSet;
use std::path::Path;

use orderfleet::audit::{self, Outcome, Report, Scope, Truth};
use orderfleet::config::PostgresSettings;
use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::ids::{CommunicationId, OrderId};
use orderfleet::store::Store;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

mod planted;

use planted::{PLANTS, Plant};

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.orderfleet");
const WORLD: &str = include_str!("audit/world.sql");

/// One test, because the world is made once: each plant gets a copy of it.
#[tokio::test]
async fn a_right_world_holds_and_every_plant_turns_its_check_red_and_no_other() {
    let servers = Servers::throw_away(Path::new(BASE), Durability::OneSecond).await.unwrap();
    let right = database(&servers, "right");
    let mut admin = connect(&servers.database_url()).await;
    execute(&mut admin, "create database \"right\"").await;
    let store = store(&right);
    store.migrate().await.unwrap();
    execute(&mut connect(&right).await, &in_public_ids(WORLD)).await;

    let report = audit::run(&store, Scope { quiescent: true, truth: Some(truth(|_| {})) }).await.unwrap();
    assert_eq!(report.violations, 0, "{}", audit::render(&report));
    scopes(&store).await;
    store.close().await;

    let mut faults = Vec::new();
    for (n, plant) in PLANTS.iter().enumerate() {
        let wrong = planted(&servers, &mut admin, n, plant).await;
        let (red, expected) = (violated(&wrong), BTreeSet::from([plant.check]));
        if red != expected {
            faults.push(format!("{} by {:?}: {red:?}\n{}", plant.check, plant.sql, audit::render(&wrong)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let judged = report.checks.iter().filter(|check| check.outcome == Outcome::Held).map(|check| check.id);
    let planted: BTreeSet<&str> = PLANTS.iter().map(|plant| plant.check).collect();
    assert_eq!(judged.collect::<BTreeSet<_>>(), planted, "each check has its plant");
    servers.stop().await.unwrap();
}

/// What a scope leaves out is named with its reason, and never counts as held.
async fn scopes(store: &Store) {
    let skipped = |report: &Report, id: &str| {
        let check = report.checks.iter().find(|check| check.id == id).unwrap();
        match check.outcome {
            Outcome::NotApplicable { reason } => Some(reason),
            Outcome::Held | Outcome::Violated { .. } => None,
        }
    };
    let busy = audit::run(store, Scope { quiescent: false, truth: None }).await.unwrap();
    assert_eq!(skipped(&busy, "I1"), None);
    assert_eq!(skipped(&busy, "I7"), Some("holds only once the queues are drained"));
    assert_eq!(skipped(&busy, "I30"), Some("no sandbox"));
    assert!(skipped(&busy, "I38").is_some());
    let shown = audit::render(&busy);
    assert!(shown.lines().any(|line| line.contains("I30") && line.contains("not applicable")), "{shown}");
    let as_json = serde_json::to_value(&busy).unwrap();
    assert_eq!(as_json["checks"][0]["outcome"], "held");
}

#[test]
fn what_is_not_the_truth_is_an_error() {
    for text in [
        &b"{}"[..],
        b"[]",
        br#"{"payments": [{}], "refunds": [], "disputes": [], "labels": [], "mails": []}"#,
    ] {
        assert!(Truth::read(text).is_err());
    }
}

async fn planted(servers: &Servers, admin: &mut PgConnection, n: usize, plant: &Plant) -> Report {
    let name = format!("wrong_{n}");
    execute(admin, &format!("create database {name} template \"right\"")).await;
    let wrong = database(servers, &name);
    let sql = format!("set session_replication_role = replica; {}", plant.sql);
    execute(&mut connect(&wrong).await, &sql).await;
    let store = store(&wrong);
    let report = audit::run(&store, Scope { quiescent: true, truth: plant.truth.map(truth) }).await.unwrap();
    store.close().await;
    report
}

fn violated(report: &Report) -> BTreeSet<&str> {
    report.checks.iter().filter(|check| check.outcome.count() > 0).map(|check| check.id).collect()
}

/// What the sandbox says of the right world, changed by a plant.
fn truth(change: fn(&mut Value)) -> Truth {
    let payment = |id: &str, status: &str| {
        let received = if status == "succeeded" { 2000 } else { 0 };
        json!({"id": id, "amount": 2000, "amount_received": received, "amount_refunded": 0, "currency": "usd",
               "status": status, "metadata": {"payment_id": format!("pay of {id}")}})
    };
    let label = |n: u8| {
        json!({"shipment_id": format!("shp_{n}"), "reference": format!("label:{n}:1:1"),
               "tracking_code": format!("TRK{n}"), "amount_cents": 609, "currency": "USD"})
    };
    let dispute = |id: &str, of: &str, amount: u32, status: &str| json!({"id": id, "payment_id": of, "amount": amount, "currency": "usd", "status": status});
    let refund = |of: &str| {
        json!({"id": format!("re_{of}"), "payment_id": of, "amount": 2000, "currency": "usd", "status": "succeeded",
               "metadata": {"refund_id": format!("refund of {of}")}})
    };
    let mail =
        |n: u8| json!({"message_id": format!("msg_{n}@example.com"), "to": ["a@example.com"], "headers": {}});
    let mut truth = json!({
        "payments": [payment("pi_1", "requires_payment_method"), payment("pi_2", "succeeded"),
                     payment("pi_2b", "succeeded"), payment("pi_2c", "succeeded"), payment("pi_3", "succeeded"),
                     payment("pi_4", "succeeded"), payment("pi_6", "canceled"), payment("pi_10", "succeeded")],
        "refunds": [refund("pi_2b"), refund("pi_2c")],
        "disputes": [dispute("dp_1", "pi_10", 500, "lost"), dispute("dp_2", "pi_10", 1500, "under_review"),
                     dispute("dp_3", "pi_2c", 2000, "lost")],
        "labels": [label(2), label(3)], "mails": [mail(2), mail(3), mail(22), mail(23), mail(10)], "webhooks": [],
    });
    change(&mut truth);
    Truth::read(truth.to_string().as_bytes()).unwrap()
}

/// Writes the ids that jobs carry in their public form: the audit's SQL must come to the same letters.
fn in_public_ids(sql: &str) -> String {
    sql.replace("{order 7}", &OrderId::from(numbered(7)).to_string())
        .replace("{notice 5004}", &CommunicationId::from(numbered(5004)).to_string())
        .replace("{notice 5005}", &CommunicationId::from(numbered(5005)).to_string())
}

/// The same as `u(n)` in SQL: decimal digits in the last group.
fn numbered(n: u16) -> Uuid {
    format!("00000000-0000-7000-8000-{n:012}").parse().unwrap()
}

fn database(servers: &Servers, name: &str) -> SecretString {
    let url = servers.database_url();
    let (server, _) = url.expose_secret().rsplit_once('/').unwrap();
    format!("{server}/{name}").into()
}

fn store(url: &SecretString) -> Store {
    Store::new(&PostgresSettings {
        url: url.clone(),
        schema: "public".to_owned(),
        max_connections: 2,
        acquire_timeout_ms: 10_000,
        transaction_timeout_ms: 10_000,
        statement_timeout_ms: 10_000,
        lock_timeout_ms: 2_000,
        idle_in_transaction_timeout_ms: 10_000,
    })
    .unwrap()
}

async fn connect(url: &SecretString) -> PgConnection {
    PgConnection::connect(url.expose_secret()).await.unwrap()
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}
