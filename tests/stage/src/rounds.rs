//! Rounds that are kept: a long proof goes on where it ended, and its figures stay to be read.
//!
//! One line of JSON for each round, in `.orderfleet/proofs/NAME-SEED.jsonl` below the clone. The same name and seed find
//! them again.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.orderfleet/proofs");

/// The rounds of one proof and seed.
pub struct Rounds<T> {
    file: PathBuf,
    rounds: Vec<T>,
}

impl<T: Serialize + DeserializeOwned> Rounds<T> {
    /// Those that were kept; none for a new seed. A line that was cut off by a crash is left out.
    #[must_use]
    pub fn open(name: &str, seed: u64) -> Self {
        fs::create_dir_all(FOLDER).unwrap();
        let file = PathBuf::from(FOLDER).join(format!("{name}-{seed}.jsonl"));
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let rounds = kept.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { file, rounds }
    }

    /// Adds one, on disk first.
    pub fn keep(&mut self, round: T) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file).unwrap();
        writeln!(file, "{}", serde_json::to_string(&round).unwrap()).unwrap();
        file.sync_all().unwrap();
        self.rounds.push(round);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.rounds.len()).unwrap()
    }

    /// Whether none was kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// All of them, the first one first.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.rounds.iter()
    }
}
