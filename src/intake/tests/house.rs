//! One running intake: its Redis, its keys, and a client that talks to it.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::time::Duration;

use chrono::{TimeZone, Utc};
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::{Intake, MailService, Parts, Snapshots, serve};
use super::webhooks::stripe_header;
use crate::auth::token::{Tokens, Trust};
use crate::auth::{self, Role};
use crate::config::{IntakeSettings, LaneSettings, PostgresSettings, QueueSettings, Sources, load};
use crate::domain::mail_news::MailReading;
use crate::domain::offer::Offers;
use crate::ids::ApiKeyId;
use crate::queue::Queue;
use crate::queue::tests::server::Server;
use crate::seal::Seal;
use crate::signature::{Configured, EasyPostSignature, StripeSignature};
use crate::store::Store;
use crate::store::access::StoredKey;
use crate::store::snapshot::Catalogue;
use crate::time::Clock;

pub(super) const SECRET: &str = "a secret of at least thirty-two characters";
pub(super) const STRIPE_SECRET: &str = "whsec_test";
pub(super) const EASYPOST_SECRET: &str = "sécret";
pub(super) const WALLET_SECRET: &str = "of a wallet";
/// What the intake's clock shows at the start.
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) struct House {
    pub(super) redis: Server,
    pub(super) queue: Queue,
    pub(super) clock: Clock,
    pub(super) intake: Intake,
    snapshots: Snapshots,
    pub(super) stop: CancellationToken,
    pub(super) service: String,
    pub(super) customer: String,
    pub(super) vendor: String,
    pub(super) viewer: String,
    client: reqwest::Client,
}

pub(super) async fn open() -> House {
    open_with(100, true).await
}

/// `max_depth` is the room in the lane; without keys nobody can be let in.
pub(super) async fn open_with(max_depth: u64, keys: bool) -> House {
    open_as(max_depth, keys, settings()).await
}

/// So many tries a minute for a customer and for an address; 0 is no limit.
pub(super) async fn open_limited(customer: u32, address: u32) -> House {
    let settings = IntakeSettings { customer_attempts: customer, address_attempts: address, ..settings() };
    open_as(100, true, settings).await
}

async fn open_as(max_depth: u64, keys: bool, settings: IntakeSettings) -> House {
    // A second test of the process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redis = Server::start().await;
    let queue = Queue::connect(&redis.settings(), &queue_settings(), &BTreeMap::new()).await.unwrap();
    let clock = Clock::fixed(Utc.timestamp_opt(NOW, 0).unwrap());
    let snapshots = Snapshots::default();
    let [service, customer, vendor, viewer] =
        [(Role::Service, "web"), (Role::Customer, "cus_7"), (Role::Vendor, "tailor"), (Role::Viewer, "desk")]
            .map(|(role, name)| key(role, name));
    if keys {
        let stored = [&service, &customer, &vendor, &viewer].map(|(stored, _)| stored.clone());
        snapshots.put_keys(stored.to_vec());
        snapshots.put_catalogue(catalogue());
    }
    let stop = CancellationToken::new();
    let parts = parts(&queue, &clock, &snapshots, max_depth);
    let intake = serve(settings, parts, stop.clone()).await.unwrap();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap();
    House {
        redis,
        queue,
        clock,
        intake,
        snapshots,
        stop,
        service: service.1,
        customer: customer.1,
        vendor: vendor.1,
        viewer: viewer.1,
        client,
    }
}

/// Stripe, and `wallet`, which signs its bodies with this.
fn offers() -> Offers {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(
        file,
        "[payment_providers.wallet.page]\nurl = \"https://pay.example.com/{{reference}}?amount={{amount}}\"\n\
         [payment_providers.wallet.signature]\nsecrets = [\"{WALLET_SECRET}\"]\n"
    )
    .unwrap();
    let settings = load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }).unwrap();
    Offers::new(&settings.orders, &settings.payment_providers).unwrap()
}

/// `post`, which signs its bodies with the wallet's secret.
fn mail() -> BTreeMap<String, MailService> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[mail_providers.post.signature]\nsecrets = [\"{WALLET_SECRET}\"]\n").unwrap();
    let settings = load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }).unwrap();
    let service = &settings.mail_providers["post"];
    let signature = Configured::new(&service.signature).unwrap();
    [("post".to_owned(), MailService { signature, event: MailReading::new(&service.event) })].into()
}

fn parts(queue: &Queue, clock: &Clock, snapshots: &Snapshots, max_depth: u64) -> Parts {
    Parts {
        queue: queue.clone(),
        store: Store::new(&no_postgres()).unwrap(),
        clock: clock.clone(),
        secret: SecretString::from(SECRET),
        tokens: Tokens::new(&Trust::default()).unwrap(),
        stripe: StripeSignature::new([STRIPE_SECRET], 300).unwrap(),
        easypost: EasyPostSignature::new([EASYPOST_SECRET], false).unwrap(),
        orders: load(&Sources::default()).unwrap().orders,
        offers: offers(),
        mail: mail(),
        snapshots: snapshots.clone(),
        lanes: [(
            "intents".to_owned(),
            LaneSettings {
                partitions: 1,
                concurrency: 1,
                slice: 1,
                fleet_concurrency: 0,
                fleet_rate: 0,
                max_depth,
            },
        )]
        .into(),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
    }
}

