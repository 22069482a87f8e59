//! A process of the binary under test: its output in files, ended with the value that stands for it.
//!
//! It must never outlive its test: dropping it kills it, also while a test fails, and then the end of its log is shown.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use orderfleet::time::Stopwatch;
use tempfile::TempDir;

/// Far longer than anything that is waited for takes, on a machine that builds at the same time.
pub const LONG: Duration = Duration::from_mins(9);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);
/// Lines of a log that are shown when a test fails.
const TAIL: usize = 25;

/// Where the build put the binary: beside the folder of the program that runs. Cargo builds it before that program.
fn built() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.parent().and_then(Path::parent).unwrap().to_owned()
}

/// The build's own folder for what tests write.
pub fn scratch() -> PathBuf {
    let folder = built().parent().unwrap().join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A new folder for a test's files, below [`scratch`]; it goes with its value.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(scratch()).unwrap()
}

/// The binary, in `folder` and with nothing of our environment: a stray `DATABASE_URL` must not lead a test to another's
/// data.
pub fn orderfleet(folder: &Path) -> Command {
    let mut command = Command::new(built().join("orderfleet"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command.envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    command
}

/// The same command of another binary.
pub fn of(binary: &Path, command: &Command) -> Command {
    let mut other = Command::new(binary);
    other.args(command.get_args()).env_clear().stdin(Stdio::null());
    other.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        other.current_dir(folder);
    }
    other
}

/// Runs a command that answers and ends.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// A process that runs until it is told to stop.
pub struct Process {
    name: String,
    child: Child,
    folder: PathBuf,
}

impl Process {
    /// Starts it; what it writes goes to `NAME.out` and `NAME.log` in `folder`.
    pub fn start(name: &str, folder: &Path, mut command: Command) -> Self {
        let file = |end: &str| File::create(folder.join(format!("{name}.{end}"))).unwrap();
        let child = command.stdout(file("out")).stderr(file("log")).spawn().unwrap();
        Self { name: name.to_owned(), child, folder: folder.to_owned() }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name. The process is ours and not yet waited for, so its number is nobody else's.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status();
        assert!(status.unwrap().success(), "{} could not be sent {signal}", self.name);
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.kill_now();
    }

    /// `kill -9`, and waits until it is gone; its output can still be read.
    pub fn kill_now(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it is stopped (SIGSTOP), as the kernel says.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    /// Resident memory in bytes, as the kernel says; 0 of a process that has ended.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, async || self.child.try_wait().unwrap()).await
    }

    /// What it wrote to standard output so far.
    pub fn out(&self) -> String {
        self.read("out")
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        self.read("log")
    }

    /// Waits until its log says this.
    pub async fn says(&mut self, words: &str) {
        let what = format!("{words:?} of {}", self.name);
        until(&what, async || {
            let said = self.log().contains(words);
            assert!(said || !self.has_ended(), "{} ended before {words:?}", self.name);
            said.then_some(())
        })
        .await;
    }

    fn read(&self, end: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join(format!("{}.{end}", self.name))).unwrap())
            .into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for end in ["out", "log"] {
                let text = self.read(end);
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n");
                eprintln!("--- the end of {}.{end}:\n{tail}", self.name);
            }
        }
    }
}

/// Looks until there is something to see; fails after [`LONG`].
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(LONG, what, look).await
}

/// Looks until there is something to see; fails after `most`.
pub async fn until_within<T>(most: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let since = Stopwatch::start();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(since.elapsed() < most, "waited in vain for {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// `name=value` arguments of a command, for reading.
pub fn with<'a>(
    mut command: Command,
    arguments: impl IntoIterator<Item = &'a (impl AsRef<OsStr> + ?Sized + 'a)>,
) -> Command {
    command.args(arguments);
    command
}
