//! The way to Redis: one server, whatever server the Sentinels call the master, or a cluster.
//!
//! Whoever calls names keys of one slot, and learns nothing of where they are. No command is ever repeated here: whether
//! that is safe is the caller's to know. Only a node's "not here" is followed, once: it did nothing.

mod address;
mod cluster;
mod node;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Script, Value};

use self::address::Address;
use self::cluster::Cluster;
use self::node::{Kept, Node, Patience, Place, Request};
use super::error::QueueError;
use crate::config::{RedisMode, RedisSettings, ms};

pub use self::address::place;
pub(super) use self::node::NOT_KEPT;

/// Bytes of a script's call before its keys: the command, the script's hash and the number of keys.
const HEAD: usize = 64;

/// The way to Redis; clones share its connections.
#[derive(Clone)]
pub(super) struct Link {
    way: Arc<Way>,
    patience: Patience,
    kept: Kept,
}

enum Way {
    One(Node),
    Many(Cluster),
}

impl Link {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, QueueError> {
        let address = Address::read(settings)?;
        let patience =
            Patience { connect: ms(settings.connect_timeout_ms), response: ms(settings.response_timeout_ms) };
        let one = |place| Way::One(Node::new(place, patience));
        let way = match settings.mode {
            RedisMode::Single => one(Place::Fixed(Box::new(address.first()?))),
            RedisMode::Sentinel => one(Place::Watched(Box::new(address.sentinels(settings)?.into()))),
            RedisMode::Cluster => Way::Many(Cluster::new(address, patience)),
        };
        Ok(Self { way: Arc::new(way), patience, kept: Kept::default() })
    }

    /// The way of pushes. Where they wait for replicas it has connections of its own: on a shared one, everybody behind a
    /// push would wait with it.
    pub(super) fn for_pushes(&self, settings: &RedisSettings) -> Result<Self, QueueError> {
        if settings.wait_replicas == 0 {
            return Ok(self.clone());
        }
        let kept = Kept { replicas: settings.wait_replicas, wait_ms: settings.wait_ms };
        Ok(Self { kept, ..Self::new(settings)? })
    }

    /// How long an answer may take.
    pub(super) fn response_timeout(&self) -> Duration {
        self.patience.response
    }

    /// Whether a command may have keys of one slot only. Then a blocking read covers one lane.
    pub(super) fn has_slots(&self) -> bool {
        matches!(*self.way, Way::Many(_))
    }

    /// A connection of the caller's own to where the key is, without a response time-out: for blocking reads.
    pub(super) async fn own(&self, key: &str) -> Result<MultiplexedConnection, QueueError> {
        let connected = match &*self.way {
            Way::One(node) => node.own().await,
            Way::Many(cluster) => cluster.holder(key).await?.own().await,
        };
        if let Err(error) = &connected {
            self.look_again(error).await;
        }
        Ok(connected?)
    }

    /// A subscription's connection: in a cluster, what is published anywhere is heard at every node.
    pub(super) async fn subscriber(&self, key: &str) -> Result<redis::aio::PubSub, QueueError> {
        let connected = match &*self.way {
            Way::One(node) => node.subscriber().await,
            Way::Many(cluster) => cluster.holder(key).await?.subscriber().await,
        };
        if let Err(error) = &connected {
            self.look_again(error).await;
        }
        Ok(connected?)
    }

    /// Says what a connection of the caller's own ended with: what it was connected to may be elsewhere now.
    pub(super) async fn look_again(&self, error: &redis::RedisError) {
        if let Way::Many(cluster) = &*self.way {
            cluster.look_again(error).await;
        }
    }

    /// Calls a script; all of its keys are in one slot.
    pub(super) async fn call<T: FromRedisValue + Send>(
        &self,
        script: &Script,
        keys: &[String],
        args: Vec<Vec<u8>>,
    ) -> Result<T, QueueError> {
        let command = evalsha(script, keys, &args);
        self.ask(keys.first().map_or("", String::as_str), &Request::Script(script, command, self.kept)).await
    }

    /// Sends a command to where this key is.
    pub(super) async fn send<T: FromRedisValue + Send>(
        &self,
        key: &str,
        command: &Cmd,
    ) -> Result<T, QueueError> {
        self.ask(key, &Request::Command(command)).await
    }

    /// Boxed without its type: it is at the bottom of nearly every future of the fleet, and deep enough itself to carry
    /// them past what the compiler follows.
    fn ask<'a, T: FromRedisValue + Send + 'a>(
        &'a self,
        key: &'a str,
        request: &'a Request<'a>,
    ) -> BoxFuture<'a, Result<T, QueueError>> {
        Box::pin(async move {
            Ok(match &*self.way {
                Way::One(node) => node.ask(request, false).await?,
                Way::Many(cluster) => cluster.ask(key, request).await?,
            })
        })
    }

    /// Sends a command to every server that may be written to; each answer with the server's place, which is empty where
    /// there is only one.
    pub(super) async fn ask_masters<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<Vec<(String, Result<T, QueueError>)>, QueueError> {
        let request = Request::Command(command);
        match &*self.way {
            Way::One(node) => {
                Ok(vec![(String::new(), node.ask(&request, false).await.map_err(QueueError::from))])
            }
            Way::Many(cluster) => {
                let mut answers = Vec::new();
                for (place, node) in cluster.masters().await? {
                    answers.push((place, node.ask(&request, false).await.map_err(QueueError::from)));
                }
                Ok(answers)
            }
        }
    }
}

/// The command that runs a script by its hash. The client's own invocation keeps each argument as a piece of memory of its
/// own and then writes the same command; a push of many intents has hundreds of them.
fn evalsha(script: &Script, keys: &[String], args: &[Vec<u8>]) -> Cmd {
    let bytes: usize = keys.iter().map(String::len).chain(args.iter().map(Vec::len)).sum();
    let mut command = Cmd::with_capacity(3 + keys.len() + args.len(), HEAD + bytes);
    command.arg("EVALSHA").arg(script.get_hash()).arg(keys.len()).arg(keys).arg(args);
    command
}

/// Bytes of an answer.
pub(super) fn bytes(value: Value) -> Result<Vec<u8>, QueueError> {
    redis::from_redis_value(value).map_err(QueueError::answer)
}

/// A number of an answer.
pub(super) fn number(value: Value) -> Result<i64, QueueError> {
    redis::from_redis_value(value).map_err(QueueError::answer)
}

/// A number as an argument.
pub(super) fn arg(number: impl std::fmt::Display) -> Vec<u8> {
    number.to_string().into_bytes()
}
