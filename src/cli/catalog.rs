//! `orderfleet catalog import`: articles, prices and first stock, or coupons, from a CSV file.
//!
//! Their columns are told in `domain/catalogue.rs` and `domain/coupon.rs`; a file with a column `code` holds coupons. Either
//! all rows are imported or none.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::domain::{catalogue, coupon};
use crate::roles::CommandError;
use crate::store::{Store, coupons};
use crate::terminal::say;

/// Faults that are shown: more of them have one cause.
const FAULTS_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum CatalogCommand {
    /// Import a CSV file of articles, or of coupons (with a column "code"). The same file again changes nothing; stock
    /// that is there stays, and so do the uses of coupons.
    Import {
        /// The file.
        file: PathBuf,
    },
}

pub(super) async fn run(command: CatalogCommand, store: &Store) -> Result<ExitCode, CommandError> {
    let CatalogCommand::Import { file } = command;
    let text = std::fs::read_to_string(&file)
        .map_err(|error| CommandError::Io(file.display().to_string(), error))?;
    let refused = |faults: &[String]| {
        let shown: Vec<&str> = faults.iter().take(FAULTS_SHOWN).map(String::as_str).collect();
        let more = faults.len().saturating_sub(FAULTS_SHOWN);
        let more = if more > 0 { format!("\n  … and {more} more") } else { String::new() };
        CommandError::Refused(format!("{} was not imported:\n  {}{more}", file.display(), shown.join("\n  ")))
    };
    if coupon::is_in(&text) {
        let rows = coupon::read(&text).map_err(|faults| refused(&faults))?;
        store.import_coupons(&rows).await.map_err(|error| match coupons::refusal(&error) {
            Some(why) => refused(&[why.to_owned()]),
            None => error.into(),
        })?;
        say(&format!("{} coupons were read in.", rows.len()));
    } else {
        let rows = catalogue::read(&text).map_err(|faults| refused(&faults))?;
        store.import_catalogue(&rows).await?;
        say(&format!("{} articles are in the catalogue.", rows.len()));
    }
    Ok(ExitCode::SUCCESS)
}
