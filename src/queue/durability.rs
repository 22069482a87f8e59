//! Whether this Redis keeps what it acknowledges.
//!
//! Two settings decide whether anything survives at all (append-only file, no eviction) and are demanded; the others
//! bound what a power loss or a failover takes, and are advised.

use std::collections::HashMap;

use super::client::Link;
use super::error::QueueError;

/// What was found, for `doctor`.
#[derive(Clone, Debug, Default)]
pub struct Durability {
    /// Redis's version.
    pub version: String,
    /// What must be changed: acknowledged jobs could be lost or evicted.
    pub faults: Vec<String>,
    /// What should be changed, and what it would save.
    pub advice: Vec<String>,
}

/// Asked of CONFIG: name, the value that we want, why.
const WANTED: [(&str, &str, &str); 2] = [
    ("appendfsync", "always", "with everysec a power loss takes up to two seconds of acknowledged jobs"),
    ("no-appendfsync-on-rewrite", "no", "during a rewrite of the file nothing would be synced"),
];

pub(super) async fn examine(link: &Link) -> Result<Durability, QueueError> {
    let info: String = link.send(redis::cmd("INFO").arg("everything")).await?;
    let info: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
    let says = |name: &str| info.get(name).copied().unwrap_or_default();
    let mut found = Durability { version: says("redis_version").to_owned(), ..Durability::default() };
    if says("aof_enabled") != "1" {
        found.faults.push("set `appendonly yes`: a restart would lose every waiting job".to_owned());
    }
    if says("maxmemory_policy") != "noeviction" {
        found.faults.push(format!(
            "set `maxmemory-policy noeviction` (now {}): a full Redis would throw jobs away",
            says("maxmemory_policy")
        ));
    }
    if says("aof_last_write_status") == "err" {
        found.faults.push("the append-only file cannot be written (aof_last_write_status is err)".to_owned());
    }
    for (name, wanted, why) in WANTED {
        let given: Result<Vec<String>, QueueError> =
            link.send(redis::cmd("CONFIG").arg("GET").arg(name)).await;
        match given.as_deref() {
            Ok([_, value]) if value == wanted => {}
            Ok([_, value]) => found.advice.push(format!("set `{name} {wanted}` (now {value}): {why}")),
            Ok(_) | Err(_) => {
                found
                    .advice
                    .push(format!("see that `{name}` is {wanted} (CONFIG is not ours to ask): {why}"));
            }
        }
    }
    if says("connected_slaves") != "0" && says("min_slaves_good_slaves").is_empty() {
        found.advice.push(
            "set `min-replicas-to-write 1`: an old master may acknowledge what a failover throws away"
                .to_owned(),
        );
    }
    Ok(found)
}
