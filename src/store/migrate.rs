//! Applies the migrations, and refuses to run against a schema that is newer than this binary.

use super::{Store, StoreError};

/// The files of `migrations/`, in this binary.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Why migrations were not applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database has migrations that this binary does not know.
    #[error(
        "the schema is newer than this binary (it has migration {0}, the newest here is {1}): run the newer binary; \
         nothing was changed"
    )]
    Newer(i64, i64),
    /// One failed, or an applied file was changed.
    #[error("a migration was not applied: {0}")]
    Failed(#[from] sqlx::migrate::MigrateError),
}

impl Store {
    /// Brings the schema to this binary's version; does nothing where it is there already. Returns that version.
    pub async fn migrate(&self) -> Result<i64, MigrateError> {
        let migrated = MIGRATIONS.run(self.pool()).await;
        if let Err(sqlx::migrate::MigrateError::VersionMissing(found)) = migrated {
            return Err(MigrateError::Newer(found, newest()));
        }
        migrated?;
        Ok(newest())
    }

    /// How many migrations the database still lacks; an empty database lacks all.
    pub async fn pending_migrations(&self) -> Result<usize, StoreError> {
        let is_there = sqlx::query_scalar!(
            "/* store::has_migrations */ select to_regclass('_sqlx_migrations') is not null as \"is_there!\""
        )
        .fetch_one(self.pool())
        .await?;
        if !is_there {
            return Ok(MIGRATIONS.iter().count());
        }
        let applied = sqlx::query_scalar!(
            "/* store::pending_migrations */ select count(*) as \"count!\" from _sqlx_migrations where success"
        )
        .fetch_one(self.pool())
        .await?;
        Ok(MIGRATIONS.iter().count().saturating_sub(usize::try_from(applied).unwrap_or(0)))
    }
}

fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}
