//! Parses the command and carries it out.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use orderfleet::cli::Cli;

/// A request and a job are many small pieces of memory for a moment: a quarter of the intake's time was the system's
/// allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
