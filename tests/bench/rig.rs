//! Private servers for a bench, and a look into their Redis.

use std::collections::BTreeMap;
use std::path::Path;

use orderfleet::config::{QueueSettings, RedisSettings, Settings, Sources, load};
use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::queue::Queue;
use secrecy::ExposeSecret;

/// Below the clone, where any user who can build can also start servers.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.orderfleet");

/// A private Redis (with its Postgres, which rests), and the product's own settings for it.
pub(crate) struct Rig {
    servers: Servers,
    pub(crate) redis: RedisSettings,
    pub(crate) queue: QueueSettings,
    connection: redis::aio::MultiplexedConnection,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let servers = Servers::throw_away(Path::new(BASE), Durability::PowerLoss).await.unwrap();
        let Settings { mut redis, queue, .. } = load(&Sources::default()).unwrap();
        redis.url = servers.redis_url();
        let client = redis::Client::open(redis.url.expose_secret()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let rig = Self { servers, redis, queue, connection };
        // A rewrite of the log would fall on whoever happens to run.
        rig.ask::<()>(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "0"]).await;
        rig
    }

    /// The product's handle: a connection of its own.
    pub(crate) async fn connect(&self) -> Queue {
        Queue::connect(&self.redis, &self.queue, &BTreeMap::new()).await.unwrap()
    }

    /// A plain connection, for the floor.
    pub(crate) fn connection(&self) -> redis::aio::MultiplexedConnection {
        self.connection.clone()
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut self.connection.clone()).await.unwrap()
    }

    /// Everything gone, as before the first round.
    pub(crate) async fn wipe(&self) {
        self.ask::<()>(&["FLUSHALL"]).await;
    }

    pub(crate) async fn end(self) {
        self.servers.stop().await.unwrap();
    }
}

/// A number of what `INFO` says.
pub(crate) fn field(info: &str, name: &str) -> f64 {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(f64::NAN)
}

/// A count as a figure.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}
