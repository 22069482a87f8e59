//! A fleet of real processes: private servers, a sandbox and an intake; workers as a test wants them.
//!
//! It is set up by the binary's own commands, as an operator would. Only one such fleet runs at a time, whoever runs the
//! tests: two would measure each other's hunger.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::ids::random_bytes;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::door::Door;
use crate::process::{LONG, Process, folder, orderfleet, run, scratch, until, with};
use crate::proxy::Proxy;
use crate::tampered::Tampered;

/// Below the clone, where any user who can build can also start servers.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.orderfleet");
const CATALOGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/catalogue.csv");

/// Waits for its turn; the turn ends with the file, however the process ends.
pub fn alone() -> File {
    let turn = File::create(scratch().join("faults.lock")).unwrap();
    turn.lock().unwrap();
    turn
}

/// A free port, below those that the kernel hands out by itself.
pub fn free() -> SocketAddr {
    loop {
        let port = 20_000 + u16::from_le_bytes(random_bytes::<2>()) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// How a fleet differs from the usual one.
pub struct Setup {
    /// What Redis's acknowledged writes survive. Proofs of durability need [`Durability::PowerLoss`].
    pub durability: Durability,
    /// Environment of every process: settings as `ORDERFLEET__SECTION__KEY`, or a `REDIS_URL` that leads through a proxy.
    pub environment: Vec<(String, String)>,
    /// Servers that run already, instead of new ones.
    pub servers: Option<Servers>,
    /// A Redis that is used instead of the servers' own.
    pub redis: Option<Tampered>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { durability: Durability::PowerLoss, environment: Vec::new(), servers: None, redis: None }
    }
}

impl Setup {
    /// With one more setting: `section.key` as in the configuration.
    #[must_use]
    pub fn set(mut self, setting: &str, value: impl std::fmt::Display) -> Self {
        let name = format!("ORDERFLEET__{}", setting.replace('.', "__").to_uppercase());
        self.environment.push((name, value.to_string()));
        self
    }
}

/// Servers, sandbox and intake. Fields end in their order: nobody loses whom it still talks to, and the turn is last.
pub struct Fleet {
    /// The intake.
    pub intake: Process,
    sandbox: Process,
    /// Its Postgres and its Redis.
    pub servers: Servers,
    /// The Redis that it uses instead of the servers' own, where it has one.
    pub tampered: Option<Tampered>,
    /// Where its processes run, with their configuration and logs.
    pub folder: TempDir,
    environment: Vec<(String, String)>,
    /// Where the intake listens.
    pub address: SocketAddr,
    counterparty: SocketAddr,
    key: String,
    door: Door,
    workers: usize,
    intakes: usize,
    _turn: File,
}

impl Fleet {
    /// Starts everything but a worker.
    pub async fn start() -> Self {
        Self::set_up(Setup::default()).await
    }

    /// Starts everything but a worker, with a difference.
    pub async fn set_up(setup: Setup) -> Self {
        let turn = alone();
        // A second test of the process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let servers = match setup.servers {
            Some(servers) => servers,
            None => Servers::throw_away(Path::new(BASE), setup.durability).await.unwrap(),
        };
        let environment = setup.environment;
        let folder = folder();
        let command = || in_fleet(&folder, &environment);
        let (address, counterparty) = (free(), free());
        let redis = redis_url(&servers, setup.redis.as_ref());
        let config = configuration((&servers.database_url(), &redis), address, counterparty);
        std::fs::write(folder.path().join("fleet.toml"), config).unwrap();
        for arguments in [&["migrate"][..], &["catalog", "import", CATALOGUE]] {
            answer(&mut with(command(), arguments));
        }
        let made = answer(&mut with(command(), ["keys", "create", "--name", "faults"]));
        let key = made.lines().nth(1).unwrap().to_owned();
        let process = |role: &str| Process::start(role, folder.path(), with(command(), [role]));
        let (mut sandbox, mut intake) = (process("sandbox"), process("intake"));
        sandbox.says("sandbox listens").await;
        intake.says("intake listens").await;
        let door = Door::new(address, &key);
        let fleet = Self {
            intake,
            sandbox,
            servers,
            tampered: setup.redis,
            folder,
            environment,
            address,
            counterparty,
            key,
            door,
            workers: 0,
            intakes: 1,
            _turn: turn,
        };
        fleet.count(KEEP_ATTEMPTS).await;
        until("a ready intake", async || fleet.door.is_ready().await.then_some(())).await;
        fleet
    }

    /// The key with which its wishes are sent.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The binary with this fleet's configuration.
    pub fn command(&self) -> Command {
        in_fleet(&self.folder, &self.environment)
    }

    /// Kills the intake as a crash would, and starts its successor, which is not waited for.
    pub fn kill_intake(&mut self) {
        self.intakes += 1;
        let command = with(self.command(), ["intake"]);
        // Dropped, the old one is dead before its successor wants its port.
        self.intake.kill_now();
        self.intake = Process::start(&format!("intake-{}", self.intakes), self.folder.path(), command);
    }

    /// Starts a worker that is not waited for.
    pub fn worker(&mut self, arguments: &[&str]) -> Process {
        let command = with(with(self.command(), ["worker"]), arguments);
        self.worker_as(command)
    }

    /// Starts a worker by a command of the caller's.
    pub fn worker_as(&mut self, command: Command) -> Process {
        self.workers += 1;
        Process::start(&format!("worker-{}", self.workers), self.folder.path(), command)
    }

    /// Starts a worker, and waits until it works.
    pub async fn working(&mut self, arguments: &[&str]) -> Process {
        let mut worker = self.worker(arguments);
        worker.says("worker started").await;
        worker
    }

    /// Starts a worker in a folder of its own, so that what it finds in `proof/` is for it alone, with more environment.
    /// Waits until it works.
    pub async fn working_apart(&mut self, environment: &[(&str, &str)]) -> (Process, PathBuf) {
        self.workers += 1;
        let name = format!("worker-{}", self.workers);
        let folder = self.folder.path().join(&name);
        std::fs::create_dir_all(folder.join("proof")).unwrap();
        let mut command = orderfleet(&folder);
        command.args(["--config", "../fleet.toml", "worker"]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.envs(environment.iter().copied());
        let mut worker = Process::start(&name, self.folder.path(), command);
        worker.says("worker started").await;
        (worker, folder.join("proof"))
    }

    /// Jobs of the probes' lane that a worker holds, by its process's number.
    pub async fn held_by(&self, pid: u32) -> Vec<Uuid> {
        let records = self.redis(&["HGETALL", "{of:housekeeping:0}:t"]).await;
        let records: Vec<(Vec<u8>, Vec<u8>)> = redis::from_redis_value(records).unwrap();
        let holder = format!("-{pid}-");
        let is_its = |record: &[u8]| {
            let token = record.split(|byte| *byte == b'|').next().unwrap_or_default();
            String::from_utf8_lossy(token).contains(&holder)
        };
        let held = records.iter().filter(|(_, record)| is_its(record));
        held.map(|(id, _)| Uuid::from_slice(id).unwrap()).collect()
    }

    /// Where the outside is.
    pub fn sandbox_address(&self) -> SocketAddr {
        self.counterparty
    }

    /// Where Postgres listens.
    pub fn postgres_address(&self) -> SocketAddr {
        place(self.servers.database_url().expose_secret())
    }

    /// Where the sandbox listens.
    pub fn outside(&self) -> SocketAddr {
        self.counterparty
    }

    /// Where Redis listens.
    pub fn redis_address(&self) -> SocketAddr {
        place(self.redis_url().expose_secret())
    }

    /// How to reach its Redis.
    fn redis_url(&self) -> SecretString {
        redis_url(&self.servers, self.tampered.as_ref())
    }

    /// The address of Postgres by way of a proxy.
    pub fn database_url_through(&self, proxy: &Proxy) -> String {
        through(self.servers.database_url().expose_secret(), proxy)
    }

    /// The address of Redis by way of a proxy.
    pub fn redis_url_through(&self, proxy: &Proxy) -> String {
        through(self.redis_url().expose_secret(), proxy)
    }

    /// Sends a wish of its own, under this key.
    pub async fn wish(&self, key: &str) -> reqwest::Response {
        self.door.wish(key).await.unwrap()
    }

    /// Starts one more intake of this fleet, on the same servers; it is not waited for.
    pub fn another_intake(&mut self) -> (Process, SocketAddr) {
        self.intakes += 1;
        let (address, mut command) = (free(), with(self.command(), ["intake"]));
        command.env("ORDERFLEET__INTAKE__ADDRESS", address.to_string());
        (Process::start(&format!("intake-{}", self.intakes), self.folder.path(), command), address)
    }

    /// Sends a wish of its own, under this key, to one of several intakes.
    pub async fn wish_at(&self, door: SocketAddr, key: &str) -> reqwest::Result<reqwest::Response> {
        self.door.at(door).wish(key).await
    }

    /// The front door, for those who come at the same time.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Sends the same wish until it is reserved and can be paid.
    pub async fn reserved(&self, key: &str) {
        until("a reserved wish", async || {
            let answer = self.wish(key).await;
            assert!(answer.status() != StatusCode::CONFLICT, "the same wish is no other wish");
            let state: Value = answer.json().await.unwrap();
            (state["status"] == "reserved" && state["client_secret"].is_string()).then_some(())
        })
        .await;
    }

    /// Tells the sandbox what shall go wrong.
    pub async fn break_outside(&self, rules: Value) {
        self.door.break_outside(self.counterparty, &rules).await;
    }

    /// Whether the product's own audit finds every invariant held.
    pub fn audit_holds(&self) -> bool {
        let output = run(&mut with(self.command(), ["audit"]));
        if !output.status.success() {
            eprintln!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        output.status.success()
    }

    /// A number out of the database.
    pub async fn count(&self, statement: &str) -> i64 {
        self.select(statement).await
    }

    /// The first column of the last row of what a statement selects.
    pub async fn select<T>(&self, statement: &str) -> T
    where
        T: for<'a> sqlx::Decode<'a, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        use sqlx::{Connection, Row};
        let mut connection =
            sqlx::PgConnection::connect(self.servers.database_url().expose_secret()).await.unwrap();
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
        statement.fetch_all(&mut connection).await.unwrap().last().unwrap().get(0)
    }

    /// How many outcomes counted against a job so far, and why.
    pub async fn attempts(&self) -> String {
        let codes = "select coalesce(string_agg(code || ': ' || n, ', '), 'none')
                       from (select code, count(*) as n from attempts_ever group by code order by code) as c";
        self.select(codes).await
    }

    /// Waits until so many orders are paid.
    pub async fn paid(&self, orders: i64) {
        until("paid orders", async || (self.count(PAID).await >= orders).then_some(())).await;
    }

    /// A command of Redis.
    pub async fn redis(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.redis_url().expose_secret()).unwrap();
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(LONG));
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        let mut words = words.iter();
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut connection).await.unwrap()
    }

    /// Ends it in good order: none of its own has ended by itself meanwhile.
    pub async fn end(mut self) {
        for process in [&mut self.intake, &mut self.sandbox] {
            assert!(!process.has_ended(), "a role ended by itself");
            process.signal("TERM");
            assert!(process.ended().await.success());
        }
        self.servers.stop().await.unwrap();
    }
}

