//! `orderfleet catalog import`: articles, prices and first stock, or coupons, from a CSV file.
//!
//! Their columns are told in `domain/catalogue.rs` and `domain/coupon.rs`; a file with a column `code` holds coupons. Either
//! all rows are imported or none. Who did it is written down.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use crate::config::operator;
use crate::domain::{catalogue, coupon};
use crate::roles::CommandError;
use crate::store::{Store, actions, catalogue as articles, coupons};
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
    let (actor, name) = (operator(None), file.file_name().unwrap_or_default().to_string_lossy());
    let told = if coupon::is_in(&text) {
        let rows = coupon::read(&text).map_err(|faults| refused(&faults))?;
        let mut tx = store.begin().await?;
        coupons::import(&mut tx, &rows).await.map_err(|error| match coupons::refusal(&error) {
            Some(why) => refused(&[why.to_owned()]),
            None => error.into(),
        })?;
        let detail = json!({ "file": name, "coupons": rows.len() });
        actions::note(&mut tx, &actor, "catalog.import", &detail).await?;
        tx.commit().await?;
        format!("{} coupons were read in.", rows.len())
    } else {
        let rows = catalogue::read(&text).map_err(|faults| refused(&faults))?;
        let mut tx = store.begin().await?;
        articles::import(&mut tx, &rows).await?;
        let detail = json!({ "file": name, "articles": rows.len() });
        actions::note(&mut tx, &actor, "catalog.import", &detail).await?;
        tx.commit().await?;
        format!("{} articles are in the catalogue.", rows.len())
    };
    say(&told);
    Ok(ExitCode::SUCCESS)
}
