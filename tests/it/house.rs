//! A house: a whole fleet in this process (intake, workers, sandbox) with its own database and its own keys.
//!
//! Tests act from outside: as the web tier ([`shop`]), as a customer's browser and as the providers ([`outside`]), and
//! read the tables ([`books`]). A house that is not ended fails its test, because its end is where most is proved:
//! nothing left undone, nothing given up that the test did not expect, every invariant held.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use orderfleet::auth::{self, Role};
use orderfleet::config::{Settings, Sources, load};
use orderfleet::domain::catalogue::CatalogueRow;
use orderfleet::queue::Queue;
use orderfleet::roles;
use orderfleet::store::Store;
use orderfleet::store::access::KeyToStore;
use secrecy::ExposeSecret;
use sqlx::PgConnection;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::shared::{Shared, servers};
use post::Post;

mod books;
mod browser;
mod desk;
mod outside;
mod post;
mod shop;

pub(crate) use outside::{signed, signed_ago, signed_by_easypost, signed_text_by_easypost};
pub(crate) use post::Letter;
pub(crate) use shop::{Bought, abroad, bought, wish};

/// How long anything may take until a test gives it up: generous, because machines of a gate are slow and shared.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// How often a test looks.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

/// What a house is to be like.
pub(crate) struct Plan {
    stock: Vec<(&'static str, i64)>,
    workers: usize,
    settings: Settings,
}

/// A running house.
pub(crate) struct House {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) post: Arc<Post>,
    books: Mutex<PgConnection>,
    client: reqwest::Client,
    intake: String,
    sandbox: String,
    key: String,
    outside: CancellationToken,
    inside: CancellationToken,
    tasks: TaskTracker,
    is_over: bool,
}

pub(crate) use browser::Browser;
pub(crate) use desk::Desk;

/// The usual house: plenty of each article, one worker.
pub(crate) async fn open() -> House {
    plan().open().await
}

/// A house that is to be told more.
pub(crate) fn plan() -> Plan {
    let mut settings = load(&Sources::default()).unwrap();
    settings.security.secret = "a secret of at least thirty-two characters".into();
    settings.stripe.secret_key = "sk_test_house".into();
    settings.stripe.webhook_secrets = vec!["whsec_house".into()];
    settings.easypost.api_key = "EZTK_house".into();
    settings.easypost.webhook_secrets = vec!["easypost-house".into()];
    settings.redis.require_durable = false;
    // So that a test that pushes past the library waits no second for each step.
    settings.queue.block_ms = 250;
    settings.worker.relay_ms = 200;
    // So late that a test waits for none that it did not ask for.
    settings.orders.payment_sync_seconds = 600;
    settings.worker.health_port = 0;
    settings.worker.grace_ms = 10_000;
    // What a test finds must not depend on the hour at which it runs.
    settings.worker.audit_hour = 24;
    settings.intake.address = "127.0.0.1:0".parse().unwrap();
    settings.intake.health_port = 0;
    settings.ops.health_port = 0;
    settings.ops.address = "127.0.0.1:0".parse().unwrap();
    settings.ops.tenant = "shop".into();
    settings.intake.snapshot_ms = 100;
    settings.sandbox.address = "127.0.0.1:0".parse().unwrap();
    settings.sandbox.smtp_address = "127.0.0.1:0".parse().unwrap();
    for lane in settings.lanes.values_mut() {
        lane.concurrency = 1;
    }
    Plan { stock: vec![("SUIT", 1_000), ("SHIRT", 1_000)], workers: 1, settings }
}

