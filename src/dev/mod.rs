//! `orderfleet dev`: the whole fleet on this machine, with servers, sandbox and samples of its own.
//!
//! It never writes into a database that it did not make: a `DATABASE_URL` in the environment counts only with `--adopt`,
//! and then no samples are brought in. Where it runs and with which secrets stands in `.orderfleet/dev.toml`, which other
//! commands of this folder read, so that `orderfleet orders show` needs no setting.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Need, Settings, Sources, load_for};
use crate::roles::{self, CommandError};
use crate::store::Store;
use crate::terminal::{complain, say};
use samples::Keys;
use servers::{Durability, Servers};

mod file;
mod samples;
pub mod servers;

pub use file::read_key;

/// How often it is looked whether the private servers still run.
const LOOK: Duration = Duration::from_secs(1);

/// What `orderfleet dev` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct DevArguments {
    /// Only start a throw-away Postgres and Redis, migrated; print their addresses, or run COMMAND beside them with
    /// `DATABASE_URL` and `REDIS_URL` set, and end with its status.
    #[arg(long)]
    pub servers_only: bool,
    /// Use the Postgres and Redis that `DATABASE_URL` and `REDIS_URL` name, and bring no samples in.
    #[arg(long, conflicts_with = "servers_only")]
    pub adopt: bool,
    /// Where private data lies. Other commands find this fleet in `.orderfleet` only.
    #[arg(long, value_name = "FOLDER", default_value = ".orderfleet")]
    pub folder: PathBuf,
    /// What to run beside the servers.
    #[arg(last = true, requires = "servers_only", value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Runs it until Ctrl-C.
pub async fn run(arguments: DevArguments, config: Option<PathBuf>) -> Result<ExitCode, CommandError> {
    if arguments.servers_only {
        return beside(&arguments, config).await;
    }
    let metrics = roles::shared();
    let stop = roles::stop_signal();
    let mut servers = None;
    if !arguments.adopt {
        say("Starting a private Postgres and Redis …");
        servers = Some(Servers::start(&arguments.folder, Durability::PowerLoss).await.map_err(refused)?);
    }
    let settings = file::settings(&arguments, config, servers.as_ref())?;
    let traces = roles::traces(&settings)?;
    let store = Store::new(&settings.postgres)?;
    store.migrate().await?;
    let keys = if arguments.adopt { None } else { Some(samples::bring_in(&store, &arguments.folder).await?) };
    let status = serve(&settings, metrics, keys.as_ref(), &stop, servers.as_mut()).await;
    stop.cancel();
    store.close().await;
    traces.finish().await;
    if let Some(servers) = servers {
        say("Stopping Postgres and Redis …");
        servers.stop().await.map_err(refused)?;
    }
    status
}

