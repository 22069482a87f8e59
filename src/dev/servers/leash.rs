//! Runs a server that ends when we end, however we end.
//!
//! The kernel's own means for this (a signal at the parent's death) is bound to the *thread* that started the child, and
//! a runtime's threads come and go. So each server has a watcher: a shell that reads a pipe which only we can write to.
//! A line on it names a signal; its end, which the kernel writes even after `kill -9`, means that we are gone.
//!
//! The watcher stays in the server's process group. As long as it lives, the kernel gives the server's number to no
//! other process, so a late signal cannot hit a stranger. It is no child of the server: Postgres takes a strange
//! child's death for a crash of its own.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use super::account::Account;
use super::error::{ServerError, last_words};
use super::lock;
use crate::time::Stopwatch;

/// Stdin is the leash, stdout the server's lock, stderr its log. `$1` is the signal that ends it, the rest what to run.
const SCRIPT: &str = r#"
stop=$1; shift
exec 3<&0 4>&1 0</dev/null 1>&2
( (
    exec 4>&-
    while read -r signal <&3; do
        [ "$signal" = gone ] && exit 0
        kill -s "$signal" $$
    done
    kill -s "$stop" $$
) & )
exec "$@" 3<&-
"#;

/// How long a server may take to start: Postgres may have a crash to recover from, Redis a log to read.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long it may take to stop before it is killed; both keep what they acknowledged even then.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What to run, and how it is told to end.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    /// The signal that ends it in good order.
    pub(super) stop: &'static str,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Leashed {
    child: Child,
    program: Program,
    log: PathBuf,
}

impl Leashed {
    /// Starts `program` in `folder` as `account`, after any earlier one is gone. It may not answer yet.
    pub(super) async fn start(
        program: Program,
        folder: &Path,
        account: Account,
    ) -> Result<Self, ServerError> {
        let held = lock::wait_until_gone(folder, program.name).await?;
        let log = folder.join(format!("{}.log", program.name));
        let words = File::create(&log).map_err(ServerError::io("make", &log))?;
        let child = account
            .command("/bin/sh", folder)
            .args(["-c", SCRIPT, "sh", program.stop])
            .arg(&program.path)
            .args(&program.arguments)
            .stdin(Stdio::piped())
            .stdout(held)
            .stderr(words)
            .process_group(0) // Ctrl-C is for us: the workers finish first, then the servers
            .spawn()
            .map_err(ServerError::io("start", &program.path))?;
        Ok(Self { child, program, log })
    }

    /// The server's process id: the shell has become it.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `answers` says so; an early end is an error.
    pub(super) async fn wait_for(&mut self, answers: impl AsyncFn(u32) -> bool) -> Result<(), ServerError> {
        let since = Stopwatch::start();
        while !answers(self.pid()).await {
            self.check()?;
            if since.elapsed() >= START_LIMIT {
                return Err(ServerError::Silent {
                    server: self.program.name,
                    seconds: START_LIMIT.as_secs(),
                    log: self.log.clone(),
                    words: last_words(&self.log),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// An error if the server has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), ServerError> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(ServerError::Ended {
                program: self.program.name,
                status: status.to_string(),
                log: self.log.clone(),
                words: last_words(&self.log),
            }),
        }
    }

    /// Ends it in good order; kills it if that takes too long.
    pub(super) async fn stop(mut self) -> Result<(), ServerError> {
        self.say(self.program.stop);
        let since = Stopwatch::start();
        while self.ended()?.is_none() {
            if since.elapsed() >= STOP_LIMIT {
                return self.kill().await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.say("gone");
        Ok(())
    }

    /// Ends it as a crash would: no last word to anybody.
    pub(super) async fn kill(mut self) -> Result<(), ServerError> {
        self.child.kill().map_err(ServerError::io("kill", &self.program.path))?;
        while self.ended()?.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.say("gone");
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        self.child.try_wait().map_err(ServerError::io("wait for", &self.program.path))
    }

    /// Tells the watcher. A watcher that is gone hears nothing, and then the server is gone too.
    fn say(&mut self, word: &str) {
        if let Some(leash) = &mut self.child.stdin
            && let Err(error) = writeln!(leash, "{word}")
        {
            tracing::warn!(server = self.program.name, %error, "the watcher of a private server is gone");
        }
    }
}
