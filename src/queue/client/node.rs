//! One Redis server: a connection that all callers share, rebuilt whenever it breaks or falls silent.
//!
//! The client's own connection manager keeps a connection that no longer answers; this one throws it away at the first
//! time-out, so that a black-holed connection costs one response time-out and no more. It never retries a command:
//! whether that is safe is the caller's to know. Blocking reads and subscriptions get connections of their own.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use redis::{Script, ServerErrorKind};
use tokio::sync::Mutex;

use crate::queue::QueueError;
use crate::time::Stopwatch;

/// Callers that queued behind a failed connect get its error instead of a try of their own: a hundred of them would
/// else wait a hundred time-outs, one after the other.
const SHARED_FAILURE: Duration = Duration::from_millis(100);

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    pub(super) response: Duration,
}

/// Where the server is.
pub(super) enum Place {
    /// Always there.
    Fixed(Box<Client>),
    /// Wherever the Sentinels see the master now. They are asked before each connect: whatever ends a failover breaks the
    /// old connections, or is answered with READONLY, and both end in a new one.
    Watched(Box<Mutex<SentinelClient>>),
}

/// What is sent to a server.
pub(super) enum Request<'a> {
    /// A script, the command that runs it by its hash, and who has to have what it writes.
    Script(&'a Script, Cmd, Kept),
    Command(&'a Cmd),
}

/// How many replicas must have a write before it counts, and how long to wait for them. Zero does not ask.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) replicas: u32,
    pub(super) wait_ms: u64,
}

/// The code of the error for a write that too few replicas have.
pub(in crate::queue) const NOT_KEPT: &str = "NOTKEPT";

pub(super) struct Node {
    place: Place,
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rises with each connection, so that a late error does not throw away its successor.
    generation: u64,
    open: Option<MultiplexedConnection>,
    failed: Option<(Stopwatch, RedisError)>,
}

impl Node {
    pub(super) fn new(place: Place, patience: Patience) -> Self {
        Self { place, patience, state: Mutex::default() }
    }

    /// Sends one request; to a server that a slot is just moving to, with ASKING before it.
    pub(super) async fn ask<T: FromRedisValue>(&self, request: &Request<'_>, moving: bool) -> RedisResult<T> {
        let (generation, mut connection) = self.open().await?;
        let answer = if moving {
            request.send_asking(&mut connection).await
        } else {
            request.send(&mut connection).await
        };
        self.judge(generation, answer).await
    }

    /// A connection of the caller's own, without a response time-out: for blocking reads.
    pub(super) async fn own(&self) -> RedisResult<MultiplexedConnection> {
        self.connect(None).await
    }

    /// A subscription's connection.
    pub(super) async fn subscriber(&self) -> RedisResult<redis::aio::PubSub> {
        let connecting = Box::pin(async { self.client().await?.get_async_pubsub().await });
        tokio::time::timeout(self.patience.connect, connecting).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn client(&self) -> RedisResult<Client> {
        match &self.place {
            Place::Fixed(client) => Ok(client.as_ref().clone()),
            Place::Watched(sentinels) => sentinels.lock().await.async_get_client().await,
        }
    }

    async fn connect(&self, response: Option<Duration>) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience.connect))
            .set_response_timeout(response);
        // Boxed: rare, and large. The Sentinels' time is in it too.
        let connecting = Box::pin(async {
            self.client().await?.get_multiplexed_async_connection_with_config(&config).await
        });
        tokio::time::timeout(self.patience.connect, connecting).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn open(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.open {
            return Ok((state.generation, connection.clone()));
        }
        if let Some((since, error)) = &state.failed
            && since.elapsed() < SHARED_FAILURE
        {
            return Err(error.clone());
        }
        match self.connect(Some(self.patience.response)).await {
            Ok(connection) => {
                state.generation += 1;
                metrics::counter!("orderfleet_redis_connections_total").increment(1);
                state.failed = None;
                state.open = Some(connection.clone());
                Ok((state.generation, connection))
            }
            Err(error) => {
                state.failed = Some((Stopwatch::start(), error.clone()));
                Err(error)
            }
        }
    }

    async fn judge<T>(&self, generation: u64, result: RedisResult<T>) -> RedisResult<T> {
        let Err(error) = &result else { return result };
        let seen = QueueError::from(error.clone());
        metrics::counter!("orderfleet_redis_errors_total", "cause" => seen.cause()).increment(1);
        // Whoever answers "not here" lives.
        if seen.breaks_connection() && error.redirect_node().is_none() {
            let mut state = self.state.lock().await;
            if state.generation == generation {
                state.open = None;
            }
        }
        result
    }
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(&self, connection: &mut MultiplexedConnection) -> RedisResult<T> {
        match self {
            Self::Script(script, command, kept) => {
                let mut answer = command.query_async(connection).await;
                if let Err(error) = &answer
                    && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
                {
                    // It did nothing: a server that has just started knows no script.
                    script.load_async(connection).await?;
                    answer = command.query_async(connection).await;
                }
                let answer = answer?;
                kept.wait(connection).await?;
                Ok(answer)
            }
            Self::Command(command) => command.query_async(connection).await,
        }
    }

    /// As one piece: ASKING counts for the very next command of the connection, whoever sends it.
    async fn send_asking<T: FromRedisValue>(&self, connection: &mut MultiplexedConnection) -> RedisResult<T> {
        let mut all = redis::pipe();
        let kept = match self {
            Self::Script(script, command, kept) => {
                all.load_script(script).ignore().cmd("ASKING").ignore().add_command(command.clone());
                *kept
            }
            Self::Command(command) => {
                all.cmd("ASKING").ignore().add_command((*command).clone());
                Kept::default()
            }
        };
        let (answer,) = all.query_async(connection).await?;
        kept.wait(connection).await?;
        Ok(answer)
    }
}

impl Kept {
    /// Waits until the replicas have whatever this connection wrote.
    async fn wait(self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        if self.replicas == 0 {
            return Ok(());
        }
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.replicas).arg(self.wait_ms);
        let have: u32 = wait.query_async(connection).await?;
        if have >= self.replicas {
            return Ok(());
        }
        let what = format!("{have} of {} replicas in {} ms", self.replicas, self.wait_ms);
        Err(redis::make_extension_error(NOT_KEPT.to_owned(), Some(what)))
    }
}

fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