/// Runs the roles until `stop`, or until a server of ours ends by itself.
async fn serve(
    settings: &Settings,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    keys: Option<&Keys>,
    stop: &CancellationToken,
    servers: Option<&mut Servers>,
) -> Result<ExitCode, CommandError> {
    let Some(queue) = roles::queue(settings, stop).await? else { return Ok(ExitCode::SUCCESS) };
    let health = roles::worker_health(settings).await?;
    // Providers outlive the worker, and the worker outlives the intake: nobody loses whom they still talk to.
    let (intake_stop, sandbox_stop) = (CancellationToken::new(), CancellationToken::new());
    let sandbox = roles::start_sandbox(settings, sandbox_stop.clone()).await?;
    let intake = roles::start_intake(settings, queue.clone(), metrics.clone(), intake_stop.clone()).await?;
    let ops = roles::start_ops(settings, queue.clone(), None, intake_stop.clone()).await?;
    let working = CancellationToken::new();
    let tasks = TaskTracker::new();
    let fleet = {
        let (settings, queue, working) = (settings.clone(), queue.clone(), working.clone());
        tasks.spawn(
            async move { Box::pin(roles::start_worker(&settings, health, queue, metrics, working)).await },
        )
    };
    intake.ready().await;
    say(&welcome(settings, keys));
    let faulty = watch(servers, stop, &fleet).await;
    say("\nStopping: nothing new is taken, what runs is finished …");
    intake_stop.cancel();
    intake.finished().await;
    ops.finished().await;
    working.cancel();
    let worked = fleet.await.map_err(|error| CommandError::Refused(error.to_string()))?;
    queue.close().await;
    sandbox_stop.cancel();
    sandbox.join().await;
    worked?;
    Ok(if faulty { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Waits for the stop. True where a server of ours, or the worker, ended by itself.
async fn watch<T>(
    mut servers: Option<&mut Servers>,
    stop: &CancellationToken,
    worker: &tokio::task::JoinHandle<T>,
) -> bool {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        if let Some(Err(error)) = servers.as_mut().map(|servers| servers.check()) {
            complain(&format!("orderfleet: {error}"));
            return true;
        }
        if worker.is_finished() {
            complain("orderfleet: the worker has ended by itself");
            return true;
        }
    }
    false
}

/// What a stranger reads first.
fn welcome(settings: &Settings, keys: Option<&Keys>) -> String {
    let address = settings.intake.address;
    let key = keys.map_or("$ORDERFLEET_API_KEY", |keys| keys.web.as_str());
    let staff = keys.map_or("that you gave it", |keys| keys.staff.as_str());
    format!(
        r#"
Orderfleet is ready.

  intake    http://{address}        (routes: http://{address}/docs)
  ops       http://{ops}        (the console; sign in with the staff's key {staff})
  health    http://127.0.0.1:{intake}/readyz and /metrics (intake), http://127.0.0.1:{worker}/readyz and /metrics (worker)
  sandbox   http://{sandbox}/_sandbox/truth    (stands in for Stripe and EasyPost; mail: {smtp})
  API key   {key}

Place an order, from another terminal in this folder:

  ANSWER=$(curl -s -X POST http://{address}/v1/order-intents \
    -H 'Authorization: Bearer {key}' -H "Idempotency-Key: $(date +%s%N)" \
    -H 'Content-Type: application/json' -H 'Prefer: wait=10' \
    -d '{{"cart_id":"cart_'$(date +%s%N)'","customer":{{"id":"cus_7","email":"a@example.com","name":"A. Buyer"}},"currency":"USD",
         "lines":[{{"sku":"SUIT-42R","quantity":1}}],
         "shipping_address":{{"name":"A. Buyer","phone":"+9779841234567","address_line1":"123 Main St","city":"Kathmandu",
                             "state":"Bagmati","postal_code":"44600","country":"NP"}}}}'); echo "$ANSWER"

Pay it, as the customer's browser would:

  field() {{ echo "$ANSWER" | sed -n 's/.*"'$1'":"\([^"]*\)".*/\1/p'; }}
  curl -s http://{sandbox}/v1/payment_intents/$(field payment_intent_id)/confirm -u pk_test_demo: \
    -d client_secret=$(field client_secret) -d payment_method=pm_card_visa -o /dev/null

A second later, see its whole life; or that of a hundred orders:

  target/release/orderfleet orders show $(field order_id)
  target/release/orderfleet demo --orders 100

Ctrl-C stops everything."#,
        ops = settings.ops.address,
        intake = settings.intake.health_port,
        worker = settings.worker.health_port,
        sandbox = settings.sandbox.address,
        smtp = settings.sandbox.smtp_address,
    )
}

/// A command beside throw-away servers that are migrated.
async fn beside(arguments: &DevArguments, config: Option<PathBuf>) -> Result<ExitCode, CommandError> {
    let status = servers::run_beside(&arguments.folder, &arguments.command, async |servers: &Servers| {
        let mut sources = Sources::here(config);
        sources.dev_file = None;
        file::point_at(&mut sources, servers);
        let settings = load_for(&sources, &[Need::Postgres])?;
        let store = Store::new(&settings.postgres)?;
        store.migrate().await?;
        store.close().await;
        Ok(())
    });
    Ok(ExitCode::from(status.await.map_err(refused)?))
}

fn refused(error: impl std::fmt::Display) -> CommandError {
    CommandError::Refused(error.to_string())
}
