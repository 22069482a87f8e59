//! Redis servers beyond the fleet's one: a cluster of masters with a replica each, and a master watched by Sentinels.
//!
//! They run on loopback in a folder of their own, write what they acknowledge through to disk, and end with their value.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use redis::{FromRedisValue, RedisResult};
use tempfile::TempDir;

use crate::fleet::free;
use crate::process::until;

/// Where a redis-server may be, should PATH not say.
const PLACES: [&str; 3] = ["redis-server", "/usr/bin/redis-server", "/usr/local/bin/redis-server"];
/// How long a node is silent until the others give it up: short, so that a proof sees several failovers.
const NODE_TIMEOUT_MS: u64 = 1_500;
/// Slots of a cluster.
const SLOTS: usize = 16_384;
/// Sentinels, and how many must agree.
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// One server.
pub struct RedisServer {
    child: Option<Child>,
    address: SocketAddr,
    folder: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts one, with more settings than the usual.
    pub async fn start(more: &[&str]) -> Self {
        let address = free_with_bus();
        let (port, mut arguments) = (address.port().to_string(), Vec::new());
        arguments.extend(["--port", &port, "--bind", "127.0.0.1", "--appendonly", "yes"].map(str::to_owned));
        arguments.extend(["--appendfsync", "always", "--save", ""].map(str::to_owned));
        arguments.extend(["--maxmemory-policy", "noeviction"].map(str::to_owned));
        arguments.extend(more.iter().map(ToString::to_string));
        Self::run(address, arguments).await
    }

    async fn run(address: SocketAddr, arguments: Vec<String>) -> Self {
        let mut server = Self { child: None, address, folder: tempfile::tempdir().unwrap(), arguments };
        server.start_again().await;
        server
    }

    /// Starts it on what it had, and waits until it answers.
    pub async fn start_again(&mut self) {
        let log = || File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        self.child = PLACES.iter().find_map(|place| {
            let mut command = Command::new(place);
            command.args(&self.arguments).current_dir(self.folder.path());
            command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().ok()
        });
        assert!(self.child.is_some(), "no redis-server on this machine");
        until("a Redis that answers", async || self.ask::<String>(&["PING"]).await.ok()).await;
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process's number; 0 of a dead one.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Whether it was not killed.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.child.is_some()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a command on a connection of its own.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let client = redis::Client::open(format!("redis://{}", self.address))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    }

    /// One line of a section of INFO.
    pub async fn info(&self, section: &str, name: &str) -> String {
        let info: String = self.ask(&["INFO", section]).await.unwrap_or_default();
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- Redis at {}:\n{}",
                self.address,
                lines[lines.len().saturating_sub(12)..].join("\n")
            );
        }
    }
}

