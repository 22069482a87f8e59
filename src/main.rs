//! Parses the role and calls it.

use std::process::ExitCode;

use clap::Parser;
use orderfleet::dev::DevArguments;
use orderfleet::dev::servers::run_beside;

/// The fleet, one role each.
#[derive(Debug, Parser)]
enum Role {
    /// Everything on this machine.
    Dev(DevArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Role::Dev(arguments) = Role::parse();
    match run_beside(&arguments.folder, &arguments.command, async |_| Ok(())).await {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
