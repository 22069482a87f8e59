//! Why private servers could not be started or stopped: what happened, what it means, what to do.

use std::io;
use std::path::{Path, PathBuf};

/// A fault of the private Postgres or Redis.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program is not installed, or where nobody looks.
    #[error(
        "{program} was not found on PATH or where distributions put it, so no private {server} can be started: \
         install it (Debian, Ubuntu: apt-get install {package})"
    )]
    Missing {
        /// The program.
        program: &'static str,
        /// What it is part of.
        server: &'static str,
        /// Debian's name of the package that has it.
        package: &'static str,
    },
    /// Root may not run Postgres, and there is nobody else.
    #[error(
        "Postgres refuses to run as root, and neither of the users postgres and nobody exists: \
         start this as an ordinary user"
    )]
    NoAccount,
    /// Another process of ours works on the same folder.
    #[error(
        "{folder} is in use by another orderfleet (process {holder}): stop that one first, or give another folder"
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// What the other one wrote down: its process id.
        holder: String,
    },
    /// The server of an earlier run is still there.
    #[error(
        "an earlier {server} still runs on {folder} after {seconds} s of waiting: look at {log} for what keeps it, \
         and end it (`fuser {lock}` names its processes)"
    )]
    StillRuns {
        /// Which server.
        server: &'static str,
        /// Its folder.
        folder: PathBuf,
        /// How long we waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// What it holds.
        lock: PathBuf,
    },
    /// A program ended badly or too early.
    #[error("{program} ended with {status}. Its last words (all of them in {log}):\n{words}")]
    Ended {
        /// The program.
        program: &'static str,
        /// Exit status or signal.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        words: String,
    },
    /// A server runs, but does not answer.
    #[error(
        "{server} does not answer {seconds} s after its start. Its last words (all of them in {log}):\n{words}"
    )]
    Silent {
        /// Which server.
        server: &'static str,
        /// How long we waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        words: String,
    },
    /// No port of the range could be had.
    #[error("no free port on 127.0.0.1 was found in {tries} tries: is the loopback interface up?")]
    NoPort {
        /// How many were tried.
        tries: u32,
    },
    /// A file or a process could not be handled.
    #[error("could not {doing} {path}: {source}")]
    Io {
        /// The verb.
        doing: &'static str,
        /// The object.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ServerError {
    /// For `map_err`: names what was being done, and to what.
    pub(super) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { doing, path: path.to_path_buf(), source }
    }
}

/// How much of a log an error quotes: a reason fits, a whole start does not.
const LAST_LINES: usize = 12;

/// The end of a log, for an error; an unreadable log has none.
pub(super) fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
