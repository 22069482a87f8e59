//! `orderfleet dead`: jobs that were given up, and what a person may do with them.

use std::io::Read as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{Settings, operator};
use crate::ids::DeadLetterId;
use crate::job::Failure;
use crate::ops::dead_letters::{self as letters, EditRefused, Rehearsed, Replayed};
use crate::roles::{self, CommandError};
use crate::store::Store;
use crate::terminal::{complain, say, say_json};
pub(super) use choice::moment;
use choice::{Became, Choice, Chosen, letter_id};

mod choice;

/// Letters that a rehearsal tries, at most: each is a transaction of its own.
const REHEARSED: usize = 1_000;
/// What one import reads, at most: some 100,000 letters.
const LONGEST_IMPORT: u64 = 256 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct DeadArguments {
    #[command(subcommand)]
    command: DeadCommand,
    /// Who does it, for the record; else the name that you are logged in by.
    #[arg(long = "as", global = true, value_name = "NAME")]
    actor: Option<String>,
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    /// List them, the newest first.
    List {
        #[command(flatten)]
        choice: Choice,
        /// Those of which this became.
        #[arg(long, value_enum, default_value_t)]
        state: Became,
        /// What they died of, with counts, instead of each.
        #[arg(long)]
        groups: bool,
        /// How many, at most 1,000.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: i64,
        /// Go on after this one.
        #[arg(long, value_name = "ID", value_parser = letter_id)]
        after: Option<DeadLetterId>,
    },
    /// Show one: its fields, every attempt, its order, what was done with it.
    Show {
        /// Its id: `dead_…`, or the UUID that stands in the database.
        #[arg(value_parser = letter_id)]
        id: DeadLetterId,
        /// Show what its fields say of persons too. That is written down.
        #[arg(long)]
        personal_data: bool,
    },
    /// Take them up again, each once.
    Replay {
        #[command(flatten)]
        chosen: Chosen,
        /// Only say what each would do: nothing is written, and no provider is called.
        #[arg(long)]
        dry_run: bool,
    },
    /// Change the fields of one before it is replayed.
    Edit {
        /// Its id.
        #[arg(value_parser = letter_id)]
        id: DeadLetterId,
        /// The new fields: a file of JSON; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        payload: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
    /// Give them up for good. They stay to be seen, and are never replayed.
    Drop {
        #[command(flatten)]
        chosen: Chosen,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// Only say how many.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write them as JSON lines.
    Export {
        #[command(flatten)]
        choice: Choice,
        /// Those of which this became.
        #[arg(long, value_enum, default_value_t)]
        state: Became,
        /// With what their fields say of persons: else they are masked, and can not be imported. That is written down.
        #[arg(long)]
        personal_data: bool,
    },
    /// Bring exported ones in. One that is here already is left as it is.
    Import {
        /// A file of JSON lines; `-` is standard input.
        file: String,
    },
}

pub(super) async fn run(arguments: DeadArguments, settings: &Settings) -> Result<ExitCode, CommandError> {
    let DeadArguments { command, actor, json } = arguments;
    let actor = operator(actor);
    let store = Store::new(&settings.postgres)?;
    match command {
        DeadCommand::List { choice, state, groups, limit, after } => {
            let of = choice.of(state)?;
            if groups {
                let groups = store.dead_groups(&of, letters::GROUPS).await?;
                if json { say_json(&groups) } else { say(letters::render_groups(&groups).trim_end()) }
            } else {
                let limit = limit.clamp(1, letters::LONGEST_PAGE);
                let heads = store.dead_letters(&of, after, limit).await?;
                if json { say_json(&heads) } else { list(&heads, limit) }
            }
        }
        DeadCommand::Show { id, personal_data } => show(&store, (&actor, personal_data), id, json).await?,
        DeadCommand::Replay { chosen, dry_run } => {
            let of = chosen.selection()?;
            if dry_run {
                let rules = roles::rules(settings)?;
                let tried = letters::rehearse(&store, &of, &rules, REHEARSED).await.map_err(told)?;
                if json { say_json(&tried) } else { rehearsed(&tried) }
            } else {
                let progress = |far: &Replayed| complain(&format!("{} replayed …", far.replayed));
                let done = letters::replay(&store, &of, &actor, progress).await.map_err(told)?;
                if json { say_json(&done) } else { replayed(&done) }
            }
        }
        DeadCommand::Edit { id, payload, why } => {
            let payload = serde_json::from_str(&read(&payload)?).map_err(|error| {
                CommandError::Refused(format!("that is no JSON: {error}. Nothing was changed"))
            })?;
            letters::edit(&store, id, &payload, (&actor, reason(&why)?)).await.map_err(
                |error| match error {
                    EditRefused::Store(error) => CommandError::Store(error),
                    EditRefused::NotOpen(_) | EditRefused::UnknownKind(..) | EditRefused::NoPayload(..) => {
                        CommandError::Refused(error.to_string())
                    }
                },
            )?;
            say(&format!(
                "{id} has other fields now. `orderfleet dead replay {id} --dry-run` says what they lead to."
            ));
        }
        DeadCommand::Drop { chosen, why, dry_run } => {
            let (of, why) = (chosen.selection()?, reason(&why)?);
            if dry_run {
                let groups = store.dead_groups(&of, letters::GROUPS).await?;
                if json { say_json(&groups) } else { say(letters::render_groups(&groups).trim_end()) }
            } else {
                let dropped = letters::drop_all(&store, &of, &actor, why).await.map_err(told)?;
                if json {
                    say_json(&serde_json::json!({ "dropped": dropped }));
                } else {
                    say(&format!("{dropped} dropped."));
                }
            }
        }
        DeadCommand::Export { choice, state, personal_data } => {
            let of = choice.of(state)?;
            let written = letters::export(&store, &of, (&actor, personal_data), say).await.map_err(told)?;
            complain(&format!("{written} written."));
        }
        DeadCommand::Import { file } => return import(&store, &file, &actor, json).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(heads: &[crate::store::dead_letters::Head], limit: i64) {
    say(letters::render(heads).trim_end());
    if let Some(last) = heads.last().filter(|_| i64::try_from(heads.len()) == Ok(limit)) {
        say(&format!("\nThere may be more: --after {}", last.id));
    }
}

async fn show(
    store: &Store,
    (actor, whole): (&str, bool),
    id: DeadLetterId,
    json: bool,
) -> Result<(), CommandError> {
    let Some(shown) = letters::show(store, id, whole.then_some(actor)).await? else {
        return Err(CommandError::Refused(format!(
            "there is no dead letter {id}; see `orderfleet dead list`"
        )));
    };
    if json {
        say_json(&shown);
    } else {
        say(letters::render_one(&shown).trim_end());
    }
    Ok(())
}

fn replayed(done: &Replayed) {
    say(&format!("{} replayed: workers push them within a second or two.", done.replayed));
    if done.passed_over > 0 {
        say(&format!("{} were taken by somebody else meanwhile.", done.passed_over));
    }
    if !done.unreadable.is_empty() {
        let ids: Vec<String> = done.unreadable.iter().take(SHOWN).map(ToString::to_string).collect();
        say(&format!(
            "{} were left, because this version can not read their fields: `dead edit` or `dead drop` them: {}",
            done.unreadable.len(),
            ids.join(" ")
        ));
    }
}

/// Ids that a sentence names, at most.
const SHOWN: usize = 10;

fn rehearsed(tried: &[Rehearsed]) {
    let mut sums: std::collections::BTreeMap<(&str, String), usize> = std::collections::BTreeMap::new();
    for one in tried {
        *sums.entry((&one.kind, one.would.brief())).or_default() += 1;
    }
    for ((kind, would), letters) in sums {
        say(&format!("{letters:>6} × {kind} would {would}"));
    }
    if tried.len() == REHEARSED {
        say(&format!("Only the newest {REHEARSED} were tried."));
    }
    say(
        "Each was loaded in a transaction that was taken back: nothing was written, and no provider was called.",
    );
    say("What a provider would answer nobody knows yet, nor what would be written then.");
}

async fn import(store: &Store, file: &str, actor: &str, json: bool) -> Result<ExitCode, CommandError> {
    let text = read(file)?;
    let brought = letters::bring_in(store, text.lines(), actor).await.map_err(told)?;
    if json {
        say_json(&brought);
    } else {
        say(&format!("{} brought in, {} known already.", brought.brought, brought.known));
        for (line, why) in &brought.refused {
            complain(&format!("line {line} was refused: {why}"));
        }
    }
    Ok(if brought.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &str) -> Result<String, CommandError> {
    let failed = |error| CommandError::Io(format!("{file} could not be read"), error);
    let mut text = String::new();
    if file == "-" {
        std::io::stdin().take(LONGEST_IMPORT).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(file).map_err(failed)?;
        file.take(LONGEST_IMPORT).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

fn reason(why: &str) -> Result<&str, CommandError> {
    let why = why.trim();
    if why.is_empty() {
        return Err(CommandError::Refused(
            "say --why, for who reads it later. Nothing was changed".to_owned(),
        ));
    }
    Ok(why)
}

/// A batch that could not be done: what was done before it stays done.
fn told(failure: Failure) -> CommandError {
    let Failure { code, detail, .. } = failure;
    CommandError::Refused(format!(
        "{code}: {detail}. Batches before this one are done, this one is not: the same command again goes on where it ended"
    ))
}
