//! `orderfleet stock`: how many pieces there are. Every change is a movement in the ledger, and who made it is written down.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::config::operator;
use crate::ids::JobId;
use crate::job::Class;
use crate::jobs::commands::correct_stock::{Corrected, correct_stock};
use crate::roles::CommandError;
use crate::store::stock::{self, Change, Level, is_below_held};
use crate::store::{Store, StoreError, Stored, actions};
use crate::terminal::{say, say_json};

/// How often a forced change is tried while new holds come in between.
const TRIES: u32 = 5;

#[derive(Debug, Subcommand)]
pub(super) enum StockCommand {
    /// Say how many pieces are in the house.
    Set(StockArguments),
    /// Add pieces, or take them away.
    Adjust(StockArguments),
    /// Say how many pieces may be sold before they come.
    Backorder(BackorderArguments),
}

#[derive(Debug, Args)]
pub(super) struct StockArguments {
    /// The article.
    sku: String,
    /// Pieces; for `adjust`, negative takes away.
    #[arg(allow_negative_numbers = true)]
    pieces: i64,
    /// Even below what customers hold: the youngest holds end, and each of their orders shows it as an exception.
    #[arg(long)]
    force: bool,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct BackorderArguments {
    /// The article.
    sku: String,
    /// Pieces beyond those in the house; 0 sells nothing that is not there.
    #[arg(value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    pieces: i64,
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: StockCommand, store: &Store) -> Result<ExitCode, CommandError> {
    let (action, change, StockArguments { sku, pieces, force, json }) = match command {
        StockCommand::Set(arguments) => ("stock.set", Change::Set(arguments.pieces), arguments),
        StockCommand::Adjust(arguments) => ("stock.adjust", Change::Adjust(arguments.pieces), arguments),
        StockCommand::Backorder(arguments) => return backorder(store, arguments).await,
    };
    // Each call of the command is one request of its own.
    let source = format!("cli:{}", JobId::new());
    let detail = serde_json::json!({ "sku": sku, "pieces": pieces, "force": force, "movement": source });
    let changed = if force {
        forced(store, &sku, change, (&source, action, &detail)).await?
    } else {
        held(store, &sku, change, (&source, action, &detail)).await.map_err(|error| refused(&sku, error))?
    };
    let Some(Corrected { level, shorted }) = changed else { return Err(unknown(&sku)) };
    tell(&sku, level, shorted, json);
    if shorted > 0 && !json {
        say(&format!(
            "{shorted} orders lost their hold; each shows an exception stock_corrected (`orderfleet orders show`)"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn backorder(store: &Store, arguments: BackorderArguments) -> Result<ExitCode, CommandError> {
    let BackorderArguments { sku, pieces, json } = arguments;
    let mut tx = store.begin().await?;
    let level = stock::limit_backorders(&mut tx, &sku, pieces).await.map_err(|error| {
        if is_below_held(&error) {
            CommandError::Refused(format!(
                "{sku} was not changed: more pieces are sold or held before they came than that. Let what is owed come in \
                 first (`stock adjust`), or wait for the holds to end"
            ))
        } else {
            error.into()
        }
    })?;
    let Some(level) = level else { return Err(unknown(&sku)) };
    let detail = serde_json::json!({ "sku": sku, "pieces": pieces });
    actions::note(&mut tx, &operator(None), "stock.backorder", &detail).await?;
    tx.commit().await?;
    tell(&sku, level, 0, json);
    Ok(ExitCode::SUCCESS)
}

fn unknown(sku: &str) -> CommandError {
    CommandError::Refused(format!("the shop sells no {sku:?}; import it with `orderfleet catalog import`"))
}

/// Where an article stands.
fn tell(sku: &str, level: Level, shorted: usize, json: bool) {
    let Level { on_hand, reserved, backorder_limit, backordered, .. } = level;
    let left = level.available();
    if json {
        say_json(&serde_json::json!({
            "sku": sku, "on_hand": on_hand, "reserved": reserved, "backorder_limit": backorder_limit,
            "backordered": backordered, "available": left, "orders_shorted": shorted,
        }));
        return;
    }
    let owed = if backorder_limit > 0 || backordered > 0 {
        format!(", {backordered} of at most {backorder_limit} sold before they came")
    } else {
        String::new()
    };
    say(&format!("{sku}: {on_hand} in the house, {reserved} held{owed}, {left} to sell"));
}

/// What a change is called in the ledger, and how it stands in the record.
type Named<'a> = (&'a str, &'a str, &'a Value);

/// A change that leaves what is held.
async fn held(
    store: &Store,
    sku: &str,
    change: Change,
    (source, action, detail): Named<'_>,
) -> Stored<Option<Corrected>> {
    let mut tx = store.begin().await?;
    let changed = stock::change(&mut tx, sku, change, source).await?;
    if changed.is_some() {
        actions::note(&mut tx, &operator(None), action, detail).await?;
    }
    tx.commit().await?;
    Ok(changed.map(|level| Corrected { level, shorted: 0 }))
}

async fn forced(
    store: &Store,
    sku: &str,
    change: Change,
    (source, action, detail): Named<'_>,
) -> Result<Option<Corrected>, CommandError> {
    for _ in 0..TRIES {
        let mut tx = store.begin().await?;
        match correct_stock(&mut tx, sku, change, source).await {
            Ok(corrected) => {
                if corrected.is_some() {
                    actions::note(&mut tx, &operator(None), action, detail).await?;
                }
                // The workers' sweep pushes the jobs that follow.
                tx.commit().await?;
                return Ok(corrected);
            }
            Err(failure) if matches!(failure.class, Class::Data | Class::Unavailable(_)) => {
                tx.rollback().await?;
            }
            Err(failure) => return Err(CommandError::Refused(format!("{sku} was not changed: {failure}"))),
        }
    }
    Err(CommandError::Refused(format!(
        "{sku} was not changed: fewer than none can't be in the house, and new holds may have come in between {TRIES} \
         times. Ask again, or take the article out of sale first"
    )))
}

fn refused(sku: &str, error: StoreError) -> CommandError {
    if is_below_held(&error) {
        return CommandError::Refused(format!(
            "{sku} was not changed: fewer pieces would be left than customers hold. Wait for the holds to end, or give \
             --force: then the youngest of them end now"
        ));
    }
    error.into()
}
