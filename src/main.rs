//! Parses the command and carries it out.

use std::process::ExitCode;

use clap::Parser;
use orderfleet::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
