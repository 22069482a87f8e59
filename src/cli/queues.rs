//! `orderfleet queues`: every lane, what may be changed of it while the fleet runs, and why a job is not running.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config::{Settings, operator};
use crate::ids::JobId;
use crate::ops::controls::{self, ControlRefused, Controls};
use crate::ops::{queues, why};
use crate::queue::{Change, Queue};
use crate::roles::CommandError;
use crate::store::Store;
use crate::terminal::{say, say_json};

#[derive(Debug, Args)]
pub(super) struct QueuesArguments {
    #[command(subcommand)]
    command: Option<QueuesCommand>,
    /// How soon a backlog should be worked off, for the number of workers that is wanted; `worker.target_wait_seconds`
    /// where it is not given.
    #[arg(long, value_name = "SECONDS")]
    target: Option<u64>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum QueuesCommand {
    /// Hand nothing more of a lane over, in the whole fleet. What is in hand goes on.
    Pause {
        /// Its name.
        lane: String,
    },
    /// Hand a lane's jobs over again.
    Resume {
        /// Its name.
        lane: String,
    },
    /// Limit a lane in the whole fleet: `concurrency=N` jobs in hand at once, `rate=N` jobs a second. 0 is no limit;
    /// `default` is what the settings say.
    Set {
        /// Its name.
        lane: String,
        /// What to set.
        #[arg(required = true, value_name = "LIMIT=N")]
        limits: Vec<String>,
    },
    /// Say why a job is not running, and what to do.
    Why {
        /// Its id: `job_…`, or the UUID that stands in the database.
        #[arg(value_parser = job_id)]
        job: JobId,
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(arguments: QueuesArguments, settings: &Settings) -> Result<ExitCode, CommandError> {
    // One that is not durable can be looked at all the same.
    let mut redis = settings.redis.clone();
    redis.require_durable = false;
    let queue = Queue::connect(&redis, &settings.queue, &settings.lanes).await?;
    let (store, actor) = (Store::new(&settings.postgres)?, operator(None));
    let controls = Controls { queue: &queue, store: &store, actor: &actor };
    match arguments.command {
        None => {
            let target =
                Duration::from_secs(arguments.target.unwrap_or(settings.worker.target_wait_seconds).max(1));
            let report = queues::look(&queue, &store, settings, target).await?;
            if arguments.json {
                say_json(&report);
            } else {
                say(queues::render(&report).trim_end());
            }
        }
        Some(QueuesCommand::Pause { lane }) => {
            let lane = controls::lane(&lane).map_err(refused)?;
            controls.pause(lane).await.map_err(refused)?;
            say(&format!(
                "{lane} is paused in the whole fleet. `orderfleet queues resume {lane}` ends that."
            ));
        }
        Some(QueuesCommand::Resume { lane }) => {
            let lane = controls::lane(&lane).map_err(refused)?;
            controls.resume(lane).await.map_err(refused)?;
            say(&format!("{lane} is handed over again."));
        }
        Some(QueuesCommand::Set { lane, limits }) => set(&controls, settings, &lane, &limits).await?,
        Some(QueuesCommand::Why { job, json }) => {
            let facts = why::gather(&queue, &store, settings, job).await?;
            let answer = why::explain(&facts);
            if json || arguments.json {
                say_json(&answer);
            } else {
                say(why::render(job, &answer).trim_end());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(
    controls: &Controls<'_>,
    settings: &Settings,
    lane: &str,
    limits: &[String],
) -> Result<(), CommandError> {
    let lane = controls::lane(lane).map_err(refused)?;
    let (mut concurrency, mut rate) = (None, None);
    for limit in limits {
        match read(limit)? {
            (Limit::Concurrency, change) => concurrency = Some(change),
            (Limit::Rate, change) => rate = Some(change),
        }
    }
    controls.limit(lane, settings.lanes.get(lane.name()), (concurrency, rate)).await.map_err(refused)?;
    let said = |name: &str, change: Option<Change>| match change {
        Some(Change::To(0)) => format!(" {name}: no limit."),
        Some(Change::To(most)) => format!(" {name}: {most}."),
        Some(Change::Default) => format!(" {name}: what the settings say."),
        None => String::new(),
    };
    say(&format!(
        "{lane}, in the whole fleet, from the next claim on:{}{}",
        said("jobs in hand at once", concurrency),
        said("jobs a second", rate)
    ));
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Limit {
    Concurrency,
    Rate,
}

fn read(text: &str) -> Result<(Limit, Change), CommandError> {
    let refused = || {
        CommandError::Refused(format!(
            "{text:?} is no limit: say concurrency=N or rate=N, where N is a whole number (0: no limit) or `default`. \
             Nothing was changed"
        ))
    };
    let (name, value) = text.split_once('=').ok_or_else(refused)?;
    let limit = match name {
        "concurrency" => Limit::Concurrency,
        "rate" => Limit::Rate,
        _ => return Err(refused()),
    };
    let change =
        if value == "default" { Change::Default } else { Change::To(value.parse().map_err(|_| refused())?) };
    Ok((limit, change))
}

fn job_id(text: &str) -> Result<JobId, String> {
    let in_database = text.parse::<uuid::Uuid>().ok().map(JobId::from);
    in_database.map_or_else(|| text.parse().map_err(|error| format!("{error}")), Ok)
}

fn refused(refused: ControlRefused) -> CommandError {
    match refused {
        ControlRefused::Queue(error) => CommandError::Queue(error),
        ControlRefused::UnknownLane(_) | ControlRefused::TooFew(..) => {
            CommandError::Refused(refused.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_the_default() {
        assert_eq!(read("rate=12").unwrap(), (Limit::Rate, Change::To(12)));
        assert_eq!(read("concurrency=default").unwrap(), (Limit::Concurrency, Change::Default));
        for wrong in ["rate", "rate=", "rate=-1", "rate=many", "speed=3"] {
            assert!(
                read(wrong).is_err_and(|error| error.to_string().contains("Nothing was changed")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_job_is_named_as_we_print_it_or_as_the_database_does() {
        let job = JobId::new();
        assert_eq!(job_id(&job.to_string()), Ok(job));
        assert_eq!(job_id(&job.uuid().to_string()), Ok(job));
        assert!(job_id("OF-100001").is_err());
    }
}
