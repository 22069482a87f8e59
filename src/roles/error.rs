//! Why a command did not do what it was asked.

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// Postgres.
    #[error(
        "{0}\nNothing was changed. Is Postgres running where DATABASE_URL says, and are its migrations applied \
         (`orderfleet migrate`)? `orderfleet doctor` checks both."
    )]
    Store(#[from] crate::store::StoreError),
    /// Migrations.
    #[error(transparent)]
    Migrate(#[from] crate::store::MigrateError),
    /// Redis.
    #[error("{0}\nIs Redis running where REDIS_URL says? `orderfleet doctor` says what to change.")]
    Queue(#[from] crate::queue::QueueError),
    /// What was asked for is not there, or makes no sense: the message says what to do.
    #[error("{0}")]
    Refused(String),
    /// A file or the terminal.
    #[error("{0}: {1}")]
    Io(String, #[source] std::io::Error),
}
