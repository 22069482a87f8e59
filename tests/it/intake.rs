//! The intake beside a real Postgres: keys that are made and revoked while it runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use orderfleet::auth::token::{Tokens, Trust};
use orderfleet::auth::{self, Role};
use orderfleet::config::{
    IntakeSettings, PostgresSettings, QueueSettings, RedisMode, RedisSettings, Sources, load,
};
use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::domain::offer::Offers;
use orderfleet::ids::IntentId;
use orderfleet::intake::{Intake, Parts, Snapshots, serve};
use orderfleet::queue::Queue;
use orderfleet::signature::{EasyPostSignature, StripeSignature};
use orderfleet::store::Store;
use orderfleet::store::access::KeyToStore;
use orderfleet::time::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Below the clone, where any user who can build can also start servers.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.orderfleet");

async fn store(servers: &Servers) -> Store {
    let store = Store::new(&PostgresSettings {
        url: servers.database_url(),
        schema: "public".to_owned(),
        max_connections: 4,
        acquire_timeout_ms: 5_000,
        transaction_timeout_ms: 5_000,
        statement_timeout_ms: 5_000,
        lock_timeout_ms: 2_000,
        idle_in_transaction_timeout_ms: 2_000,
    })
    .unwrap();
    store.migrate().await.unwrap();
    store
}

async fn queue(servers: &Servers) -> Queue {
    let redis = RedisSettings {
        url: servers.redis_url(),
        prefix: "it".to_owned(),
        connect_timeout_ms: 2_000,
        response_timeout_ms: 2_000,
        require_durable: false,
        mode: RedisMode::Single,
        sentinel_master: String::new(),
        sentinel_password: SecretString::from(""),
        wait_replicas: 0,
        wait_ms: 500,
    };
    let queue = QueueSettings {
        lease_ms: 4_000,
        renew_ms: 1_000,
        block_ms: 1_000,
        batch: 256,
        deaths: 3,
        idempotency_ttl_seconds: 60,
    };
    Queue::connect(&redis, &queue, &BTreeMap::new()).await.unwrap()
}

async fn open(servers: &Servers, store: &Store, stop: &CancellationToken) -> Intake {
    let settings = IntakeSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        health_port: 0,
        health_host: "127.0.0.1".parse().unwrap(),
        max_body_bytes: 65_536,
        max_webhook_bytes: 1_048_576,
        max_wait_seconds: 30,
        snapshot_ms: 50,
        max_queue_wait_seconds: 60,
        sold_out_gate: true,
        customer_attempts: 0,
        address_attempts: 0,
        trusted_proxies: Vec::new(),
    };
    let settled = load(&Sources::default()).unwrap();
    let parts = Parts {
        queue: queue(servers).await,
        store: store.clone(),
        clock: Clock::real(),
        secret: SecretString::from("a secret of at least thirty-two characters"),
        tokens: Tokens::new(&Trust::default()).unwrap(),
        stripe: StripeSignature::new(["whsec_test"], 300).unwrap(),
        easypost: EasyPostSignature::new(["test"], false).unwrap(),
        orders: settled.orders.clone(),
        offers: Offers::new(&settled.orders, &settled.payment_providers).unwrap(),
        mail: BTreeMap::new(),
        snapshots: Snapshots::default(),
        lanes: BTreeMap::default(),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
    };
    serve(settings, parts, stop.clone()).await.unwrap()
}

/// Asks for an intent that nobody sent until the answer has this code.
async fn answered(intake: &Intake, key: &str, wanted: &str) {
    let url = format!("http://{}/v1/order-intents/{}", intake.address, IntentId::new());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build().unwrap();
    let mut last = Value::Null;
    for _ in 0..200 {
        last = client.get(&url).bearer_auth(key).send().await.unwrap().json().await.unwrap();
        if last["code"] == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never {wanted}: {last}");
}

#[tokio::test]
async fn a_key_opens_until_it_is_revoked_and_only_its_hash_is_kept() {
    // A second test of the process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let servers = Servers::throw_away(Path::new(BASE), Durability::OneSecond).await.unwrap();
    let (store, stop) = (store(&servers).await, CancellationToken::new());
    let intake = open(&servers, &store, &stop).await;
    let new = auth::new_key();
    let key = new.key.expose_secret();
    answered(&intake, key, "unauthenticated").await;
    let stored = KeyToStore {
        tenant: "shop".to_owned(),
        name: "web".to_owned(),
        role: Role::Service,
        hash: new.hash,
        expires_at: None,
    };
    let id = store.create_key(&stored).await.unwrap();
    // Let in; and neither Redis nor Postgres knows the intent.
    answered(&intake, key, "unknown_intent").await;
    assert!(store.revoke_key(id).await.unwrap());
    assert!(!store.revoke_key(id).await.unwrap(), "twice is once");
    answered(&intake, key, "unauthenticated").await;
    let kept = store.list_keys().await.unwrap();
    assert_eq!((kept.len(), kept[0].id, kept[0].hash), (1, id, new.hash));
    assert!(kept[0].revoked_at.is_some());
    stop.cancel();
    intake.finished().await;
    store.close().await;
    servers.stop().await.unwrap();
}
