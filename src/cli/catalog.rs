//! `orderfleet catalog import`: articles, prices and first stock from a CSV file.
//!
//! Its columns are told in `domain/catalogue.rs`. Either all rows are imported or none.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::domain::catalogue;
use crate::roles::CommandError;
use crate::store::Store;
use crate::terminal::say;

/// Faults that are shown: more of them have one cause.
const FAULTS_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum CatalogCommand {
    /// Import a CSV file. The same file again changes nothing; stock that is there stays.
    Import {
        /// The file.
        file: PathBuf,
    },
}

pub(super) async fn run(command: CatalogCommand, store: &Store) -> Result<ExitCode, CommandError> {
    let CatalogCommand::Import { file } = command;
    let text = std::fs::read_to_string(&file)
        .map_err(|error| CommandError::Io(file.display().to_string(), error))?;
    let rows = catalogue::read(&text).map_err(|faults| {
        let shown: Vec<String> = faults.iter().take(FAULTS_SHOWN).cloned().collect();
        let more = faults.len().saturating_sub(FAULTS_SHOWN);
        let more = if more > 0 { format!("\n  … and {more} more") } else { String::new() };
        CommandError::Refused(format!("{} was not imported:\n  {}{more}", file.display(), shown.join("\n  ")))
    })?;
    store.import_catalogue(&rows).await?;
    say(&format!("{} articles are in the catalogue.", rows.len()));
    Ok(ExitCode::SUCCESS)
}
