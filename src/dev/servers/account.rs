//! Who runs the servers and where their data lies.
//!
//! Postgres refuses to run as root, so for root the servers run as an unprivileged user, in a folder that this user can
//! enter: the folder asked for where every folder above it lets others pass, else one below [`ROOTS_PLACE`] that is
//! named by a hash of the folder asked for, so that two clones never share data. Nothing is ever written elsewhere.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::error::ServerError;

/// Root's data, for clones that nobody else can enter (a clone below `/root`).
const ROOTS_PLACE: &str = "/var/lib/orderfleet-dev";
/// Who may run them for root: the distribution's user for Postgres, else the user who owns nothing.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The user who runs the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// We ourselves.
    Own,
    /// For root: somebody without rights.
    Other { uid: u32, gid: u32 },
}

impl Account {
    pub(super) async fn find() -> Result<Self, ServerError> {
        if id(&["-u"]).await != Some(0) {
            return Ok(Self::Own);
        }
        for user in UNPRIVILEGED {
            if let (Some(uid), Some(gid)) = (id(&["-u", user]).await, id(&["-g", user]).await) {
                return Ok(Self::Other { uid, gid });
            }
        }
        Err(ServerError::NoAccount)
    }

    /// The folder to use when `wished` was asked for; made if it is not there.
    pub(super) fn place(self, wished: &Path) -> Result<PathBuf, ServerError> {
        let wished = std::path::absolute(wished).map_err(ServerError::io("resolve", wished))?;
        let place = match self {
            Self::Other { .. } if !lets_others_pass(&wished) => Path::new(ROOTS_PLACE).join(name_of(&wished)),
            Self::Own | Self::Other { .. } => wished,
        };
        if place.starts_with(ROOTS_PLACE) {
            self.make_open(Path::new(ROOTS_PLACE))?;
        }
        self.make_open(&place)?;
        Ok(place)
    }

    /// Makes a folder that this account can enter, whatever our umask is.
    pub(super) fn make_open(self, folder: &Path) -> Result<(), ServerError> {
        make_folder(folder, 0o755)?;
        match self {
            Self::Own => Ok(()),
            Self::Other { .. } => fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
                .map_err(ServerError::io("open to others", folder)),
        }
    }

    /// Makes a folder that this account alone can read (and root).
    pub(super) fn make_private(self, folder: &Path) -> Result<(), ServerError> {
        make_folder(folder, 0o700)?;
        self.give(folder)
    }

    /// Writes a file that this account alone can read (and root): it holds a password.
    pub(super) fn write_private(self, file: &Path, text: &str) -> Result<(), ServerError> {
        fs::write(file, "").map_err(ServerError::io("write", file))?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))
            .map_err(ServerError::io("close", file))?;
        self.give(file)?;
        fs::write(file, text).map_err(ServerError::io("write", file))
    }

    /// Makes this account the owner.
    pub(super) fn give(self, path: &Path) -> Result<(), ServerError> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(uid), Some(gid)).map_err(ServerError::io("change the owner of", path))
            }
        }
    }

    /// A command that this account runs, in `folder`, with nothing of our environment: a stray `PGDATA` or `PGPORT`
    /// must not lead a private server to another's data.
    pub(super) fn command(self, program: impl AsRef<OsStr>, folder: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command.current_dir(folder).env_clear().env("LC_ALL", "C");
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// What `id` says: the way to a user's numbers that needs no unsafe call and knows every directory service.
async fn id(arguments: &[&str]) -> Option<u32> {
    let said = Command::new("id").args(arguments).stderr(Stdio::null()).output().await.ok()?;
    String::from_utf8(said.stdout).ok()?.trim().parse().ok()
}

/// Whether every folder that exists on the way to `folder` can be entered by anybody.
fn lets_others_pass(folder: &Path) -> bool {
    const OTHERS_ENTER: u32 = 0o001;
    folder
        .ancestors()
        .filter_map(|above| fs::metadata(above).ok())
        .all(|about| about.permissions().mode() & OTHERS_ENTER != 0)
}

/// A name that two folders never share.
fn name_of(folder: &Path) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, folder.as_os_str().as_bytes());
    super::hex(&digest.as_ref()[..8])
}

fn make_folder(folder: &Path, mode: u32) -> Result<(), ServerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .map_err(ServerError::io("make the folder", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_above_sends_root_elsewhere() {
        let open = tempfile::tempdir().unwrap();
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let below = open.path().join("clone/.orderfleet");
        assert!(lets_others_pass(&below));
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!lets_others_pass(&below));
        assert_eq!(Account::Own.place(&below).unwrap(), below);
        assert_ne!(name_of(&below), name_of(open.path()));
    }
}
