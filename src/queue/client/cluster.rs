//! A Redis Cluster: which node holds a key, and what to do when it no longer does.
//!
//! Why not the client's own: it repeats commands by itself, keeps connections that fell silent, and tells nobody where a
//! key is, which blocking reads have to know. Every call here has keys of one slot only, so all that is left is a map from
//! slots to nodes, and following MOVED and ASK once. Nodes are independent of each other: a dead one is the business of
//! the lanes that it holds, and of no other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value};

use super::address::Address;
use super::node::{Node, Patience, Place, Request};
use crate::time::Stopwatch;

/// How long nodes may take to show their maps; a silent one must not keep the others from being heard.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks: callers of a dead node come every few milliseconds.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Cluster {
    address: Address,
    patience: Patience,
    map: Mutex<Map>,
    /// One look at a time, and when it was.
    looked: tokio::sync::Mutex<Option<Stopwatch>>,
}

#[derive(Default)]
struct Map {
    nodes: HashMap<String, Arc<Node>>,
    /// Last slot of a range → its first one, and the master that holds it.
    ranges: BTreeMap<u16, (u16, String)>,
}

/// The cluster as one node sees it.
#[derive(Default)]
struct View {
    /// Rises with each failover: whoever knows a higher one knows better.
    epoch: u64,
    ranges: BTreeMap<u16, (u16, String)>,
    replicas: Vec<String>,
}

impl Cluster {
    pub(super) fn new(address: Address, patience: Patience) -> Self {
        Self { address, patience, map: Mutex::default(), looked: tokio::sync::Mutex::default() }
    }