fn redis_url(servers: &Servers, tampered: Option<&Tampered>) -> SecretString {
    tampered.map_or_else(|| servers.redis_url(), Tampered::url)
}

/// `host:port` of a URL with a login.
fn place(url: &str) -> SocketAddr {
    let (_, after) = url.rsplit_once('@').unwrap();
    after.split('/').next().unwrap().parse().unwrap()
}

fn through(url: &str, proxy: &Proxy) -> String {
    url.replace(&place(url).to_string(), &proxy.address().to_string())
}

const PAID: &str = "select count(*) from payments where role = 'primary'";
/// The product forgets the attempts of a job that is done; a test must see each.
const KEEP_ATTEMPTS: &str = "
    create table attempts_ever (like attempts);
    create function keep_attempt() returns trigger language plpgsql as
      'begin insert into attempts_ever select new.*; return new; end';
    create trigger keep before insert on attempts for each row execute function keep_attempt();
    select 0::bigint";

fn in_fleet(folder: &TempDir, environment: &[(String, String)]) -> Command {
    let mut command = with(orderfleet(folder.path()), ["--config", "fleet.toml"]);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// What a command that must succeed answers.
pub fn answer(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// As an operator would write it, for an intake and a sandbox at these addresses; what is not here has its default, leases
/// and beats above all. Nothing is audited by itself: no figure may depend on the hour at which it is taken.
pub fn configuration(
    (postgres, redis): (&SecretString, &SecretString),
    intake: SocketAddr,
    sandbox: SocketAddr,
) -> String {
    let smtp = free();
    format!(
        r#"
[postgres]
url = "{postgres}"
[redis]
url = "{redis}"
[intake]
address = "{intake}"
health_port = 0
[worker]
health_port = 0
audit_hour = 24
[ops]
health_port = 0
[stripe]
secret_key = "sk_test_faults"
webhook_secrets = ["whsec_faults"]
api_base = "http://{sandbox}/"
[calls.stripe]
a_second = 0
[easypost]
api_key = "EZTK_faults"
webhook_secrets = ["faults"]
api_base = "http://{sandbox}/v2"
[smtp]
url = "smtp://{smtp}"
[security]
secret = "a secret of at least thirty-two characters"
[sandbox]
address = "{sandbox}"
smtp_address = "{smtp}"
stripe_webhook_url = "http://{intake}/webhooks/stripe"
easypost_webhook_url = "http://{intake}/webhooks/easypost"
"#,
        postgres = postgres.expose_secret(),
        redis = redis.expose_secret(),
    )
}
