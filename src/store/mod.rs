//! All SQL. One function is one statement or one step of a transaction; nobody outside this room sees sqlx.
//!
//! The only way to write is a [`Tx`]. It carries what must happen after its commit and never before: the job rows that
//! it inserted (to be pushed into the queue) and the public states of the intents that it touched (to be projected into
//! Redis). A `Tx` has no provider and no queue, so that none can be called while it is open.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{PgConnection, Postgres, Transaction};
use tokio::time::timeout;

use crate::config::PostgresSettings;
use crate::domain::stock::Left;
use crate::ids::{IntentId, JobId, OrderId};
use crate::job::{Class, Dependency, Failure};
use crate::telemetry::{self, TraceContext};

pub mod access;
pub mod actions;
pub mod alerts;
mod archive;
pub mod audits;
pub mod catalogue;
pub mod communications;
pub mod coupons;
pub mod dead_letters;
pub mod disputes;
pub mod effects;
pub mod erasure;
pub mod event_windows;
pub mod exceptions;
pub mod exemplars;
pub mod health;
pub mod inbox;
pub mod intents;
pub mod jobs;
mod migrate;
pub mod order_details;
pub mod order_pages;
pub mod orders;
pub mod payments;
mod pool;
#[cfg(feature = "proof")]
pub mod probe;
pub mod progress;
pub mod refunds;
pub mod reservations;
pub mod retention;
pub mod shipments;
pub mod snapshot;
pub mod standing;
pub mod stock;
pub mod stuck;
pub mod suppressions;
pub mod timeline;
pub mod views;

pub use migrate::MigrateError;

/// Slices that bisect open one savepoint for each half on the way down: 2 × log2(256) = 16, far below the 64 live
/// subtransactions above which Postgres spills to disk.
pub const MAX_SLICE: usize = 256;

