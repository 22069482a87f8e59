//! The connections to the database: where they go to, what every session sets, and when one is given up.
//!
//! The driver sets no deadline on what it reads. A connection that the way has forgotten (a firewall that was restarted, a
//! host that is gone) is silent for a quarter of an hour, and the pool would wait for it each time that it tests it. So
//! the pool's own tests are bounded here, and a transaction is bounded by [`super::Store::within`].

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use tokio::time::timeout;

use super::Stored;
use crate::config::PostgresSettings;

/// A connection that was used within this time is taken as it is: what is silent since then is found by the transaction's
/// own limit.
const FRESH: Duration = Duration::from_secs(1);
/// The longest that an idle connection may take to answer: a server that is away for longer gets a new one.
const ALIVE: Duration = Duration::from_millis(500);

/// Prepares a pool; connections are opened when they are needed.
pub(super) fn open(settings: &PostgresSettings) -> Stored<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms))
        .test_before_acquire(false)
        .before_acquire(|connection, seen| {
            Box::pin(async move { if seen.idle_for < FRESH { Ok(true) } else { answers(connection).await } })
        })
        .after_release(|connection, _| Box::pin(answers(connection)))
        .connect_lazy_with(options(settings)?))
}

/// Whether it answers in time; an error has the pool drop it without a farewell.
async fn answers(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    timeout(ALIVE, connection.ping()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    Ok(true)
}

/// Where every session goes to, and under which name.
pub(super) fn options(settings: &PostgresSettings) -> Stored<PgConnectOptions> {
    let options: PgConnectOptions = settings.url.expose_secret().parse()?;
    Ok(options.application_name(&name()).options(session(settings)))
}

/// Tells processes apart, together with where they connect from: `doctor` counts who shares the server's connections.
fn name() -> String {
    format!("orderfleet {}", std::process::id())
}

/// What every session sets. Tried without: a stopped worker that held a hot row blocked all others for good, and a
/// killed worker's queued COMMIT was carried out after its death.
fn session(settings: &PostgresSettings) -> Vec<(&'static str, String)> {
    vec![
        ("search_path", settings.schema.clone()),
        ("statement_timeout", settings.statement_timeout_ms.to_string()),
        ("lock_timeout", settings.lock_timeout_ms.to_string()),
        ("idle_in_transaction_session_timeout", settings.idle_in_transaction_timeout_ms.to_string()),
        ("client_connection_check_interval", "500".to_owned()),
        ("tcp_keepalives_idle", "5".to_owned()),
        ("tcp_keepalives_interval", "2".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "10000".to_owned()),
        ("jit", "off".to_owned()),
        // Every statement of the fleet looks up by key the rows of one slice. Planned in any other way it reads a whole table,
        // and so it was planned while nothing was known of a table that had grown for a minute: a third of the orders a
        // second. Where no index helps, a table is read whole all the same.
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
        ("enable_material", "off".to_owned()),
        ("enable_seqscan", "off".to_owned()),
    ]
}