/// A Redis Cluster: as many replicas as masters.
pub struct RedisCluster {
    /// All nodes, masters first as they were at the start.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts so many masters with a replica each, and waits until every slot is served.
    pub async fn start(masters: usize) -> Self {
        let timeout = NODE_TIMEOUT_MS.to_string();
        let mut settings = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", &timeout];
        // As the README asks for: else every master stops where one is down.
        settings.extend(["--cluster-require-full-coverage", "no"]);
        let mut nodes = Vec::new();
        for _ in 0..2 * masters {
            nodes.push(RedisServer::start(&settings).await);
        }
        let cluster = Self { nodes };
        let first = cluster.nodes[0].address();
        for (at, node) in cluster.nodes.iter().enumerate() {
            if at < masters {
                let (from, to) = (at * SLOTS / masters, (at + 1) * SLOTS / masters - 1);
                let range = [from.to_string(), to.to_string()];
                let () = node.ask(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await.unwrap();
            }
            let epoch = (at + 1).to_string();
            let () = node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await.unwrap();
            let (host, port) = (first.ip().to_string(), first.port().to_string());
            let () = node.ask(&["CLUSTER", "MEET", &host, &port]).await.unwrap();
        }
        for at in masters..2 * masters {
            let master: String = cluster.nodes[at - masters].ask(&["CLUSTER", "MYID"]).await.unwrap();
            let follow = async || cluster.nodes[at].ask::<()>(&["CLUSTER", "REPLICATE", &master]).await.ok();
            until("a replica that knows its master", follow).await;
        }
        cluster.is_whole().await;
        cluster
    }

    /// Waits until every node that lives sees every slot served and every replica is in step.
    pub async fn is_whole(&self) {
        until("a whole cluster", async || {
            for node in self.nodes.iter().filter(|node| node.lives()) {
                let info: String = node.ask(&["CLUSTER", "INFO"]).await.ok()?;
                let is_ok = info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
                let is_replica = node.info("replication", "role").await == "slave";
                let in_step = !is_replica || node.info("replication", "master_link_status").await == "up";
                if !is_ok || !in_step {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// `redis.url`: all of its nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let places: Vec<String> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("redis://{}", places.join(","))
    }

    /// Which node is the master of this key; none while nobody is.
    pub async fn master_of(&self, key: &str) -> Option<usize> {
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.lives()) {
            // A replica and every other master answer MOVED.
            if node.ask::<redis::Value>(&["EXISTS", key]).await.is_ok() {
                return Some(at);
            }
        }
        None
    }

    /// Asks whoever is the master of this key.
    pub async fn ask<T: FromRedisValue>(&self, key: &str, words: &[&str]) -> Option<T> {
        let at = self.master_of(key).await?;
        self.nodes[at].ask(words).await.ok()
    }
}

/// A master with a replica, and the Sentinels that watch them.
pub struct RedisSentinels {
    /// The two servers; the first one was the master at the start.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinels {
    /// The name under which the master is watched.
    pub const MASTER: &str = "orderfleet";

    /// Starts all of them, and waits until the Sentinels know each other and the replica.
    pub async fn start() -> Self {
        let master = RedisServer::start(&[]).await;
        let (host, port) = (master.address().ip().to_string(), master.address().port().to_string());
        let replica = RedisServer::start(&["--replicaof", &host, &port]).await;
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            let address = free_with_bus();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("sentinel.conf");
            let name = Self::MASTER;
            let settings = format!(
                "port {}\nbind 127.0.0.1\nsentinel monitor {name} {host} {port} {QUORUM}\n\
                 sentinel down-after-milliseconds {name} {NODE_TIMEOUT_MS}\nsentinel failover-timeout {name} 5000\n",
                address.port()
            );
            fs::write(&file, settings).unwrap();
            let arguments = vec![file.to_string_lossy().into_owned(), "--sentinel".to_owned()];
            let mut sentinel = RedisServer { child: None, address, folder, arguments };
            sentinel.start_again().await;
            sentinels.push(sentinel);
        }
        let all = Self { servers: vec![master, replica], sentinels };
        until("Sentinels that know each other and the replica", async || {
            for sentinel in &all.sentinels {
                let known: String = sentinel.ask(&["INFO", "sentinel"]).await.ok()?;
                if !known.contains(&format!("status=ok,address={host}:{port},slaves=1,sentinels={SENTINELS}"))
                {
                    return None;
                }
            }
            Some(())
        })
        .await;
        all
    }

    /// `redis.url`: the Sentinels.
    #[must_use]
    pub fn url(&self) -> String {
        let places: Vec<String> = self.sentinels.iter().map(|one| one.address().to_string()).collect();
        format!("redis://{}", places.join(","))
    }

    /// Starts the dead server again, and waits until it follows the other one.
    pub async fn bring_back(&mut self) {
        for server in self.servers.iter_mut().filter(|server| !server.lives()) {
            server.start_again().await;
            // It comes back as the master that it was, until a Sentinel sees it.
            until("a replica in step", async || {
                let is_replica = server.info("replication", "role").await == "slave";
                let in_step = server.info("replication", "master_link_status").await == "up";
                (is_replica && in_step).then_some(())
            })
            .await;
        }
    }

    /// Which of the two servers is the master; none while none is.
    pub async fn master(&self) -> Option<usize> {
        for (at, server) in self.servers.iter().enumerate().filter(|(_, server)| server.lives()) {
            if server.info("replication", "role").await == "master" {
                return Some(at);
            }
        }
        None
    }
}

/// A free port whose neighbour 10,000 above is free too: a cluster's nodes talk to each other there.
fn free_with_bus() -> SocketAddr {
    loop {
        let address = free();
        let bus = SocketAddr::new(address.ip(), address.port() + 10_000);
        if TcpListener::bind(bus).is_ok() {
            return address;
        }
    }
}
