//! `orderfleet customers`: what a customer may ask of the shop about their own data.

use std::process::ExitCode;

use clap::Subcommand;

use crate::config::operator;
use crate::ops::customers::{self, EraseRefused};
use crate::roles::CommandError;
use crate::store::Store;
use crate::terminal::{say, say_json};

#[derive(Debug, Subcommand)]
pub(super) enum CustomersCommand {
    /// Erase a customer: their orders keep money, goods and history, and lose the person. Refused while anything of theirs
    /// is under way; twice is the same as once. It can not be undone.
    Erase {
        /// The shop's id of the customer, as in their orders.
        id: String,
        /// Whose shop.
        #[arg(long, default_value = "main")]
        tenant: String,
        /// Why, for the record: no name.
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// Who does it, for the record; else the name that you are logged in by.
        #[arg(long = "as", value_name = "NAME")]
        actor: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: CustomersCommand, store: &Store) -> Result<ExitCode, CommandError> {
    let CustomersCommand::Erase { id, tenant, why, actor, json } = command;
    let why = why.trim();
    if why.is_empty() {
        return Err(CommandError::Refused(
            "say --why, for who reads it later. Nothing was changed".to_owned(),
        ));
    }
    let actor = operator(actor);
    let report = customers::erase(store, (&tenant, &id), &actor, why).await.map_err(|error| match error {
        EraseRefused::Store(error) => CommandError::Store(error),
        EraseRefused::UnderWay(_) => CommandError::Refused(error.to_string()),
    })?;
    if json {
        say_json(&report);
    } else if let Some(instead) = &report.instead {
        let erased = report.erased;
        say(&format!(
            "Erased: {} orders, {} mails, {} intents, {} dead letters. In their place stands {instead}.",
            erased.orders, erased.mails, erased.intents, erased.letters
        ));
        say(
            "Not ours to erase: what Stripe, EasyPost and your mail server keep, logs, and backups until they expire.",
        );
    } else {
        say(&format!("Nothing is kept of this customer in shop {tenant:?}."));
    }
    Ok(ExitCode::SUCCESS)
}