impl Plan {
    /// These articles, and so many of each.
    pub(crate) fn stock(mut self, stock: &[(&'static str, i64)]) -> Self {
        self.stock = stock.to_vec();
        self
    }

    /// So many workers; none means that a test starts them by [`House::work`].
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Other settings.
    pub(crate) fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Opens it: when this returns, orders can be placed.
    pub(crate) async fn open(self) -> House {
        let Self { stock, workers, mut settings } = self;
        let shared = servers();
        let name = Shared::name();
        settings.postgres = shared.database(&name).await;
        settings.redis.url = shared.redis.clone();
        settings.redis.prefix = name;
        let store = Store::new(&settings.postgres).unwrap();
        store
            .import_catalogue(&stock.iter().map(|(sku, pieces)| article(sku, *pieces)).collect::<Vec<_>>())
            .await
            .unwrap();
        let key = auth::new_key();
        let stored = KeyToStore {
            tenant: "shop".to_owned(),
            name: "web".to_owned(),
            role: Role::Service,
            hash: key.hash,
            expires_at: None,
        };
        store.create_key(&stored).await.unwrap();

        let outside = CancellationToken::new();
        let queue = roles::queue(&settings, &outside).await.unwrap().unwrap();
        let intake = roles::start_intake(&settings, queue.clone(), metrics(), outside.clone()).await.unwrap();
        intake.ready().await;
        let intake_url = format!("http://{}", intake.address);
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        let tasks = TaskTracker::new();
        // Webhooks come through the house's own post, so that a test can keep them, repeat them and write its own.
        let post = Post::open(client.clone(), intake_url.clone(), &tasks, outside.clone()).await;
        settings.sandbox.stripe_webhook_url = format!("{}/webhooks/stripe", post.url);
        settings.sandbox.easypost_webhook_url = format!("{}/webhooks/easypost", post.url);
        settings.sandbox.wallet_webhook_url = format!("{intake_url}/webhooks/payments/wallet");
        let sandbox = roles::start_sandbox(&settings, outside.clone()).await.unwrap();
        settings.stripe.api_base = format!("http://{}/", sandbox.address());
        settings.easypost.api_base = format!("http://{}/v2", sandbox.address());
        settings.smtp.url = format!("smtp://{}", sandbox.smtp_address()).into();
        let sandbox_url = format!("http://{}", sandbox.address());
        if let Some(wallet) = settings.payment_providers.get_mut("wallet") {
            wallet.status.url = wallet.status.url.replace("http://sandbox.invalid", &sandbox_url);
        }
        tasks.spawn(intake.finished());
        tasks.spawn(sandbox.join());
        let books = books::open(&settings.postgres).await;
        let house = House {
            settings,
            store,
            queue,
            post,
            books: Mutex::new(books),
            client,
            intake: intake_url,
            sandbox: sandbox_url,
            key: key.key.expose_secret().to_owned(),
            outside,
            inside: CancellationToken::new(),
            tasks,
            is_over: false,
        };
        // What a sweep begins with is there: no table changes under a test's eyes because a worker sweeps.
        house.sweep().await;
        (0..workers).for_each(|_| house.work());
        house
    }
}

impl House {
    /// Starts one more worker.
    pub(crate) fn work(&self) {
        let (settings, queue, stop) = (self.settings.clone(), self.queue.clone(), self.inside.clone());
        self.tasks.spawn(async move {
            let health = roles::worker_health(&settings).await.unwrap();
            assert!(
                Box::pin(roles::start_worker(&settings, health, queue, metrics(), stop)).await.unwrap(),
                "drained in time"
            );
        });
    }

    /// Ends it. Fails the test if a job is left undone or was given up, or an invariant is broken.
    pub(crate) async fn end(self) {
        self.end_with(&[], true).await;
    }

    /// The same, where exactly these kinds were given up, once each.
    pub(crate) async fn end_with_dead(self, dead: &[&str]) {
        self.end_with(dead, true).await;
    }

    /// The same, where a test spoke for the providers: what the sandbox holds for true is not compared.
    pub(crate) async fn end_with_forged(self) {
        self.end_with(&[], false).await;
    }

    async fn end_with(mut self, dead: &[&str], compares: bool) {
        self.hold_webhooks().await;
        self.settled().await;
        let mut expected: Vec<String> = dead.iter().map(|kind| (*kind).to_owned()).collect();
        expected.sort();
        let found = self.dead_letters().await;
        let kinds: Vec<&str> = found.iter().filter_map(|dead| dead["kind"].as_str()).collect();
        assert_eq!(kinds, expected, "dead letters: {found:#?}");
        self.audit(compares).await;
        self.is_over = true;
        self.inside.cancel();
        self.outside.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("the house ends in time");
        self.queue.close().await;
        self.store.close().await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        assert!(self.is_over || std::thread::panicking(), "a test must end its house");
    }
}

fn metrics() -> metrics_exporter_prometheus::PrometheusHandle {
    PrometheusBuilder::new().build_recorder().handle()
}

/// An article; GIFT costs nothing.
fn article(sku: &str, on_hand: i64) -> CatalogueRow {
    let dollars = if sku == "GIFT" { 0 } else { 12_900 };
    CatalogueRow {
        sku: sku.to_owned(),
        name: format!("The {sku}"),
        prices: vec![("USD".to_owned(), dollars), ("NPR".to_owned(), dollars * 134)],
        weight_g: 700,
        size_mm: (300, 250, 40),
        customs: ("620311".to_owned(), "NP".to_owned(), "Men's suit, woven, wool".to_owned()),
        tax_class: "standard".to_owned(),
        vendor: String::new(),
        on_hand,
    }
}
