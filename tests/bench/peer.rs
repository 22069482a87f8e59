//! A peer: somebody else's queue, driven by a program of its own that says how long each phase took.
//!
//! `scripts/bench` installs what `--vs` names below `.tools/peers/` before this program starts. A peer that is not there
//! could not be had: that is said, and its bar is missed, because nothing was measured.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::process::Command;

use crate::queue::{BATCH, BODY, IN_FLIGHT, Phases};

/// Where `scripts/bench` put them.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/peers");

/// A peer's program and the best settings that were found for it.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// We are to be so many times as fast.
    pub(crate) bar: f64,
    program: &'static str,
    arguments: &'static [&'static str],
    /// What must be there for it to run.
    file: &'static str,
    /// Jobs that its worker has in hand at once: tried from 50 to 1,000, this is where it was fastest.
    concurrency: usize,
}

/// Whom the queue is compared with.
pub(crate) const PEERS_OF_QUEUE: &[Peer] = &[
    Peer {
        name: "bullmq",
        bar: 5.0,
        program: "node",
        arguments: &["driver.js"],
        file: "driver.js",
        concurrency: 100,
    },
    Peer {
        name: "bullmq-rust",
        bar: 3.0,
        program: "./bench-bullmq-rust",
        arguments: &[],
        file: "bench-bullmq-rust",
        concurrency: 100,
    },
];

/// What a driver prints last.
#[derive(Deserialize)]
struct Answer {
    push_seconds: f64,
    work_seconds: f64,
    version: String,
}

/// Where `scripts/bench` put a peer; none where this file of it is missing.
pub(crate) fn folder(name: &str, file: &str) -> Option<PathBuf> {
    let folder = Path::new(PEERS).join(name);
    folder.join(file).exists().then_some(folder)
}

impl Peer {
    /// Whether `scripts/bench` could install it.
    pub(crate) fn is_there(&self) -> bool {
        folder(self.name, self.file).is_some()
    }

    /// One round: how long it took, and what it was.
    pub(crate) async fn round(&self, redis: &SecretString, jobs: usize) -> (Phases, String) {
        let folder = PathBuf::from(PEERS).join(self.name);
        let mut command = Command::new(self.program);
        command.args(self.arguments).current_dir(folder).env("REDIS_URL", redis.expose_secret());
        command.args([jobs, BODY, BATCH, IN_FLIGHT, self.concurrency].map(|number| number.to_string()));
        let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await.unwrap();
        assert!(output.status.success(), "{} ended with {}", self.name, output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        let Answer { push_seconds, work_seconds, version } = serde_json::from_str(line).unwrap();
        (Phases { push: push_seconds, work: work_seconds }, version)
    }
}
