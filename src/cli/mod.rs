//! The commands of the one binary: what they take, and who carries them out.
//!
//! Roles (`intake`, `worker`, `ops`, `sandbox`, `dev`) run until they are told to stop; the others answer and end. Every reading
//! command takes `--json`. Failures end with one message that says what happened, what it means and what to do next.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Need, Settings, Sources, load_for};
use crate::demo::DemoArguments;
use crate::dev::DevArguments;
use crate::roles::{self, CommandError};
use crate::store::Store;
use crate::terminal::{complain, say};

mod actions;
mod catalog;
mod checks;
mod customers;
mod dead;
#[cfg(test)]
mod documented;
mod keys;
mod mails;
mod orders;
mod queues;
mod stock;
mod webhooks;
mod workers;

/// A queue-driven background worker fleet for shops.
#[derive(Debug, Parser)]
#[command(name = "orderfleet", version, about, max_term_width = 110)]
pub struct Cli {
    /// A configuration file that is read after the defaults and before the environment.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: private Postgres and Redis, sandbox, intake, one worker.
    Dev(DevArguments),
    /// Place orders at a running fleet whose providers are the sandbox, pay them, and follow each to its end.
    Demo(DemoArguments),
    /// Run the HTTP side.
    Intake,
    /// Run one process of the fleet.
    Worker {
        /// Work these lanes only.
        #[arg(long, value_delimiter = ',', value_name = "LANES")]
        lanes: Vec<String>,
        /// Slices in hand at once, for every lane.
        #[arg(long, value_name = "N")]
        concurrency: Option<usize>,
        /// The port of health and metrics; `worker.health_host` says on which address.
        #[arg(long, value_name = "PORT")]
        health_port: Option<u16>,
    },
    /// Serve what operators see and do: the web console, and the same as JSON below /ops/v1.
    Ops,
    /// Run the stand-ins for Stripe, EasyPost and the mail server.
    Sandbox,
    /// Bring the database's schema to this version.
    Migrate,
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Bring articles and prices in.
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// Change an article's stock.
    #[command(subcommand)]
    Stock(stock::StockCommand),
    /// Look at orders, and at what is stuck.
    #[command(subcommand)]
    Orders(orders::OrdersCommand),
    /// Erase a customer's personal data.
    #[command(subcommand)]
    Customers(customers::CustomersCommand),
    /// See every lane, pause and limit it, and ask why a job is not running.
    Queues(queues::QueuesArguments),
    /// Work with jobs that were given up: see, replay, edit, drop, carry them elsewhere.
    Dead(dead::DeadArguments),
    /// See the live workers, and ask one to drain.
    Workers(workers::WorkersArguments),
    /// See what operators did, saw and took along.
    Actions(actions::ActionsArguments),
    /// See any mail of any order, and say who gets none.
    #[command(subcommand)]
    Mails(mails::MailsCommand),
    /// Find out why a webhook is refused.
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// Check every invariant; ends with 1 where one does not hold.
    Audit(checks::AuditArguments),
    /// Check configuration, servers and providers, and say what to change.
    Doctor(checks::DoctorArguments),
}

impl Cli {
    /// Carries the command out.
    pub async fn run(self) -> ExitCode {
        roles::tls();
        match Box::pin(self.carry_out()).await {
            Ok(status) => status,
            Err(error) => {
                complain(&format!("orderfleet: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    async fn carry_out(self) -> Result<ExitCode, CommandError> {
        let Self { config, command } = self;
        let settings = |needs: &[Need]| settings(config.clone(), needs);
        match command {
            Command::Dev(arguments) => Box::pin(crate::dev::run(arguments, config)).await,
            Command::Demo(arguments) => {
                let settings = settings(&[Need::Postgres])?;
                Box::pin(crate::demo::run(arguments, settings)).await
            }
            Command::Intake => {
                Box::pin(roles::intake(settings(Need::INTAKE)?)).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Worker { lanes, concurrency, health_port } => {
                let mut settings = settings(Need::WORKER)?;
                narrow(&mut settings, lanes, concurrency, health_port)?;
                Box::pin(roles::worker(settings)).await
            }
            Command::Ops => {
                Box::pin(roles::ops(settings(Need::OPS)?)).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Sandbox => {
                roles::sandbox(settings(SANDBOX)?).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Migrate => {
                let version = store(&settings(&[Need::Postgres])?)?.migrate().await?;
                say(&format!("The schema is at version {version}."));
                Ok(ExitCode::SUCCESS)
            }
            Command::Keys(command) => keys::run(command, &store(&settings(&[Need::Postgres])?)?).await,
            Command::Catalog(command) => catalog::run(command, &store(&settings(&[Need::Postgres])?)?).await,
            Command::Stock(command) => stock::run(command, &store(&settings(&[Need::Postgres])?)?).await,
            Command::Orders(command) => orders::run(command, &settings(&[Need::Postgres])?).await,
            Command::Customers(command) => {
                customers::run(command, &store(&settings(&[Need::Postgres])?)?).await
            }
            Command::Queues(arguments) => {
                Box::pin(queues::run(arguments, &settings(&[Need::Postgres, Need::Redis])?)).await
            }
            Command::Dead(arguments) => Box::pin(dead::run(arguments, &settings(&[Need::Postgres])?)).await,
            Command::Workers(arguments) => {
                Box::pin(workers::run(arguments, &settings(&[Need::Postgres, Need::Redis])?)).await
            }
            Command::Actions(arguments) => {
                actions::run(arguments, &store(&settings(&[Need::Postgres])?)?).await
            }
            Command::Mails(command) => Box::pin(mails::run(command, &settings(&[Need::Postgres])?)).await,
            Command::Webhooks(command) => {
                let settings = settings(webhooks::needs(&command))?;
                webhooks::run(command, &settings)
            }
            Command::Audit(arguments) => checks::audit(arguments, &settings(&[Need::Postgres])?).await,
            Command::Doctor(arguments) => checks::doctor(arguments, &settings(&[])?).await,
        }
    }
}

/// What the stand-ins need: the keys that they ask for and sign with.
const SANDBOX: &[Need] = &[Need::StripeApi, Need::StripeWebhook, Need::EasyPostApi, Need::EasyPostWebhook];

/// The settings, with what this command needs: every fault at once.
fn settings(config: Option<PathBuf>, needs: &[Need]) -> Result<Settings, CommandError> {
    Ok(load_for(&Sources::here(config), needs)?)
}

fn store(settings: &Settings) -> Result<Store, CommandError> {
    Ok(Store::new(&settings.postgres)?)
}

/// What the command line says of a worker wins over its settings.
fn narrow(
    settings: &mut Settings,
    lanes: Vec<String>,
    concurrency: Option<usize>,
    health_port: Option<u16>,
) -> Result<(), CommandError> {
    if let Some(unknown) = lanes.iter().find(|name| crate::job::Lane::named(name).is_none()) {
        let known = crate::job::Lane::ALL.map(crate::job::Lane::name).join(", ");
        return Err(CommandError::Refused(format!("there is no lane {unknown:?}; the lanes are {known}")));
    }
    if !lanes.is_empty() {
        settings.worker.lanes = lanes;
    }
    if let Some(concurrency) = concurrency {
        settings.lanes.values_mut().for_each(|lane| lane.concurrency = concurrency.max(1));
    }
    if let Some(port) = health_port {
        settings.worker.health_port = port;
    }
    Ok(())
}
