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

/// Looks at every server that may be written to. What is found is said of its server, where there are several.
pub(super) async fn examine(link: &Link) -> Result<Durability, QueueError> {
    let mut found = Durability::default();
    for (place, info) in link.ask_masters::<String>(redis::cmd("INFO").arg("everything")).await? {
        let server = Durability::of(&info?);
        let at = |what: String| if place.is_empty() { what } else { format!("{place}: {what}") };
        found.faults.extend(server.faults.into_iter().map(at));
        found.advice.extend(server.advice.into_iter().map(at));
        // The oldest one is what all scripts have to live with.
        if found.version.is_empty() || numbers(&server.version) < numbers(&found.version) {
            found.version = server.version;
        }
    }
    for (name, wanted, why) in WANTED {
        for (place, given) in
            link.ask_masters::<Vec<String>>(redis::cmd("CONFIG").arg("GET").arg(name)).await?
        {
            let at = if place.is_empty() { place } else { format!("{place}: ") };
            let advice = match given.as_deref() {
                Ok([_, value]) if value == wanted => continue,
                Ok([_, value]) => format!("{at}set `{name} {wanted}` (now {value}): {why}"),
                Ok(_) | Err(_) => {
                    format!("{at}see that `{name}` is {wanted} (CONFIG is not ours to ask): {why}")
                }
            };
            found.advice.push(advice);
        }
    }
    Ok(found)
}

impl Durability {
    /// What one server's INFO says.
    fn of(info: &str) -> Self {
        let info: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let says = |name: &str| info.get(name).copied().unwrap_or_default();
        let mut found = Self { version: says("redis_version").to_owned(), ..Self::default() };
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
            found
                .faults
                .push("the append-only file cannot be written (aof_last_write_status is err)".to_owned());
        }
        if says("connected_slaves") != "0" && says("min_slaves_good_slaves").is_empty() {
            found.advice.push(
                "set `min-replicas-to-write 1`: an old master may acknowledge what a failover throws away"
                    .to_owned(),
            );
        }
        found
    }
}

/// A version, for comparing.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}
