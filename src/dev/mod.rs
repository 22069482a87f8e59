//! `orderfleet dev`: the whole fleet on this machine, with servers of its own.

use std::ffi::OsString;
use std::path::PathBuf;

pub mod servers;

/// What `orderfleet dev` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct DevArguments {
    /// Only start a throw-away Postgres and Redis, migrated; print their addresses, or run COMMAND beside them with
    /// `DATABASE_URL` and `REDIS_URL` set, and end with its status.
    #[arg(long)]
    pub servers_only: bool,
    /// Where private data lies.
    #[arg(long, value_name = "FOLDER", default_value = ".orderfleet")]
    pub folder: PathBuf,
    /// What to run beside the servers.
    #[arg(last = true, requires = "servers_only", value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
