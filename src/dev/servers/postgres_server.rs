//! The private Postgres: how its data folder is made, and how it is started.
//!
//! `fsync` stays on whatever it is for: a test that passes without it proves nothing about a crash.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use secrecy::ExposeSecret;

use super::access::{Access, DATABASE, USER};
use super::account::Account;
use super::error::ServerError;
use super::leash::{Leashed, Program};
use super::programs::Programs;

pub(super) const NAME: &str = "postgres";
/// Enough for the intake, several workers and the tests at once; a production server has its own number.
const MAX_CONNECTIONS: u32 = 200;
/// Holds the sample catalogue and a benchmark's orders without taking a small machine's memory.
const SHARED_BUFFERS: &str = "128MB";

/// Makes the data folder with its database, unless it is there. Made beside and renamed: half of one is never used.
pub(super) async fn make(
    folder: &Path,
    programs: &Programs,
    access: &Access,
    account: Account,
) -> Result<(), ServerError> {
    let (data, half) = (data(folder), folder.join("postgres.half"));
    if data.exists() {
        return Ok(());
    }
    if half.exists() {
        fs::remove_dir_all(&half).map_err(ServerError::io("remove", &half))?;
    }
    account.make_private(&half)?;
    let password = folder.join("postgres.password");
    account.write_private(&password, access.password.expose_secret())?;
    let mut initdb = account.command(&programs.initdb, folder);
    initdb
        .args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale"])
        .args(["--no-instructions", "--pwfile"])
        .arg(&password)
        .arg("--pgdata")
        .arg(&half);
    run("initdb", initdb, "", folder).await?;
    fs::remove_file(&password).map_err(ServerError::io("remove", &password))?;

    let mut single = account.command(&programs.postgres, folder);
    single.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(&half).arg("postgres");
    run("postgres --single", single, &format!("CREATE DATABASE {DATABASE};\n"), folder).await?;
    fs::rename(&half, &data).map_err(ServerError::io("rename", &half))
}

/// Starts it and waits until it takes connections.
pub(super) async fn start(
    folder: &Path,
    programs: &Programs,
    access: &Access,
    account: Account,
) -> Result<Leashed, ServerError> {
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(), // its path could be too long, and a second door needs a second lock
        format!("port={}", access.postgres_port),
        format!("max_connections={MAX_CONNECTIONS}"),
        format!("shared_buffers={SHARED_BUFFERS}"),
        "fsync=on".to_owned(),
        "synchronous_commit=on".to_owned(),
        "logging_collector=off".to_owned(), // stderr is the log
    ];
    let mut arguments = vec!["-D".to_owned(), data(folder).to_string_lossy().into_owned()];
    arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    let program = Program { name: NAME, path: programs.postgres.clone(), arguments, stop: "INT" };
    let mut started = Leashed::start(program, folder, account).await?;
    let pid_file = data(folder).join("postmaster.pid");
    started.wait_for(async |pid| is_ready(&fs::read_to_string(&pid_file).unwrap_or_default(), pid)).await?;
    Ok(started)
}

fn data(folder: &Path) -> PathBuf {
    folder.join("postgres")
}

/// Whether `postmaster.pid` says that process `pid` takes connections: the sign that `pg_ctl` waits for. A stale file
/// of a killed server names another process.
fn is_ready(pid_file: &str, pid: u32) -> bool {
    const STATUS_LINE: usize = 7;
    let mut lines = pid_file.lines();
    lines.next() == Some(pid.to_string().as_str())
        && lines.nth(STATUS_LINE - 1).is_some_and(|status| status.trim() == "ready")
}

/// Runs a program to its end with `input`; what it said is quoted when it fails.
async fn run(
    name: &'static str,
    command: std::process::Command,
    input: &str,
    folder: &Path,
) -> Result<(), ServerError> {
    let log = folder.join("initdb.log");
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(ServerError::io("start", Path::new(name)))?;
    if let Some(mut stdin) = child.stdin.take() {
        use tokio::io::AsyncWriteExt;
        // A program that ended before it read this says why below.
        let _unread = stdin.write_all(input.as_bytes()).await;
    }
    let Output { status, stdout, stderr } =
        child.wait_with_output().await.map_err(ServerError::io("wait for", Path::new(name)))?;
    let mut file = fs::File::create(&log).map_err(ServerError::io("make", &log))?;
    file.write_all(&stdout).and_then(|()| file.write_all(&stderr)).map_err(ServerError::io("write", &log))?;
    if status.success() {
        return Ok(());
    }
    let words = super::error::last_words(&log);
    Err(ServerError::Ended { program: name, status: status.to_string(), log, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_what_this_process_wrote() {
        let file = "42\n/data\n1700000000\n5432\n\n127.0.0.1\n  1 2\nready   \n";
        assert!(is_ready(file, 42));
        assert!(!is_ready(file, 4), "the file of a killed server");
        assert!(!is_ready(&file.replace("ready", "starting"), 42));
        assert!(!is_ready("42\n", 42), "half written");
        assert!(!is_ready("", 42));
    }
}
