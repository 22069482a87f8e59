//! One world: a database, keys in Redis, a sandbox, an intake and workers of its own, on servers that all worlds share.
//!
//! It is asked as a shop's web tier, its customers and its staff ask it; what they may be answered is known, and anything
//! else is counted. The tables are only read.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orderfleet::auth::{self, Role};
use orderfleet::config::{PostgresSettings, Sources, load};
use orderfleet::dev::servers::Servers;
use orderfleet::domain::catalogue::CatalogueRow;
use orderfleet::job::Lane;
use orderfleet::store::Store;
use orderfleet::store::access::KeyToStore;
use reqwest::{Client, Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use stage::fleet::{configuration, free};
use stage::process::{Process, folder, orderfleet, until, with};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// The migrated database that each world gets a copy of.
const TEMPLATE: &str = "storm";
/// Far longer than any answer takes, on a machine that builds at the same time.
const ANSWER: Duration = Duration::from_mins(1);
/// Articles, and pieces of each: the first two are soon sold out.
pub(crate) const ARTICLES: [(&str, i64); 5] =
    [("RARE", 6), ("SCARCE", 14), ("SUIT", 500), ("SHIRT", 500), ("TIE", 500)];
/// Connections of one process; three worlds' processes fit below the server's limit many times.
const CONNECTIONS: u32 = 8;

/// How long a provider may take for an answer: some of the sandbox's delays are longer.
const PATIENCE_MS: u32 = 2_000;

/// A database of the shared server.
fn database(servers: &Servers, name: &str) -> PostgresSettings {
    let url = servers.database_url();
    let (server, _) = url.expose_secret().rsplit_once('/').unwrap();
    let mut settings = load(&Sources::default()).unwrap().postgres;
    settings.url = format!("{server}/{name}").into();
    settings.max_connections = CONNECTIONS;
    // Only the storm itself reads these: it waits for a machine that does much else.
    settings.acquire_timeout_ms = u64::try_from(ANSWER.as_millis()).unwrap();
    settings.transaction_timeout_ms = settings.acquire_timeout_ms;
    settings
}

async fn execute(servers: &Servers, statement: &str) {
    let mut connection = PgConnection::connect(servers.database_url().expose_secret()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Makes what every world is a copy of.
pub(crate) async fn lay_template(servers: &Servers) {
    execute(servers, &format!("create database {TEMPLATE}")).await;
    let store = Store::new(&database(servers, TEMPLATE)).unwrap();
    store.migrate().await.unwrap();
    store.close().await;
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Web,
    Manager,
    Processor,
    /// The buyer of this number.
    Buyer(usize),
}

struct Keys {
    web: String,
    manager: String,
    processor: String,
    buyers: Vec<String>,
}

/// An answer of the intake.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// A running world.
pub(crate) struct World {
    pub(crate) seed: u64,
    intake: Mutex<Process>,
    sandbox: Mutex<Process>,
    workers: Mutex<Vec<Process>>,
    started: AtomicU64,
    pub(crate) store: Store,
    books: PgPool,
    client: Client,
    redis: redis::aio::MultiplexedConnection,
    name: String,
    address: SocketAddr,
    counterparty: SocketAddr,
    keys: Keys,
    /// What nobody should have been answered.
    pub(crate) odd: std::sync::Mutex<Vec<String>>,
    /// Last, because processes that end with the world show what they wrote here.
    pub(crate) folder: TempDir,
}

impl World {
    /// Starts it with one worker: when this returns, orders can be placed. The settings that differ between worlds come
    /// from the seed.
    pub(crate) async fn begin(servers: &Servers, seed: u64, buyers: usize) -> Self {
        Self::begin_with(servers, seed, buyers, 1).await
    }

    /// Starts it with so many workers.
    pub(crate) async fn begin_with(servers: &Servers, seed: u64, buyers: usize, workers: u64) -> Self {
        let name = format!("storm_{seed}_{:x}", u16::from_le_bytes(orderfleet::ids::random_bytes::<2>()));
        execute(servers, &format!("create database {name} template {TEMPLATE}")).await;
        let postgres = database(servers, &name);
        let store = Store::new(&postgres).unwrap();
        store.import_catalogue(&ARTICLES.map(|(sku, pieces)| article(sku, pieces))).await.unwrap();
        let keys = keys(&store, buyers).await;
        let (folder, address, counterparty) = (folder(), free(), free());
        let mut config = configuration((&postgres.url, &servers.redis_url()), address, counterparty);
        config = config.replace("[redis]\n", &format!("[redis]\nprefix = \"{name}\"\n"));
        config = config.replace("[postgres]\n", &format!("[postgres]\nmax_connections = {CONNECTIONS}\n"));
        config = config.replace("[worker]\n", "[worker]\nrelay_ms = 250\n");
        for provider in ["[stripe]\n", "[easypost]\n", "[smtp]\n"] {
            config = config.replace(provider, &format!("{provider}timeout_ms = {PATIENCE_MS}\n"));
        }
        config = config.replace("[sandbox]\n", "[sandbox]\ntruth_file = \"truth.jsonl\"\n");
        std::fs::write(folder.path().join("fleet.toml"), config + &settings(seed)).unwrap();
        let start =
            |role: &str| Process::start(role, folder.path(), with(command(&folder, seed, role), [role]));
        let (mut sandbox, mut intake) = (start("sandbox"), start("intake"));
        sandbox.says("sandbox listens").await;
        intake.says("intake listens").await;
        let client = Client::builder().timeout(ANSWER).no_proxy().build().unwrap();
        let books = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(ANSWER)
            .connect(postgres.url.expose_secret())
            .await;
        let redis = redis::Client::open(servers.redis_url().expose_secret()).unwrap();
        let world = Self {
            seed,
            intake: Mutex::new(intake),
            sandbox: Mutex::new(sandbox),
            workers: Mutex::default(),
            started: AtomicU64::new(0),
            store,
            books: books.unwrap(),
            client,
            redis: redis.get_multiplexed_async_connection().await.unwrap(),
            name,
            address,
            counterparty,
            keys,
            folder,
            odd: std::sync::Mutex::default(),
        };
        world.workers.lock().await.extend((0..workers).map(|_| world.another_worker()));
        until("a ready intake", async || world.is_ready().await.then_some(())).await;
        world
    }

    async fn is_ready(&self) -> bool {
        let asked = self.client.get(format!("http://{}/readyz", self.address)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// The binary, as this world's worker runs it.
    pub(crate) fn command(&self) -> Command {
        command(&self.folder, self.seed, "")
    }

    /// Kills the worker that has lived longest as a crash would, and starts its successor.
    pub(crate) async fn kill_worker(&self) {
        let mut workers = self.workers.lock().await;
        workers.remove(0).kill();
        workers.push(self.another_worker());
    }

    /// Starts a successor for each worker that has died; how many had.
    pub(crate) async fn revive_workers(&self) -> i64 {
        let mut workers = self.workers.lock().await;
        let dead: Vec<usize> = (0..workers.len()).filter(|at| workers[*at].has_ended()).collect();
        for at in &dead {
            workers[*at] = self.another_worker();
        }
        i64::try_from(dead.len()).unwrap()
    }

    fn another_worker(&self) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let command = with(command(&self.folder, self.seed, "worker"), ["worker"]);
        Process::start(&format!("worker-{number}"), self.folder.path(), command)
    }

    /// The sandbox stops, and starts with what its file says: nothing goes wrong any more, and every webhook that never
    /// arrived is sent again, as a provider does days later.
    pub(crate) async fn mend(&self) {
        let mut sandbox = self.sandbox.lock().await;
        sandbox.kill_now();
        let command = with(command(&self.folder, self.seed, "sandbox"), ["sandbox"]);
        *sandbox = Process::start("sandbox-2", self.folder.path(), command);
        sandbox.says("sandbox listens").await;
    }

    /// Asks the intake; an answer that is none of these is noted. A door that is busy asks to come again: so they do.
    pub(crate) async fn ask(
        &self,
        who: Who,
        (method, path): (Method, &str),
        headers: &[(&str, String)],
        body: Option<&Value>,
        expected: &[u16],
    ) -> Answer {
        let mut tries = 0;
        loop {
            let mut request = self.client.request(method.clone(), format!("http://{}{path}", self.address));
            request = request.bearer_auth(self.key(who));
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let body: Value = answer.json().await.unwrap_or_default();
            tries += 1;
            if status == StatusCode::SERVICE_UNAVAILABLE && tries < 20 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                continue;
            }
            let status = status.as_u16();
            if !expected.contains(&status) {
                self.odd.lock().unwrap().push(format!("{method} {path} by {who:?}: {status} {body}"));
            }
            return Answer { status, body };
        }
    }

    fn key(&self, who: Who) -> &str {
        match who {
            Who::Web => &self.keys.web,
            Who::Manager => &self.keys.manager,
            Who::Processor => &self.keys.processor,
            Who::Buyer(number) => &self.keys.buyers[number],
        }
    }

    /// Asks the sandbox, which may be told to hang up: then there is no answer.
    pub(crate) async fn outside(&self, method: Method, path: &str, body: String) -> Option<Value> {
        let request = self.client.request(method, format!("http://{}{path}", self.counterparty));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        // Money goes back on the shop's word; everything else a browser does.
        let key = if path == "/v1/refunds" { "sk_test_faults" } else { "pk_test_storm" };
        let answer = request.basic_auth(key, None::<&str>).body(body).send().await.ok()?;
        answer.json().await.ok()
    }

    /// The rows of a statement, each as an object.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Value> {
        let sql = format!("select coalesce(json_agg(found), '[]')::text from ({sql}) found");
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(&self.books).await.unwrap();
        serde_json::from_str(row.get(0)).unwrap()
    }

    /// The number that a statement selects.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(&self.books).await.unwrap();
        row.get(0)
    }

    /// Jobs that wait or run, in all lanes. Those that are due later are left out: they have rows, or are pointless.
    pub(crate) async fn queued(&self) -> u64 {
        let mut ask = redis::pipe();
        for lane in Lane::ALL {
            ask.hlen(format!("{{{}:{lane}:0}}:j", self.name)).zcard(format!("{{{}:{lane}:0}}:d", self.name));
        }
        let mut redis = self.redis.clone();
        let known: Vec<u64> = ask.query_async(&mut redis).await.unwrap();
        known.chunks(2).map(|lane| lane[0].saturating_sub(lane[1])).sum()
    }

    /// Ends it, and its database.
    pub(crate) async fn end(self, servers: &Servers) {
        let mut processes = self.workers.into_inner();
        processes.extend([self.intake.into_inner(), self.sandbox.into_inner()]);
        for mut process in processes {
            assert!(!process.has_ended(), "a role ended by itself");
            process.signal("TERM");
            assert!(process.ended().await.success(), "a role did not end well");
        }
        self.store.close().await;
        self.books.close().await;
        execute(servers, &format!("drop database {} with (force)", self.name)).await;
    }
}

/// The binary with a world's configuration. In half of the worlds orders go on to the packers by themselves; in the others
/// people move them, and the label is bought when a person says that an order is packed.
fn command(folder: &TempDir, seed: u64, role: &str) -> Command {
    let mut command = with(orderfleet(folder.path()), ["--config", "fleet.toml"]);
    let by_itself = role != "worker" || seed % 4 < 2;
    command.env("ORDERFLEET__ORDERS__AUTO_FULFIL", by_itself.to_string());
    command
}

/// Times in which a whole life fits into a minute, and the policies of this seed.
fn settings(seed: u64) -> String {
    let late = if seed % 5 == 4 { "hold_for_ops" } else { "reserve_or_refund" };
    let declined = match seed % 10 {
        8 => "release",
        9 => "cancel",
        _ => "keep",
    };
    let settling = if seed.is_multiple_of(6) { 6 } else { 0 };
    format!(
        r#"
[orders]
reservation_seconds = 5
max_hold_seconds = 8
settlement_grace_seconds = 2
order_ttl_seconds = 14
complete_days = 0
payment_sync_seconds = 1
late_payment = "{late}"
declined = "{declined}"
settling_seconds = {settling}
[queue]
block_ms = 250
# Every death here is a proof's doing, and no job's.
deaths = 50
"#
    )
}

async fn keys(store: &Store, buyers: usize) -> Keys {
    let make = async |role: Role, name: String| {
        let key = auth::new_key();
        let stored = KeyToStore { tenant: "shop".to_owned(), name, role, hash: key.hash, expires_at: None };
        store.create_key(&stored).await.unwrap();
        key.key.expose_secret().to_owned()
    };
    let mut keys = Keys {
        web: make(Role::Service, "web".to_owned()).await,
        manager: make(Role::Manager, "mia".to_owned()).await,
        processor: make(Role::Processor, "pat".to_owned()).await,
        buyers: Vec::new(),
    };
    for number in 0..buyers {
        keys.buyers.push(make(Role::Customer, format!("cus-{number}")).await);
    }
    keys
}

fn article(sku: &str, on_hand: i64) -> CatalogueRow {
    CatalogueRow {
        sku: sku.to_owned(),
        name: format!("The {sku}"),
        prices: vec![("USD".to_owned(), 12_900), ("NPR".to_owned(), 12_900 * 134)],
        weight_g: 400,
        size_mm: (300, 250, 30),
        customs: ("620311".to_owned(), "NP".to_owned(), "Men's suit, woven, wool".to_owned()),
        tax_class: "standard".to_owned(),
        vendor: String::new(),
        on_hand,
    }
}
