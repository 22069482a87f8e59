//! `orderfleet stock`: how many pieces there are. Every change is a movement in the ledger.

use std::process::ExitCode;

use clap::Subcommand;

use crate::ids::JobId;
use crate::roles::CommandError;
use crate::store::stock::{Change, is_below_held};
use crate::store::{Store, StoreError};
use crate::terminal::{say, say_json};

#[derive(Debug, Subcommand)]
pub(super) enum StockCommand {
    /// Say how many pieces are in the house.
    Set {
        /// The article.
        sku: String,
        /// Pieces.
        #[arg(allow_negative_numbers = true)]
        pieces: i64,
        #[arg(long)]
        json: bool,
    },
    /// Add pieces, or take them away.
    Adjust {
        /// The article.
        sku: String,
        /// Pieces; negative takes away.
        #[arg(allow_negative_numbers = true)]
        pieces: i64,
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: StockCommand, store: &Store) -> Result<ExitCode, CommandError> {
    let (sku, change, json) = match command {
        StockCommand::Set { sku, pieces, json } => (sku, Change::Set(pieces), json),
        StockCommand::Adjust { sku, pieces, json } => (sku, Change::Adjust(pieces), json),
    };
    // Each call of the command is one request of its own.
    let source = format!("cli:{}", JobId::new());
    let changed = store.change_stock(&sku, change, &source).await.map_err(|error| refused(&sku, error))?;
    let Some((on_hand, held)) = changed else {
        return Err(CommandError::Refused(format!(
            "the shop sells no {sku:?}; import it with `orderfleet catalog import`"
        )));
    };
    if json {
        say_json(
            &serde_json::json!({ "sku": sku, "on_hand": on_hand, "reserved": held, "available": on_hand - held }),
        );
    } else {
        say(&format!("{sku}: {on_hand} in the house, {held} held, {} to sell", on_hand - held));
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(sku: &str, error: StoreError) -> CommandError {
    if is_below_held(&error) {
        return CommandError::Refused(format!(
            "{sku} was not changed: fewer pieces would be left than customers hold. Wait for the holds to end, or cancel \
             their orders first"
        ));
    }
    error.into()
}
