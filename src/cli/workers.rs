//! `orderfleet workers`: who lives, and how one is asked to drain.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{Settings, operator};
use crate::ops::controls::Controls;
use crate::ops::workers::{self, DrainError};
use crate::queue::Queue;
use crate::roles::CommandError;
use crate::store::Store;
use crate::terminal::{say, say_json};

#[derive(Debug, Args)]
pub(super) struct WorkersArguments {
    #[command(subcommand)]
    command: Option<WorkersCommand>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum WorkersCommand {
    /// Ask a worker to take nothing new, finish what it has, and end, as SIGTERM does.
    Drain {
        /// Its id, as `orderfleet workers` shows it.
        id: String,
    },
}

pub(super) async fn run(arguments: WorkersArguments, settings: &Settings) -> Result<ExitCode, CommandError> {
    // One that is not durable can be looked at all the same.
    let mut redis = settings.redis.clone();
    redis.require_durable = false;
    let queue = Queue::connect(&redis, &settings.queue, &settings.lanes).await?;
    if let Some(WorkersCommand::Drain { id }) = arguments.command {
        let (store, actor) = (Store::new(&settings.postgres)?, operator(None));
        let controls = Controls { queue: &queue, store: &store, actor: &actor };
        controls.drain(&id).await.map_err(|error| match error {
            DrainError::Queue(error) => CommandError::Queue(error),
            unknown @ DrainError::Unknown(..) => CommandError::Refused(unknown.to_string()),
        })?;
        say(&format!("{id} is asked to drain: it hears it within a second, and ends when its jobs have."));
        return Ok(ExitCode::SUCCESS);
    }
    let found = workers::look(&queue).await?;
    if arguments.json {
        say_json(&found);
    } else {
        say(workers::render(&found).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
