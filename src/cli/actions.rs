//! `orderfleet actions`: what operators did, saw and took along.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;

use super::dead::moment;
use crate::ops::actions::{self, LONGEST_PAGE, USUAL_PAGE};
use crate::roles::CommandError;
use crate::store::Store;
use crate::store::actions::Sought;
use crate::terminal::{say, say_json};

#[derive(Debug, Args)]
pub(super) struct ActionsArguments {
    /// By this one: `operator mia` of a terminal, or a role and the id of a key, such as `manager:key_…`.
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// This, such as `dead.replay`, or all of a subject, such as `dead`.
    #[arg(long, value_name = "WHAT")]
    action: Option<String>,
    /// Then or later: a time (RFC 3339), or how long ago (90s, 15m, 2h, 3d).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<DateTime<Utc>>,
    /// Before: a time, or how long ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<DateTime<Utc>>,
    /// How many, at most 1,000.
    #[arg(long, value_name = "N", default_value_t = USUAL_PAGE, value_parser = clap::value_parser!(i64).range(1..=LONGEST_PAGE))]
    limit: i64,
    /// Go on after this one, by its number.
    #[arg(long, value_name = "NUMBER")]
    after: Option<i64>,
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: ActionsArguments, store: &Store) -> Result<ExitCode, CommandError> {
    let ActionsArguments { actor, action, since, until, limit, after, json } = arguments;
    let found = store.actions(&Sought { actor, action, since, until }, after, limit).await?;
    if json {
        say_json(&found);
        return Ok(ExitCode::SUCCESS);
    }
    say(actions::render(&found).trim_end());
    if let Some(last) = found.last().filter(|_| i64::try_from(found.len()) == Ok(limit)) {
        say(&format!("Older ones: --after {}", last.id));
    }
    Ok(ExitCode::SUCCESS)
}
