//! A private redis-server: a free port, a folder of its own, killed by its id at the end.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use secrecy::SecretString;

use crate::config::{RedisMode, RedisSettings};
use crate::ids::random_bytes;

/// Where a redis-server may be, should PATH not say.
const PLACES: [&str; 3] = ["redis-server", "/usr/bin/redis-server", "/usr/local/bin/redis-server"];

pub(crate) struct Server {
    child: Option<Child>,
    port: u16,
    folder: PathBuf,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir()
            .join(format!("orderfleet-redis-{:016x}", u64::from_le_bytes(random_bytes())));
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Self { child: None, port, folder };
        server.run(&[]).await;
        server
    }

    /// Runs it on its folder, and waits until it answers.
    pub(crate) async fn run(&mut self, more: &[&str]) {
        let port = self.port.to_string();
        let mut args = vec!["--port", &port, "--bind", "127.0.0.1", "--appendonly", "yes"];
        args.extend(["--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]);
        args.extend(more);
        self.child = PLACES.iter().find_map(|place| {
            let mut command = Command::new(place);
            command.args(&args).current_dir(&self.folder).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        });
        assert!(self.child.is_some(), "no redis-server on this machine");
        for _ in 0..200 {
            if let Ok(mut connection) = self.client().get_connection()
                && redis::cmd("PING").query::<String>(&mut connection).is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("redis-server on port {port} does not answer");
    }

    /// As a power loss would: no goodbye.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    /// Sends a command on a connection of its own.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.client().get_connection().unwrap()).unwrap()
    }

    pub(crate) fn settings(&self) -> RedisSettings {
        RedisSettings {
            url: SecretString::from(format!("redis://127.0.0.1:{}", self.port)),
            prefix: "t".to_owned(),
            connect_timeout_ms: 1_000,
            response_timeout_ms: 1_000,
            require_durable: true,
            mode: RedisMode::Single,
            sentinel_master: String::new(),
            sentinel_password: SecretString::from(""),
            wait_replicas: 0,
            wait_ms: 500,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
