//! What can go wrong between us and Redis, by cause.
//!
//! A caller learns whether waiting helps. After [`QueueError::TimedOut`], [`QueueError::Unreachable`] and
//! [`QueueError::NotKept`] a push may have happened: "unknown", never "refused".

use super::client::NOT_KEPT;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why the queue could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// The address can't be read.
    #[error("redis.url is not an address of a Redis: {0}")]
    Address(String),
    /// No connection, or it broke.
    #[error("Redis is unreachable: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// It is starting, or in the middle of a failover.
    #[error("Redis is not ready: {0}")]
    NotReady(String),
    /// Redis has it, but fewer replicas than `redis.wait_replicas`: a failover now may lose it.
    #[error(
        "Redis has it, but only {0}: it is unknown whether it would outlive a failover. Repeat it with the same key"
    )]
    NotKept(String),
    /// Its memory is full: nothing new is taken in.
    #[error("Redis is full: {0}")]
    Full(String),
    /// It may not be used as it is set up.
    #[error("this Redis may lose what it acknowledged: {}", .0.join("; "))]
    NotDurable(Vec<String>),
    /// It refuses us, or answers what no script of ours answers.
    #[error("Redis answered: {0}")]
    Answer(String),
}

impl QueueError {
    /// The cause as a word, for metrics.
    pub(super) const fn cause(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timed_out",
            Self::NotReady(_) => "not_ready",
            Self::NotKept(_) => "not_kept",
            Self::Full(_) => "full",
            Self::NotDurable(_) => "not_durable",
            Self::Answer(_) => "answer",
        }
    }

    /// Whether the connection is to be thrown away: nothing more will come over it, or not in time.
    pub(super) fn breaks_connection(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut | Self::NotReady(_) => true,
            Self::Address(_) | Self::NotKept(_) | Self::Full(_) | Self::NotDurable(_) | Self::Answer(_) => {
                false
            }
        }
    }

    pub(super) fn answer(what: impl std::fmt::Display) -> Self {
        Self::Answer(what.to_string())
    }
}

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        if error.is_timeout() {
            return Self::TimedOut;
        }
        if error.code() == Some("OOM") || text.contains("OOM command not allowed") {
            return Self::Full(text);
        }
        if error.code() == Some(NOT_KEPT) {
            return Self::NotKept(error.detail().unwrap_or_default().to_owned());
        }
        let not_ready = [
            ErrorKind::Server(ServerErrorKind::Moved),
            ErrorKind::Server(ServerErrorKind::Ask),
            ErrorKind::Server(ServerErrorKind::BusyLoading),
            ErrorKind::Server(ServerErrorKind::MasterDown),
            ErrorKind::Server(ServerErrorKind::ReadOnly),
            ErrorKind::Server(ServerErrorKind::ClusterDown),
            ErrorKind::Server(ServerErrorKind::TryAgain),
        ];
        if not_ready.contains(&error.kind()) || error.code() == Some("NOREPLICAS") {
            return Self::NotReady(text);
        }
        if error.is_io_error() || error.is_connection_dropped() || error.is_connection_refusal() {
            return Self::Unreachable(text);
        }
        Self::Answer(text)
    }
}
