//! Every Redis key, one function each.
//!
//! All keys of a lane's partition carry one hash tag, `{prefix:lane:partition}`, so that no script crosses a slot. The
//! names are short because they are sent with every call. Nothing outside this file may write a key's name.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::partitions::Partition;
use crate::ids::IntentId;
use crate::job::Band;

/// The keys of one lane's partition, in the order in which every script expects them (see `scripts/prelude.lua`).
#[derive(Clone, Debug)]
pub(super) struct LaneKeys {
    tag: String,
    all: Vec<String>,
}

impl LaneKeys {
    pub(super) fn new(prefix: &str, partition: Partition) -> Self {
        let tag = format!("{{{prefix}:{partition}}}");
        let mut keys = Self { all: Vec::new(), tag };
        keys.all = std::iter::once(keys.bodies())
            .chain(Band::ALL.into_iter().map(|band| keys.waiting(band)))
            .chain([keys.suspects(), keys.alone(), keys.delayed(), keys.leases(), keys.records()])
            .chain([keys.buried(), keys.reasons(), keys.parked(), keys.meter(), keys.wake()])
            .collect();
        keys
    }

    /// All of them, as KEYS 1 to 15.
    pub(super) fn all(&self) -> &[String] {
        &self.all
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    /// Hash: id → envelope. Whatever waits, is delayed, leased or parked is in here.
    pub(super) fn bodies(&self) -> String {
        self.key("j")
    }

    /// List of ids: a band's waiting jobs.
    pub(super) fn waiting(&self, band: Band) -> String {
        self.key(&format!("w{}", band.number()))
    }

    /// List of ids whose lease ended once: handed over in small slices.
    pub(super) fn suspects(&self) -> String {
        self.key("s")
    }

    /// List of ids whose lease ended again: handed over alone.
    pub(super) fn alone(&self) -> String {
        self.key("a")
    }

    /// Sorted set: due time in ms → id.
    pub(super) fn delayed(&self) -> String {
        self.key("d")
    }

    /// Sorted set: end of the lease in ms → id.
    pub(super) fn leases(&self) -> String {
        self.key("l")
    }

    /// Hash: id → token, deliveries, strikes, stage.
    pub(super) fn records(&self) -> String {
        self.key("t")
    }

    /// Sorted set: burial in ms → id.
    pub(super) fn buried(&self) -> String {
        self.key("x")
    }

    /// Hash: id → reason and envelope of what was buried.
    pub(super) fn reasons(&self) -> String {
        self.key("xr")
    }

    /// Sorted set: parking in ms → id.
    pub(super) fn parked(&self) -> String {
        self.key("pk")
    }

    /// Hash: counters `lease`, `pushed`, `done`, and `promoted` (what was done at the last promotion); `paused`; `epoch`;
    /// the fleet's limits `most_leased`, `most_a_second`, and where they stand: `next_place`, `held`; `pace`, what a worker
    /// does in a second, in the lane's first partition.
    pub(super) fn meter(&self) -> String {
        self.key("m")
    }

    /// List of one token at most: somebody should look.
    pub(super) fn wake(&self) -> String {
        self.key("wake")
    }

    /// Sorted set: when a caller who was sent away may come back, in ms → its intent. Intents' lane only.
    pub(super) fn promises(&self) -> String {
        self.key("p")
    }

    /// String: fingerprint, version and public state of an intent. In this slot, so that it is written with its copy.
    pub(super) fn intent(&self, id: IntentId) -> String {
        // In 22 characters: a day's intents are many, and Redis's next size of memory begins at 44.
        let mut key = self.key("i:");
        URL_SAFE_NO_PAD.encode_string(id.uuid(), &mut key);
        key
    }
}

/// The keys of the fleet's workers, in the order of `scripts/beat.lua`. Sorted set: last beat in ms → worker's name; hash:
/// name → card; hash: what is known of the server; hash: names of those that are to drain; hash: `lane:partitions` → when a
/// process last went by that number.
pub(super) fn workers(prefix: &str) -> [String; 5] {
    ["beats", "cards", "server", "drains", "parts"].map(|name| format!("{{{prefix}:workers}}:{name}"))
}

/// The keys of one provider, in the order of `scripts/permit.lua`. Hash: breaker and rate; sorted set: end in ms →
/// number of a call that is being made.
pub(super) fn provider(prefix: &str, provider: &str) -> [String; 2] {
    ["state", "calls"].map(|name| format!("{{{prefix}:provider:{provider}}}:{name}"))
}

/// Hash: article → version of its stock row, and pieces left; of those that ran out.
pub(super) fn stock(prefix: &str) -> String {
    format!("{{{prefix}:stock}}:left")
}

/// String: when all tries of one who tries to buy are worked off, in ms. In a slot of its own.
pub(super) fn visits(prefix: &str, who: &str) -> String {
    format!("{{{prefix}:visits:{who}}}")
}

/// The channel on which changed public states of intents are told.
pub(super) fn changes(prefix: &str) -> String {
    format!("{prefix}:intents")
}