/// What the database answered when it did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection could be had.
    #[error("Postgres can not be reached: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// A transaction was not over in its time.
    #[error(
        "Postgres did not end a transaction within {0:?}: it is overloaded, or the way to it passes nothing"
    )]
    Silent(Duration),
    /// The statement met other work (deadlock, serialization, lock or statement time-out): the same again may succeed.
    #[error("Postgres asked to try again: {0}")]
    Contended(#[source] sqlx::Error),
    /// Another transaction was faster with the same rows: the same again finds them.
    #[error("{0} met rows that another transaction has just made")]
    Met(&'static str),
    /// A constraint, a trigger or a conversion refused the data.
    #[error("Postgres refused the data: {0}")]
    Data(#[source] sqlx::Error),
    /// A statement changed another number of rows than it must.
    #[error("{statement}: {wanted} rows wanted, {got} changed")]
    Rows {
        /// The function that ran the statement.
        statement: &'static str,
        /// How many it must change.
        wanted: usize,
        /// How many it changed.
        got: usize,
    },
    /// A stored value that this version can not read.
    #[error("{column} holds {value:?}, which this version does not know")]
    Unreadable {
        /// `table.column`.
        column: &'static str,
        /// What stands there.
        value: String,
    },
    /// Anything else: a bug of ours.
    #[error("a statement failed: {0}")]
    Statement(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(refused) = error.as_database_error() else {
            let is_away = matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::Protocol(_)
            );
            return if is_away { Self::Unreachable(error) } else { Self::Statement(error) };
        };
        let code = refused.code().unwrap_or_default().into_owned();
        match (code.get(..2).unwrap_or_default(), code.as_str()) {
            // 40 rollback (serialization, deadlock), 55 lock not available, 57014 statement time-out.
            ("40" | "55", _) | (_, "57014") => Self::Contended(error),
            // 08 connection, 53 resources, 57 operator intervention, 25P03 stood idle in a transaction: it is away.
            ("08" | "53" | "57", _) | (_, "25P03") => Self::Unreachable(error),
            // 22 data exception, 23 integrity constraint.
            ("22" | "23", _) => Self::Data(error),
            _ => Self::Statement(error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (class, code) = match &error {
            StoreError::Unreachable(_) | StoreError::Silent(_) => {
                (Class::Unavailable(Dependency::Postgres), "postgres_unreachable")
            }
            StoreError::Contended(_) | StoreError::Met(_) => {
                (Class::Unavailable(Dependency::Postgres), "postgres_contended")
            }
            StoreError::Data(_) => (Class::Data, "data_refused"),
            StoreError::Rows { .. } => (Class::Data, "rows_changed"),
            StoreError::Unreadable { .. } => (Class::Data, "unreadable_value"),
            StoreError::Statement(_) => (Class::Data, "statement_failed"),
        };
        Self::new(class, code, error)
    }
}

/// Result of a store function.
pub type Stored<T> = Result<T, StoreError>;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    /// The longest transaction.
    longest: Duration,
}

impl Store {
    /// Prepares a pool; connections are opened when they are needed, so that a process starts while Postgres is away.
    pub fn new(settings: &PostgresSettings) -> Stored<Self> {
        let longest = Duration::from_millis(settings.transaction_timeout_ms);
        Ok(Self { pool: pool::open(settings)?, longest })
    }

    /// Runs a step that ends with its transaction, and gives it up where the database has fallen silent: a connection
    /// that a broken way has forgotten is never answered and never refused.
    pub async fn within<T, E: From<StoreError>>(
        &self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout(self.longest, step).await.unwrap_or_else(|_| Err(StoreError::Silent(self.longest).into()))
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Stored<Tx> {
        let inner = self.pool.begin().await?;
        Ok(Tx {
            inner,
            copies: Vec::new(),
            touched: BTreeSet::new(),
            touched_orders: BTreeSet::new(),
            left: Vec::new(),
            waited: Duration::ZERO,
            about: Vec::new(),
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Stored<()> {
        sqlx::query_scalar!("/* store::ping */ select 1 as \"one!\"").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// An open transaction.
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    copies: Vec<JobCopy>,
    touched: BTreeSet<IntentId>,
    touched_orders: BTreeSet<OrderId>,
    left: Vec<Left>,
    waited: Duration,
    about: Vec<(JobId, OrderId)>,
}

/// What a commit leaves to be done: push these, project those.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Job rows that this transaction inserted.
    pub copies: Vec<JobCopy>,
    /// Public states of the intents that it touched.
    pub states: Vec<views::IntentState>,
    /// What is left of articles of which it took the last piece, or brought the first one back.
    pub left: Vec<Left>,
    /// How long it stood before the rows of articles and coupons, which others held.
    pub waited: Duration,
    /// The orders that its jobs turned out to be about, with their traces where spans are exported.
    pub about: Vec<About>,
}

/// A job, and the order that it turned out to be about.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The job.
    pub job: JobId,
    /// The order.
    pub order: OrderId,
    /// The order's trace, where spans are exported.
    pub trace: Option<TraceContext>,
}

/// A job row, as the queue gets it.
#[derive(Clone, Debug)]
pub struct JobCopy {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its lane, by name.
    pub lane: String,
    /// Its band, by number.
    pub band: i16,
    /// Its fields.
    pub payload: serde_json::Value,
    /// How long until it is due.
    pub delay: Duration,
    /// Outcomes that counted so far.
    pub attempts: i32,
    /// The trace that it belongs to.
    pub traceparent: Option<TraceContext>,
}

impl Tx {
    /// The connection, for this room only.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// This intent's public state has changed.
    pub fn touch(&mut self, intent: IntentId) {
        self.touched.insert(intent);
    }

    /// This order's intent's public state has changed.
    pub fn touch_order(&mut self, order: OrderId) {
        self.touched_orders.insert(order);
    }

    /// The last piece of an article was taken, or the first one came back. A hint: it is not taken back with a part that
    /// is given up, and the comparison with the rows corrects it.
    pub fn ran_out(&mut self, left: Left) {
        self.left.push(left);
    }

    /// This job is about this order: told where its fields do not say so, for logs and traces. A hint, as [`Tx::ran_out`].
    pub fn about(&mut self, job: JobId, order: OrderId) {
        self.about.push((job, order));
    }

    /// It was given rows that everybody wants after this long.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    pub(crate) fn push_after_commit(&mut self, copy: JobCopy) {
        self.copies.push(copy);
    }

    /// Commits, and tells what has to be pushed and projected now.
    pub async fn commit(mut self) -> Stored<Committed> {
        let intents: Vec<_> = self.touched.iter().map(|id| id.uuid()).collect();
        let orders: Vec<_> = self.touched_orders.iter().map(|id| id.uuid()).collect();
        let states = if intents.is_empty() && orders.is_empty() {
            Vec::new()
        } else {
            views::intent_states(self.conn(), &intents, &orders).await?
        };
        let about = self.traced().await?;
        self.inner.commit().await?;
        Ok(Committed { copies: self.copies, states, left: self.left, waited: self.waited, about })
    }

    /// What its jobs are about, with the traces of those orders where somebody wants to know them.
    async fn traced(&mut self) -> Stored<Vec<About>> {
        let about = std::mem::take(&mut self.about);
        let traces = if about.is_empty() || !telemetry::exports() {
            HashMap::new()
        } else {
            let ids: Vec<OrderId> = about.iter().map(|(_, order)| *order).collect();
            orders::traces(self, &ids).await?
        };
        let about = about.into_iter();
        Ok(about.map(|(job, order)| About { job, order, trace: traces.get(&order).copied() }).collect())
    }

    /// Gives everything up that this transaction did.
    pub async fn rollback(self) -> Stored<()> {
        Ok(self.inner.rollback().await?)
    }

    /// How many rows this transaction has written so far.
    pub async fn rows_written(&mut self) -> Stored<i64> {
        Ok(sqlx::query_scalar!(
            r#"/* store::rows_written */
            select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint as "rows!" from pg_stat_xact_user_tables"#
        )
        .fetch_one(self.conn())
        .await?)
    }

    /// Begins a part that can be given up alone. What it staged is remembered by `mark`.
    pub async fn savepoint(&mut self) -> Stored<Mark> {
        self.statement("savepoint part").await?;
        Ok(Mark {
            copies: self.copies.len(),
            touched: self.touched.clone(),
            touched_orders: self.touched_orders.clone(),
        })
    }

    /// Keeps the part since the last savepoint.
    pub async fn release(&mut self) -> Stored<()> {
        self.statement("release savepoint part").await
    }

    /// Gives up the part since the last savepoint, and what it staged.
    pub async fn give_up(&mut self, mark: Mark) -> Stored<()> {
        self.statement("rollback to savepoint part").await?;
        self.statement("release savepoint part").await?;
        self.copies.truncate(mark.copies);
        self.touched = mark.touched;
        self.touched_orders = mark.touched_orders;
        Ok(())
    }

    async fn statement(&mut self, sql: &'static str) -> Stored<()> {
        sqlx::raw_sql(sql).execute(&mut *self.inner).await?;
        Ok(())
    }
}

/// What a transaction had staged when a savepoint was set.
pub struct Mark {
    copies: usize,
    touched: BTreeSet<IntentId>,
    touched_orders: BTreeSet<OrderId>,
}

/// Fails where a statement changed another number of rows than it must.
pub(crate) fn exactly(statement: &'static str, wanted: usize, got: u64) -> Stored<()> {
    let got = usize::try_from(got).unwrap_or(usize::MAX);
    if got == wanted { Ok(()) } else { Err(StoreError::Rows { statement, wanted, got }) }
}

/// Asks for the same again where an insert left rows out, because another transaction has just made the same.
pub(crate) fn made(statement: &'static str, wanted: usize, got: u64) -> Stored<()> {
    exactly(statement, wanted, got).map_err(|_| StoreError::Met(statement))
}

/// A time out of the database, in milliseconds; what lies in the future is none.
fn from_millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Milliseconds for an interval in SQL.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