impl House {
    /// A second door with the same limits, as another process has it: it knows of the first one what Redis does.
    pub(super) async fn second_door(&self, customer: u32, address: u32) -> String {
        let settings =
            IntakeSettings { customer_attempts: customer, address_attempts: address, ..settings() };
        let parts = parts(&self.queue, &self.clock, &self.snapshots, 100);
        let second = serve(settings, parts, self.stop.clone()).await.unwrap();
        format!("http://{}/v1/order-intents", second.address)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.intake.address)
    }

    pub(super) fn get(&self, path: &str, key: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(key)
    }

    pub(super) fn put(&self, path: &str) -> RequestBuilder {
        self.client.put(self.url(path)).header("content-type", "application/json")
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path)).header("content-type", "application/json")
    }

    /// An order intent of the web tier.
    pub(super) fn intent(&self, idempotency_key: &str, body: &Value) -> RequestBuilder {
        self.post("/v1/order-intents")
            .bearer_auth(&self.service)
            .header("idempotency-key", idempotency_key)
            .body(body.to_string())
    }

    /// The same at another door.
    pub(super) fn intent_at(&self, url: &str, idempotency_key: &str, body: &Value) -> RequestBuilder {
        let request = self.client.post(url).header("content-type", "application/json");
        request.bearer_auth(&self.service).header("idempotency-key", idempotency_key).body(body.to_string())
    }

    /// What a wish with this key is called.
    pub(super) async fn placed(&self, idempotency_key: &str) -> String {
        let answer = self.intent(idempotency_key, &wish()).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        answer.json::<Value>().await.unwrap()["intent_id"].as_str().unwrap().to_owned()
    }

    /// Sends new wishes until one is refused for capacity: the door looks twice a second.
    pub(super) async fn refused(&self, name: &str) -> Value {
        for at in 0..400 {
            let answer = self.intent(&format!("{name}-{at}"), &wish()).send().await.unwrap();
            if answer.status() == 503 {
                assert!(answer.headers().contains_key("retry-after"));
                return answer.json().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("nothing was refused");
    }

    /// Sends a signed event of Stripe's; answers the status.
    pub(super) async fn event(&self, id: &str) -> u16 {
        let body = json!({"id": id, "type": "payment_intent.succeeded", "data": {"object": {"id": "pi_1"}}});
        let header = stripe_header(&body.to_string(), NOW);
        let sent = self.post("/webhooks/stripe").header("stripe-signature", header).body(body.to_string());
        sent.send().await.unwrap().status().as_u16()
    }

    /// A secret as the store keeps it, broken into lines as Postgres breaks its base64.
    pub(super) fn sealed(plain: &str) -> String {
        use base64::Engine;
        let sealed = Seal::new(&SecretString::from(SECRET)).seal(plain.as_bytes());
        let mut text = base64::engine::general_purpose::STANDARD.encode(sealed);
        text.insert(20, '\n');
        text
    }
}

/// Status, code and the whole body of a problem.
pub(super) async fn problem(answer: Response) -> (u16, String, Value) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], status);
    (status, body["code"].as_str().unwrap().to_owned(), body)
}

pub(super) fn wish() -> Value {
    json!({
        "cart_id": "cart_42",
        "customer": {"id": "cus_7", "email": "a@example.com", "name": "A. Buyer"},
        "currency": "USD",
        "lines": [{"sku": "SUIT-42R", "quantity": 1}],
        "shipping_address": {"name": "A. Buyer", "address_line1": "123 Main St", "city": "Kathmandu", "country": "NP"}
    })
}

fn key(role: Role, name: &str) -> (StoredKey, String) {
    let new = auth::new_key();
    let stored = StoredKey {
        id: ApiKeyId::new(),
        tenant: "shop".to_owned(),
        name: name.to_owned(),
        role,
        hash: new.hash,
        created_at: Utc.timestamp_opt(NOW, 0).unwrap(),
        expires_at: Some(Utc.timestamp_opt(NOW + 3_600, 0).unwrap()),
        revoked_at: None,
    };
    (stored, new.key.expose_secret().to_owned())
}

fn catalogue() -> Catalogue {
    let set = |name: &str| HashSet::from([name.to_owned()]);
    Catalogue { skus: set("SUIT-42R"), currencies: set("USD"), shipping_methods: set("standard") }
}

fn settings() -> IntakeSettings {
    IntakeSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        health_port: 0,
        health_host: "127.0.0.1".parse().unwrap(),
        max_body_bytes: 65_536,
        max_webhook_bytes: 1_048_576,
        max_wait_seconds: 30,
        snapshot_ms: 2_000,
        max_queue_wait_seconds: 60,
        sold_out_gate: true,
        customer_attempts: 0,
        address_attempts: 0,
        trusted_proxies: Vec::new(),
    }
}

fn queue_settings() -> QueueSettings {
    QueueSettings {
        lease_ms: 600,
        renew_ms: 100,
        block_ms: 250,
        batch: 256,
        deaths: 3,
        idempotency_ttl_seconds: 60,
    }
}

/// A database that nobody listens for.
fn no_postgres() -> PostgresSettings {
    PostgresSettings {
        url: SecretString::from("postgres://nobody@127.0.0.1:1/none"),
        schema: "public".to_owned(),
        max_connections: 1,
        acquire_timeout_ms: 200,
        transaction_timeout_ms: 1_000,
        statement_timeout_ms: 1_000,
        lock_timeout_ms: 1_000,
        idle_in_transaction_timeout_ms: 1_000,
    }
}
