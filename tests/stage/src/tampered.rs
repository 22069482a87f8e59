//! A Redis of the stage's own, whose disk and clock can be tampered with while it runs, and whose power can be cut.
//!
//! A small library is built with `cc` and preloaded into this one server: it slows syncs down, moves the clock, and keeps
//! count of what has surely reached the disk. A kill alone proves little about a disk: the kernel still writes what the
//! dead had written. So a cut of power also takes back what was not synced.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use orderfleet::ids::random_bytes;
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use crate::fleet::free;
use crate::process::{Process, folder, until};

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shim/tampered.c");
/// Places in the file of words, as the shim has them: eight bytes each.
const SYNC_MS: u64 = 0;
const CLOCK_MS: u64 = 8;
const SYNCED_FILE: u64 = 16;
const SYNCED_BYTES: u64 = 24;
const WORDS: u64 = 32;

/// A Redis under our thumb. It syncs before it acknowledges (`appendfsync always`).
pub struct Tampered {
    process: Option<Process>,
    words: File,
    url: SecretString,
    folder: TempDir,
    starts: usize,
}

impl Tampered {
    /// Builds the shim and starts the server with it.
    pub async fn start() -> Self {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", SHIM, "-o"]);
        assert!(cc.arg(path("tampered.so")).status().unwrap().success(), "the shim could not be built");
        let words = OpenOptions::new().read(true).write(true).create_new(true).open(path("words")).unwrap();
        words.set_len(WORDS).unwrap();
        let (address, password) = (free(), u64::from_le_bytes(random_bytes::<8>()));
        let settings = format!(
            "bind 127.0.0.1\nport {}\nrequirepass {password}\nappendonly yes\nappendfsync always\n\
             no-appendfsync-on-rewrite no\nauto-aof-rewrite-percentage 0\nsave \"\"\nmaxmemory-policy noeviction\n",
            address.port()
        );
        std::fs::write(path("redis.conf"), settings).unwrap();
        let url = format!("redis://default:{password}@{address}").into();
        let mut tampered = Self { process: None, words, url, folder, starts: 0 };
        tampered.start_again().await;
        tampered
    }

    /// Starts it on what the disk has, and waits until it answers.
    pub async fn start_again(&mut self) {
        self.starts += 1;
        let folder = self.folder.path();
        let mut command = Command::new("redis-server");
        command.arg(folder.join("redis.conf")).arg("--dir").arg(folder);
        command.env("LD_PRELOAD", folder.join("tampered.so")).env("TAMPERED", folder.join("words"));
        self.process = Some(Process::start(&format!("redis-{}", self.starts), folder, command));
        let client = redis::Client::open(self.url().expose_secret()).unwrap();
        until("an answer of Redis", async || {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
    }

    /// How to reach it.
    #[must_use]
    pub fn url(&self) -> SecretString {
        self.url.clone()
    }

    /// Every sync takes so long from now on, in milliseconds.
    pub fn slow_disk(&self, sync_ms: i64) {
        self.write(SYNC_MS, sync_ms);
    }

    /// Its clock is so far ahead from now on, in milliseconds; negative is behind.
    pub fn set_clock(&self, ahead_ms: i64) {
        self.write(CLOCK_MS, ahead_ms);
    }

    /// Cuts its power: it is killed, and what it had not synced is gone. Answers how many bytes that were.
    pub fn cut_power(&mut self) -> u64 {
        drop(self.process.take());
        let synced = u64::try_from(self.read(SYNCED_BYTES)).unwrap();
        let log = self.log_on_disk();
        let written = log.metadata().unwrap().len();
        assert!(synced <= written, "{synced} bytes of {written} are synced");
        log.set_len(synced).unwrap();
        written - synced
    }

    /// The file that was appended to last.
    fn log_on_disk(&self) -> File {
        let inode = u64::try_from(self.read(SYNCED_FILE)).unwrap();
        let files = files(&self.folder.path().join("appendonlydir"));
        let is_it = |path: &&PathBuf| path.metadata().is_ok_and(|about| about.ino() == inode);
        let log = files.iter().find(is_it).expect("the file that was synced last");
        OpenOptions::new().write(true).open(log).unwrap()
    }

    fn write(&self, place: u64, word: i64) {
        self.words.write_all_at(&word.to_ne_bytes(), place).unwrap();
    }

    fn read(&self, place: u64) -> i64 {
        let mut word = [0; 8];
        self.words.read_exact_at(&mut word, place).unwrap();
        i64::from_ne_bytes(word)
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
