//! Finds the server programs: on PATH first, then where distributions put them.
//!
//! Debian keeps `initdb` and `postgres` off the PATH on purpose, so looking there alone finds nothing on most machines.
//! `postgres` must stand beside the `initdb` that is used: two versions do not share a data folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::error::ServerError;

/// Folders of one Postgres: a parent, then what follows the version.
const POSTGRES_HOMES: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // Red Hat, SUSE
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew on ARM
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
];
const REDIS_HOMES: &[&str] = &["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
/// Valkey is the same server under another name; either will do.
const REDIS_NAMES: &[&str] = &["redis-server", "valkey-server"];

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    pub(super) redis: PathBuf,
}

impl Programs {
    pub(super) async fn find() -> Result<Self, ServerError> {
        let bin = postgres_bin().await.ok_or(ServerError::Missing {
            program: "initdb (with postgres beside it)",
            server: "Postgres",
            package: "postgresql",
        })?;
        let redis = redis().await.ok_or(ServerError::Missing {
            program: "redis-server (or valkey-server)",
            server: "Redis",
            package: "redis-server",
        })?;
        Ok(Self { initdb: bin.join("initdb"), postgres: bin.join("postgres"), redis })
    }
}

async fn postgres_bin() -> Option<PathBuf> {
    if let Some(initdb) = on_path("initdb").await
        && let Some(bin) = initdb.parent()
        && is_postgres(bin)
    {
        return Some(bin.to_path_buf());
    }
    POSTGRES_HOMES
        .iter()
        .flat_map(|(parent, prefix, tail)| versions(Path::new(parent), prefix, tail))
        .filter(|(_, bin)| is_postgres(bin))
        .max_by_key(|(version, _)| *version)
        .map(|(_, bin)| bin)
}

async fn redis() -> Option<PathBuf> {
    for name in REDIS_NAMES {
        if let Some(found) = on_path(name).await {
            return Some(found);
        }
    }
    let homes = REDIS_HOMES.iter().map(Path::new);
    homes.flat_map(|home| REDIS_NAMES.iter().map(|name| home.join(name))).find(|program| program.is_file())
}

fn is_postgres(bin: &Path) -> bool {
    bin.join("initdb").is_file() && bin.join("postgres").is_file()
}

/// Every `parent/<prefix><version>/<tail>` with its major version.
fn versions(parent: &Path, prefix: &str, tail: &str) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.split('.').next()?.parse().ok()?;
            Some((version, entry.path().join(tail)))
        })
        .collect()
}

/// What the shell would run. The shell is asked because it has the PATH: the environment is not read here.
async fn on_path(name: &str) -> Option<PathBuf> {
    let found = Command::new("/bin/sh")
        .args(["-c", r#"command -v "$1""#, "sh", name])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .await
        .ok()?;
    let path = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim_end());
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_a_number_not_a_word() {
        let parent = tempfile::tempdir().unwrap();
        for version in ["9.6", "15", "8", "doc"] {
            std::fs::create_dir_all(parent.path().join(version).join("bin")).unwrap();
        }
        let newest = versions(parent.path(), "", "bin").into_iter().max_by_key(|(version, _)| *version);
        assert_eq!(newest, Some((15, parent.path().join("15/bin"))));
    }

    #[tokio::test]
    async fn a_program_on_the_path_is_found_and_a_builtin_is_not() {
        assert!(on_path("sh").await.is_some_and(|path| path.is_file()));
        assert_eq!(on_path("cd").await, None);
        assert_eq!(on_path("no-such-program-anywhere").await, None);
    }
}
