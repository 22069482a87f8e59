//! Private servers: a Postgres and a Redis of our own, for `dev`, for tests and for the gate.
//!
//! Own data, own free ports on loopback, a random password; never a server that already runs. They live as long as the
//! [`Servers`] that started them and end with its process, even after `kill -9` ([`leash`] says how). All of it lies in one
//! folder, so removing the folder removes every trace. For root the servers run unprivileged ([`account`] says where).
//!
//! This room must never read `DATABASE_URL` or `REDIS_URL`: whether to use what somebody else runs is not decided here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::ids;

mod access;
mod account;
mod beside;
mod error;
mod leash;
mod lock;
mod postgres_server;
mod programs;
mod redis_server;

pub use beside::{BesideError, run_beside};
pub use error::ServerError;

use access::Access;
use account::Account;
use leash::Leashed;
use programs::Programs;

/// What an acknowledged write survives. Postgres always survives the loss of power; this is about Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power (`appendfsync always`): what the fleet promises.
    PowerLoss,
    /// All but the last second before a loss of power (`appendfsync everysec`): faster, for tests that cut no power.
    OneSecond,
}

/// A private Postgres and a private Redis. Dropped, they are told to end; [`Servers::stop`] also waits for it.
#[derive(Debug)]
pub struct Servers {
    folder: PathBuf,
    is_throw_away: bool,
    programs: Programs,
    access: Access,
    account: Account,
    durability: Durability,
    postgres: Option<Leashed>,
    redis: Option<Leashed>,
    _held: File,
}

impl Servers {
    /// Starts both on `folder`, with the data of the last time if there is any. For root the data may have to lie
    /// elsewhere: see [`Servers::folder`].
    pub async fn start(folder: &Path, durability: Durability) -> Result<Self, ServerError> {
        let account = Account::find().await?;
        let folder = account.place(folder)?;
        let held = lock::hold_folder(&folder)?;
        Self::start_in(folder, false, account, durability, held).await
    }

    /// Starts both with empty data in a new folder below `base`, which [`Servers::stop`] removes. Any number of them can
    /// live side by side. What killed ones left there is removed first.
    pub async fn throw_away(base: &Path, durability: Durability) -> Result<Self, ServerError> {
        let account = Account::find().await?;
        let base = account.place(&base.join("throw-away"))?;
        let (folder, held) = {
            let _alone = lock::take_turns(&base)?;
            remove_deserted(&base);
            let folder = base.join(hex(&ids::random_bytes::<8>()));
            account.make_open(&folder)?;
            let held = lock::hold_folder(&folder)?;
            (folder, held)
        };
        Self::start_in(folder, true, account, durability, held).await
    }

    async fn start_in(
        folder: PathBuf,
        is_throw_away: bool,
        account: Account,
        durability: Durability,
        held: File,
    ) -> Result<Self, ServerError> {
        let programs = Programs::find().await?;
        let access = Access::of(&folder, account)?;
        postgres_server::make(&folder, &programs, &access, account).await?;
        let mut servers = Self {
            folder,
            is_throw_away,
            programs,
            access,
            account,
            durability,
            postgres: None,
            redis: None,
            _held: held,
        };
        servers.start_postgres().await?;
        servers.start_redis().await?;
        Ok(servers)
    }

    /// Where their data and logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `postgres://user:password@127.0.0.1:port/orderfleet`: an empty database, owned by a superuser. It stays the same
    /// as long as this value lives, whatever is killed and started again.
    #[must_use]
    pub fn database_url(&self) -> SecretString {
        self.access.database_url()
    }

    /// `redis://default:password@127.0.0.1:port`; it stays the same too.
    #[must_use]
    pub fn redis_url(&self) -> SecretString {
        self.access.redis_url()
    }

    /// Starts Postgres again after [`Servers::kill_postgres`]; a running one is left as it is.
    pub async fn start_postgres(&mut self) -> Result<(), ServerError> {
        if self.postgres.is_none() {
            let started =
                postgres_server::start(&self.folder, &self.programs, &self.access, self.account).await?;
            self.postgres = Some(started);
        }
        Ok(())
    }

    /// Starts Redis again after [`Servers::kill_redis`]; a running one is left as it is.
    pub async fn start_redis(&mut self) -> Result<(), ServerError> {
        if self.redis.is_none() {
            let started = redis_server::start(
                &self.folder,
                &self.programs,
                &self.access,
                self.account,
                self.durability,
            )
            .await?;
            self.redis = Some(started);
        }
        Ok(())
    }

    /// Kills Postgres as a crash would; what it had committed is there again after the next start.
    pub async fn kill_postgres(&mut self) -> Result<(), ServerError> {
        match self.postgres.take() {
            Some(running) => running.kill().await,
            None => Ok(()),
        }
    }

    /// Kills Redis as a crash would.
    pub async fn kill_redis(&mut self) -> Result<(), ServerError> {
        match self.redis.take() {
            Some(running) => running.kill().await,
            None => Ok(()),
        }
    }

    /// An error, with the end of its log, if one of them has ended by itself.
    pub fn check(&mut self) -> Result<(), ServerError> {
        self.postgres.iter_mut().chain(&mut self.redis).try_for_each(Leashed::check)
    }

    /// Ends both in good order, waits for it, and removes what was to be thrown away.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        for running in [self.redis.take(), self.postgres.take()].into_iter().flatten() {
            running.stop().await?;
        }
        if self.is_throw_away {
            fs::remove_dir_all(&self.folder).map_err(ServerError::io("remove", &self.folder))?;
        }
        Ok(())
    }
}

/// Bytes as they stand in names and passwords.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Removes what killed processes left. Whatever cannot be removed now stays for the next time: it is in nobody's way.
fn remove_deserted(base: &Path) {
    for folder in fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if folder.is_dir()
            && lock::is_deserted(&folder, &[postgres_server::NAME, redis_server::NAME])
            && let Err(error) = fs::remove_dir_all(&folder)
        {
            tracing::warn!(folder = %folder.display(), %error, "a deserted folder stays");
        }
    }
}
