//! Runs a command beside throw-away servers: how the gate checks queries against a schema, and how anybody can try
//! something against a real Postgres and Redis without having one.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::{Durability, ServerError, Servers};

/// How often to look whether a server fell while nothing else happens.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Why a command could not be run beside private servers.
#[derive(Debug, thiserror::Error)]
pub enum BesideError {
    /// The servers.
    #[error(transparent)]
    Servers(#[from] ServerError),
    /// The caller's preparation, such as migrations.
    #[error("the private database could not be prepared: {0}")]
    Prepare(Box<dyn std::error::Error + Send + Sync>),
    /// The command or its signals.
    #[error("could not run {command}: {source}")]
    Command {
        /// The command's name.
        command: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Starts throw-away servers below `base`, lets `prepare` fill them, runs `command` with `DATABASE_URL` and `REDIS_URL`,
/// stops them and returns the command's exit status (128 + n after signal n, as a shell has it).
///
/// Without a command it prints the two addresses and waits for Ctrl-C. Ctrl-C reaches the command by itself, as it
/// belongs to the same terminal; SIGTERM is passed on. The servers always end last.
pub async fn run_beside(
    base: &Path,
    command: &[OsString],
    prepare: impl AsyncFnOnce(&Servers) -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
) -> Result<u8, BesideError> {
    let mut servers = Servers::throw_away(base, Durability::PowerLoss).await?;
    let status = match prepare(&servers).await {
        Err(error) => Err(BesideError::Prepare(error)),
        Ok(()) => match command.split_first() {
            Some((program, arguments)) => run(&servers, program, arguments).await,
            None => wait_for_ctrl_c(&mut servers).await,
        },
    };
    servers.stop().await?;
    status
}

async fn run(servers: &Servers, program: &OsString, arguments: &[OsString]) -> Result<u8, BesideError> {
    let failed = |source| BesideError::Command { command: program.to_string_lossy().into_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", servers.database_url().expose_secret())
        .env("REDIS_URL", servers.redis_url().expose_secret())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(code(status.map_err(failed)?)),
            _ = interrupt.recv() => {} // it has heard it too
            _ = terminate.recv() => pass_on(&child).await.map_err(failed)?,
        }
    }
}

/// Sends SIGTERM. Through `kill`, because a call of the system would need unsafe code here.
async fn pass_on(child: &Child) -> io::Result<()> {
    if let Some(pid) = child.id() {
        Command::new("/bin/sh").args(["-c", r#"kill -s TERM "$1""#, "sh", &pid.to_string()]).status().await?;
    }
    Ok(())
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(u8::MAX)
}

async fn wait_for_ctrl_c(servers: &mut Servers) -> Result<u8, BesideError> {
    let failed = |source| BesideError::Command { command: "nothing, only wait".to_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (database, redis) = (servers.database_url(), servers.redis_url());
    let (database, redis) = (database.expose_secret(), redis.expose_secret());
    let shown = format!("export DATABASE_URL={database}\nexport REDIS_URL={redis}\n");
    io::stdout().write_all(shown.as_bytes()).map_err(failed)?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(0),
            _ = terminate.recv() => return Ok(0),
            () = tokio::time::sleep(CHECK_EVERY) => servers.check()?,
        }
    }
}
