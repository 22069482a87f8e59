//! Locks that the kernel gives back when their holder dies, however it dies.
//!
//! Two kinds. A *folder* is held by the process that works on it, and a second one is told at once. A *server's* lock is
//! handed to the server as an open file, and all of its processes inherit it: while it is held, some process of that
//! server lives. So a start waits for the last backend of a killed Postgres without knowing its process id.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ServerError;
use crate::time::Stopwatch;

/// How long an earlier server may take to go: Postgres writes a checkpoint first, which takes seconds on a slow disk.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);
/// How often to look whether it went.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Holds `folder` for this process, or says who does.
pub(super) fn hold_folder(folder: &Path) -> Result<File, ServerError> {
    let path = folder.join("in-use");
    let mut file = open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(ServerError::io("read", &path))?;
            return Err(ServerError::InUse { folder: folder.to_path_buf(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(ServerError::io("lock", &path)(source)),
    }
    let written =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(ServerError::io("write", &path))?;
    Ok(file)
}

/// Holds `base` for the moment in which a folder below it is made or removed; waits for others who do the same.
pub(super) fn take_turns(base: &Path) -> Result<File, ServerError> {
    let path = base.join("turn");
    let file = open(&path)?;
    file.lock().map_err(ServerError::io("lock", &path))?;
    Ok(file)
}

/// Whether nobody works on `folder`, nor any server of it.
pub(super) fn is_deserted(folder: &Path, servers: &[&str]) -> bool {
    let names = servers.iter().map(|server| server_lock(folder, server)).chain([folder.join("in-use")]);
    names.filter_map(|path| File::open(path).ok()).all(|file| file.try_lock().is_ok())
}

/// Waits until no process of `server` is left in `folder`, and holds its lock for the next one.
pub(super) async fn wait_until_gone(folder: &Path, server: &'static str) -> Result<File, ServerError> {
    let path = server_lock(folder, server);
    let file = open(&path)?;
    let since = Stopwatch::start();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if since.elapsed() < LEAVE_LIMIT => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(ServerError::StillRuns {
                    server,
                    folder: folder.to_path_buf(),
                    seconds: LEAVE_LIMIT.as_secs(),
                    log: folder.join(format!("{server}.log")),
                    lock: path,
                });
            }
            Err(TryLockError::Error(source)) => return Err(ServerError::io("lock", &path)(source)),
        }
    }
}

fn server_lock(folder: &Path, server: &str) -> PathBuf {
    folder.join(format!("{server}.lock"))
}

fn open(path: &Path) -> Result<File, ServerError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(ServerError::io("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let held = hold_folder(folder.path()).unwrap();
        assert!(!is_deserted(folder.path(), &[]));
        let told = hold_folder(folder.path()).unwrap_err().to_string();
        assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
        drop(held);
        assert!(is_deserted(folder.path(), &[]));
        hold_folder(folder.path()).unwrap();
    }
}