    /// Sends a request to the node that holds the key's slot.
    pub(super) async fn ask<T: FromRedisValue>(&self, key: &str, request: &Request<'_>) -> RedisResult<T> {
        let node = self.holder(key).await?;
        let answer = node.ask(request, false).await;
        let Err(error) = answer else { return answer };
        let Some(elsewhere) = self.redirected(&error)? else {
            self.look_again(&error).await;
            return Err(error);
        };
        // Once: whoever is sent on again meets a slot in motion, and may come back later.
        if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Ask)) {
            return elsewhere.ask(request, true).await;
        }
        self.look_again(&error).await;
        elsewhere.ask(request, false).await
    }

    /// The master that holds the key's slot, as far as is known.
    pub(super) async fn holder(&self, key: &str) -> RedisResult<Arc<Node>> {
        let slot = slot_of(key);
        if self.map().ranges.is_empty() {
            self.look(&mut *self.looked.lock().await).await;
        }
        self.map().holder(slot).ok_or_else(nobody)
    }

    /// Every master.
    pub(super) async fn masters(&self) -> RedisResult<Vec<(String, Arc<Node>)>> {
        self.look(&mut *self.looked.lock().await).await;
        let map = self.map();
        let mut names: Vec<&String> = map.ranges.values().map(|(_, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        let found: Vec<_> = names
            .into_iter()
            .filter_map(|name| Some((name.clone(), map.nodes.get(name).cloned()?)))
            .collect();
        if found.is_empty() { Err(nobody()) } else { Ok(found) }
    }

    /// Draws the map anew after an error that a failover or a moved slot may explain. Whoever met the error waits for it;
    /// callers of healthy nodes go on with the old map.
    pub(super) async fn look_again(&self, error: &RedisError) {
        let may_be_elsewhere = error.is_io_error()
            || error.is_timeout()
            || matches!(
                error.kind(),
                ErrorKind::Server(
                    ServerErrorKind::Moved | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown
                )
            );
        if may_be_elsewhere
            && let Ok(mut looked) = self.looked.try_lock()
            && looked.as_ref().is_none_or(|since| since.elapsed() >= AGAIN)
        {
            self.look(&mut looked).await;
        }
    }

    /// The node that an error names, made known if it was not.
    fn redirected(&self, error: &RedisError) -> RedisResult<Option<Arc<Node>>> {
        let Some((place, _)) = error.redirect_node() else { return Ok(None) };
        self.node(&mut self.map(), place).map(Some)
    }

    fn node(&self, map: &mut Map, place: &str) -> RedisResult<Arc<Node>> {
        if let Some(node) = map.nodes.get(place) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(Node::new(Place::Fixed(Box::new(self.address.client(place)?)), self.patience));
        map.nodes.insert(place.to_owned(), Arc::clone(&node));
        Ok(node)
    }

    /// Asks every node that is known, and believes the one that has seen the latest failover.
    async fn look(&self, looked: &mut Option<Stopwatch>) {
        let nodes: Vec<(String, Arc<Node>)> = {
            let mut map = self.map();
            let named = self.address.hosts().iter();
            let named = named.filter_map(|host| Some((host.clone(), self.node(&mut map, host).ok()?)));
            let named: HashMap<String, Arc<Node>> = named.collect();
            map.nodes.clone().into_iter().chain(named).collect::<HashMap<_, _>>().into_iter().collect()
        };
        let views = join_all(
            nodes
                .iter()
                .map(async |(name, node)| tokio::time::timeout(LOOK, view(name, node)).await.ok()?.ok()),
        )
        .await;
        *looked = Some(Stopwatch::start());
        let Some(view) = views.into_iter().flatten().max_by_key(|view| view.epoch) else { return };
        let mut map = self.map();
        let masters = view.ranges.values().map(|(_, name)| name);
        let there: Vec<&String> = masters.chain(&view.replicas).chain(self.address.hosts()).collect();
        map.nodes.retain(|name, _| there.contains(&name));
        for name in there {
            // What cannot be read as an address is nobody's.
            let _ = self.node(&mut map, name);
        }
        map.ranges = view.ranges;
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn holder(&self, slot: u16) -> Option<Arc<Node>> {
        let (_, (first, name)) = self.ranges.range(slot..).next()?;
        (*first <= slot).then(|| self.nodes.get(name).cloned()).flatten()
    }
}

/// Asks one node for its view.
async fn view(name: &str, node: &Node) -> RedisResult<View> {
    let info: String = node.ask(&Request::Command(redis::cmd("CLUSTER").arg("INFO")), false).await?;
    let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
    let ranges: Vec<Vec<Value>> =
        node.ask(&Request::Command(redis::cmd("CLUSTER").arg("SLOTS")), false).await?;
    let mut view =
        View { epoch: epoch.and_then(|epoch| epoch.trim().parse().ok()).unwrap_or(0), ..View::default() };
    for range in ranges {
        let mut parts = range.into_iter();
        let (Some(first), Some(last), Some(master)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (first, last) = (redis::from_redis_value(first)?, redis::from_redis_value(last)?);
        view.ranges.insert(last, (first, place_of(name, master)?));
        view.replicas.extend(parts.filter_map(|replica| place_of(name, replica).ok()));
    }
    Ok(view)
}

/// `host:port` out of (host, port, id, …); a node that does not know its own name is where it was asked.
fn place_of(asked: &str, node: Value) -> RedisResult<String> {
    let parts: Vec<Value> = redis::from_redis_value(node)?;
    let mut parts = parts.into_iter();
    let host: Option<String> = parts.next().map(redis::from_redis_value).transpose()?.flatten();
    let port: u16 = redis::from_redis_value(parts.next().unwrap_or(Value::Nil))?;
    let own = || asked.rsplit_once(':').map_or(asked, |(host, _)| host);
    let host = host.as_deref().filter(|host| !host.is_empty()).unwrap_or_else(own);
    Ok(if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

fn nobody() -> RedisError {
    RedisError::from((ErrorKind::Server(ServerErrorKind::ClusterDown), "no node is known to hold this slot"))
}

/// The slot of a key: CRC-16 (XMODEM) of its hash tag, or of all of it where there is none.
fn slot_of(key: &str) -> u16 {
    const SLOTS: u16 = 16_384;
    const POLYNOMIAL: u16 = 0x1021;
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let sum = hashed.bytes().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(byte) << 8), |sum, _| {
            let carry = if sum & 0x8000 == 0 { 0 } else { POLYNOMIAL };
            (sum << 1) ^ carry
        })
    });
    sum % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `CLUSTER KEYSLOT` of Redis 7.0 answers.
    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot_of("123456789"), 12_739);
        assert_eq!(slot_of("{of:intents:0}:j"), slot_of("{of:intents:0}:wake"));
        assert_eq!(slot_of("foo{}{bar}"), 8_363);
        assert_eq!(slot_of("foo{{bar}}zap"), 4_015);
    }
}
