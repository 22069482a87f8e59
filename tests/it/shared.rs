//! One Postgres and one Redis for all houses of this test binary: started at the first one, gone with the process.
//!
//! They run on a thread and a runtime of their own, because each test's runtime ends with its test. Whatever a house
//! needs for itself (a database, a prefix of keys) it takes from here; no house sees another one.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use orderfleet::config::{PostgresSettings, Sources, load};
use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::store::Store;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Below the clone, where any user who can build can also start servers.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.orderfleet");
/// The migrated database that each house gets a copy of: a tenth of a second instead of all migrations.
const TEMPLATE: &str = "house";

static SHARED: OnceLock<Shared> = OnceLock::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Where the servers of this binary are.
pub(crate) struct Shared {
    database: SecretString,
    pub(crate) redis: SecretString,
}

/// The servers; the first caller waits until they are up.
pub(crate) fn servers() -> &'static Shared {
    SHARED.get_or_init(|| {
        // A second installation is refused, and the first one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let servers = Servers::throw_away(Path::new(BASE), Durability::OneSecond).await.unwrap();
                let shared = Shared { database: servers.database_url(), redis: servers.redis_url() };
                shared.execute(&format!("create database {TEMPLATE}")).await;
                let store = Store::new(&shared.postgres(TEMPLATE)).unwrap();
                store.migrate().await.unwrap();
                store.close().await;
                tell.send(shared).unwrap();
                // Held until the process ends: the servers end with it.
                std::future::pending::<()>().await;
                drop(servers);
            });
        });
        told.recv().unwrap()
    })
}

impl Shared {
    /// A name that no other house has.
    pub(crate) fn name() -> String {
        format!("house_{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a database with all tables and no rows but the migrations' own.
    pub(crate) async fn database(&self, name: &str) -> PostgresSettings {
        self.execute(&format!("create database {name} template {TEMPLATE}")).await;
        self.postgres(name)
    }

    /// Makes a database without any tables.
    pub(crate) async fn bare_database(&self, name: &str) -> PostgresSettings {
        self.execute(&format!("create database {name}")).await;
        self.postgres(name)
    }

    fn postgres(&self, name: &str) -> PostgresSettings {
        let (server, _) = self.database.expose_secret().rsplit_once('/').unwrap();
        let mut settings = load(&Sources::default()).unwrap().postgres;
        settings.url = format!("{server}/{name}").into();
        // Many houses at once must stay below the server's limit.
        settings.max_connections = 4;
        settings.acquire_timeout_ms = 20_000;
        settings
    }

    async fn execute(&self, sql: &str) {
        let mut connection = PgConnection::connect(self.database.expose_secret()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}
