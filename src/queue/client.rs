//! The connection to Redis: one, shared, rebuilt whenever it breaks or falls silent.
//!
//! The client's own connection manager keeps a connection that no longer answers; this one throws it away at the first
//! time-out, so that a black-holed connection costs one response time-out and no more. It never retries a command:
//! whether that is safe is the caller's to know. Blocking reads and subscriptions get connections of their own.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult, Script, Value};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use super::error::QueueError;
use crate::config::{RedisSettings, ms};
use crate::time::Stopwatch;

/// Callers that queued behind a failed connect get its error instead of a try of their own: a hundred of them would
/// else wait a hundred time-outs, one after the other.
const SHARED_FAILURE: Duration = Duration::from_millis(100);

/// Where Redis is: `host:port` or a socket, without the login.
pub fn place(settings: &RedisSettings) -> Result<String, QueueError> {
    Ok(open(settings)?.get_connection_info().addr().to_string())
}

fn open(settings: &RedisSettings) -> Result<Client, QueueError> {
    // The address may hold a password: the error says what is wrong, never what was given.
    Client::open(settings.url.expose_secret())
        .map_err(|error| QueueError::Address(error.category().to_owned()))
}

pub(super) struct Link {
    client: Client,
    connect_timeout: Duration,
    response_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rises with each connection, so that a late error does not throw away its successor.
    generation: u64,
    open: Option<MultiplexedConnection>,
    failed: Option<(Stopwatch, QueueError)>,
}

impl Link {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, QueueError> {
        Ok(Self {
            client: open(settings)?,
            connect_timeout: ms(settings.connect_timeout_ms),
            response_timeout: ms(settings.response_timeout_ms),
            state: Mutex::default(),
        })
    }

    /// How long an answer may take.
    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// A connection of the caller's own, without a response time-out: for blocking reads.
    pub(super) async fn own(&self) -> Result<MultiplexedConnection, QueueError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None);
        Ok(self.client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// A subscription's connection.
    pub(super) async fn subscriber(&self) -> Result<redis::aio::PubSub, QueueError> {
        tokio::time::timeout(self.connect_timeout, self.client.get_async_pubsub())
            .await
            .map_err(|_| QueueError::TimedOut)?
            .map_err(QueueError::from)
    }

    /// Calls a script.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: Vec<Vec<u8>>,
    ) -> Result<T, QueueError> {
        let (generation, mut connection) = self.open().await?;
        let mut invocation = script.prepare_invoke();
        invocation.key(keys).arg(args);
        self.judge(generation, invocation.invoke_async(&mut connection).await).await
    }

    /// Sends a command.
    pub(super) async fn send<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, QueueError> {
        let (generation, mut connection) = self.open().await?;
        self.judge(generation, command.query_async(&mut connection).await).await
    }

    async fn open(&self) -> Result<(u64, MultiplexedConnection), QueueError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.open {
            return Ok((state.generation, connection.clone()));
        }
        if let Some((since, error)) = &state.failed
            && since.elapsed() < SHARED_FAILURE
        {
            return Err(error.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout));
        match self.client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => {
                state.generation += 1;
                metrics::counter!("orderfleet_redis_connections_total").increment(1);
                state.failed = None;
                state.open = Some(connection.clone());
                Ok((state.generation, connection))
            }
            Err(error) => {
                let error = QueueError::from(error);
                state.failed = Some((Stopwatch::start(), error.clone()));
                Err(error)
            }
        }
    }

    async fn judge<T>(&self, generation: u64, result: RedisResult<T>) -> Result<T, QueueError> {
        let Err(error) = result else { return result.map_err(QueueError::from) };
        let error = QueueError::from(error);
        metrics::counter!("orderfleet_redis_errors_total", "cause" => error.cause()).increment(1);
        if error.breaks_connection() {
            let mut state = self.state.lock().await;
            if state.generation == generation {
                state.open = None;
            }
        }
        Err(error)
    }
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
