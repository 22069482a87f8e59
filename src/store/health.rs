//! What the database server says of itself, for `doctor`.
//!
//! Asked over one connection of its own and not over the pool: a pool waits and tries again, and then only says that time
//! is over, where an operator has to read whether it was the port, the password or the database's name.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use super::Stored;
use super::pool::options;
use crate::config::PostgresSettings;

/// A Postgres server.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Such as `15.8`.
    pub version: String,
    /// Such as 150008.
    pub version_number: i32,
    /// Whether a commit is on the disk when it is acknowledged: `fsync` and `full_page_writes`.
    pub fsync: bool,
    /// `on`, or one of its other values.
    pub synchronous_commit: String,
    /// Sessions that others than a superuser may open.
    pub connections: i32,
    /// Processes of the fleet that are connected now; the one that asks is not counted.
    pub processes: i64,
    /// Sessions of others: of people, backups, other databases.
    pub others: i64,
    /// Whether it only follows another server.
    pub is_standby: bool,
    /// Its clock.
    pub now: DateTime<Utc>,
}

/// Where the database is: `host:port/database`, without the login.
pub fn place(settings: &PostgresSettings) -> Stored<String> {
    let options: PgConnectOptions = options(settings)?;
    let host = options
        .get_socket()
        .map_or_else(|| options.get_host().to_owned(), |socket| socket.display().to_string());
    Ok(format!("{host}:{}/{}", options.get_port(), options.get_database().unwrap_or_default()))
}

/// Connects once, asks, and hangs up.
pub async fn look(settings: &PostgresSettings) -> Stored<ServerFacts> {
    let mut connection = PgConnection::connect_with(&options(settings)?).await?;
    let facts = sqlx::query_as!(
        ServerFacts,
        r#"/* health::look */
        select current_setting('server_version') as "version!",
          current_setting('server_version_num')::int as "version_number!",
          current_setting('fsync')::bool and current_setting('full_page_writes')::bool as "fsync!",
          current_setting('synchronous_commit') as "synchronous_commit!",
          current_setting('max_connections')::int
            - current_setting('superuser_reserved_connections')::int as "connections!",
          (select count(distinct (client_addr, application_name)) from pg_stat_activity
            where datname = current_database() and application_name like 'orderfleet%' and application_name <> current_setting('application_name')) as "processes!",
          (select count(*) from pg_stat_activity where backend_type = 'client backend'
             and (datname is distinct from current_database() or application_name not like 'orderfleet%')) as "others!",
          pg_is_in_recovery() as "is_standby!",
          clock_timestamp() as "now!""#
    )
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    Ok(facts)
}
