//! Starting the roles of a process: intake, worker, ops, sandbox. A command runs one of them, `dev` all in one process.
//!
//! Settings are taken apart here: every role is handed its own, and knows no other.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::token::{Tokens, Trust};
use crate::config::{CallSettings, Settings};
use crate::intake::{self, Intake};
use crate::job::Dependency;
use crate::jobs::Rules;
use crate::ops::desk;
use crate::provider::{self, Providers};
use crate::queue::{CallLimits, Queue, QueueError};
use crate::sandbox::{self, Sandbox, SandboxSecrets};
use crate::seal::Seal;
use crate::store::Store;
use crate::telemetry::{self, Exporting};
use crate::terminal::complain;
use crate::time::Clock;
use crate::wording::{Brand, Wording};
use crate::worker::{self, Parts};

mod error;
mod examine;
pub mod verifiers;

pub use error::CommandError;
pub use examine::examine;

/// How long to wait before Redis is asked again at the start.
const REDIS_WAIT: Duration = Duration::from_millis(500);

/// Installs the TLS provider, without which no client of ours can be built.
pub fn tls() {
    // A second installation is refused and the first one stays: the same provider either way.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Installs what the whole process shares: the TLS provider, logs, metrics. Called once, first.
#[must_use]
pub fn shared() -> PrometheusHandle {
    tls();
    telemetry::logs();
    let builder = || telemetry::buckets(PrometheusBuilder::new());
    builder().install_recorder().unwrap_or_else(|_| builder().build_recorder().handle())
}

/// The export of traces, for a role that works on orders.
pub fn traces(settings: &Settings) -> Result<Exporting, CommandError> {
    let instance = format!("{}-{}", hostname(), std::process::id());
    telemetry::export(&settings.telemetry, &instance)
        .map_err(|error| CommandError::Refused(error.to_string()))
}

/// Cancelled by Ctrl-C or SIGTERM; a second one ends the process at once (nothing is lost by that either).
#[must_use]
pub fn stop_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let asked = stop.clone();
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(async move {
        signalled().await;
        asked.cancel();
        signalled().await;
        complain("a second signal: ending at once");
        std::process::exit(130);
    });
    stop
}

async fn signalled() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate => {}
    }
}

/// The queue, once Redis answers. A Redis that may lose what it acknowledged is refused.
pub async fn queue(settings: &Settings, stop: &CancellationToken) -> Result<Option<Queue>, QueueError> {
    let mut said = false;
    while !stop.is_cancelled() {
        match Queue::connect(&settings.redis, &settings.queue, &settings.lanes).await {
            Ok(queue) => return Ok(Some(queue)),
            Err(error @ (QueueError::NotDurable(_) | QueueError::Address(..))) => return Err(error),
            Err(error) => {
                if !said {
                    tracing::warn!(%error, "Redis does not answer yet: waiting for it");
                    said = true;
                }
                stop.run_until_cancelled(tokio::time::sleep(REDIS_WAIT)).await;
            }
        }
    }
    Ok(None)
}

/// `orderfleet intake`.
pub async fn intake(settings: Settings) -> Result<(), CommandError> {
    let metrics = shared();
    let traces = traces(&settings)?;
    let stop = stop_signal();
    let Some(queue) = queue(&settings, &stop).await? else { return Ok(()) };
    let running = start_intake(&settings, queue.clone(), metrics, stop.clone()).await?;
    tracing::info!(address = %running.address, health = %running.health_address, "intake listens");
    running.finished().await;
    queue.close().await;
    traces.finish().await;
    Ok(())
}

/// Starts the intake: when this returns, it listens.
pub async fn start_intake(
    settings: &Settings,
    queue: Queue,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> Result<Intake, CommandError> {
    let refused =
        |what: &str, error: &dyn std::fmt::Display| CommandError::Refused(format!("{what}: {error}"));
    let theirs = &settings.customer_tokens;
    let trust = Trust {
        secrets: &theirs.hs256_secrets,
        public_keys: &theirs.rs256_public_keys,
        issuer: &theirs.issuer,
        audience: &theirs.audience,
        tenant: &theirs.tenant,
        leeway_seconds: theirs.leeway_seconds,
    };
    let parts = intake::Parts {
        store: Store::new(&settings.postgres)?,
        queue,
        clock: Clock::real(),
        secret: settings.security.secret.clone(),
        tokens: Tokens::new(&trust).map_err(|error| refused("customer_tokens", &error))?,
        stripe: verifiers::stripe(settings)?,
        easypost: verifiers::easypost(settings)?,
        orders: settings.orders.clone(),
        offers: verifiers::offers(settings)?,
        mail: verifiers::mail(settings)?,
        snapshots: intake::Snapshots::default(),
        lanes: settings.lanes.clone(),
        metrics,
    };
    intake::serve(settings.intake.clone(), parts, stop).await.map_err(|error| {
        CommandError::Refused(format!(
            "{error}. Another process may use that port: stop it, or set \
            ORDERFLEET__INTAKE__ADDRESS and ORDERFLEET__INTAKE__HEALTH_PORT"
        ))
    })
}

/// `orderfleet worker`.
pub async fn worker(settings: Settings) -> Result<ExitCode, CommandError> {
    let metrics = shared();
    let traces = traces(&settings)?;
    let stop = stop_signal();
    let Some(queue) = queue(&settings, &stop).await? else { return Ok(ExitCode::SUCCESS) };
    let health = worker_health(&settings).await?;
    let drained = start_worker(&settings, health, queue.clone(), metrics, stop).await?;
    queue.close().await;
    if !drained {
        tracing::warn!(
            "the grace was over before everything had ended: what is left comes back by its leases"
        );
    }
    traces.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// The port of a worker's health and metrics: whoever asks there from now on is answered once the worker runs.
pub async fn worker_health(settings: &Settings) -> Result<TcpListener, CommandError> {
    let address = SocketAddr::from((settings.worker.health_host, settings.worker.health_port));
    TcpListener::bind(address).await.map_err(|error| {
        CommandError::Refused(format!(
            "the worker can not serve its health on {address}: {error}. Another worker on this machine may use that \
             port: give this one `--health-port`"
        ))
    })
}

/// Runs a worker until `stop`. Whether it ended in time.
pub async fn start_worker(
    settings: &Settings,
    health: TcpListener,
    queue: Queue,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> Result<bool, CommandError> {
    let refused = |error: &dyn std::fmt::Display| CommandError::Refused(error.to_string());
    let providers =
        Providers::new(&settings.stripe, &settings.payment_providers, &settings.easypost, &settings.smtp);
    let host = hostname();
    let name = worker::unique_name(&host);
    let parts = Parts {
        store: Store::new(&settings.postgres)?,
        queue,
        providers: Arc::new(providers.map_err(|error| refused(&error))?),
        call_limits: call_limits(settings),
        rules: Arc::new(rules(settings)?),
        retention: settings.retention.clone(),
        host,
        metrics,
        health,
    };
    Ok(worker::run(parts, &settings.lanes, &settings.worker, &name, stop).await)
}

/// `orderfleet ops`.
pub async fn ops(settings: Settings) -> Result<(), CommandError> {
    let metrics = shared();
    let stop = stop_signal();
    // One that is not durable can be looked at all the same.
    let mut looked_at = settings.clone();
    looked_at.redis.require_durable = false;
    let Some(queue) = queue(&looked_at, &stop).await? else { return Ok(()) };
    let running = start_ops(&settings, queue.clone(), Some(metrics), stop).await?;
    tracing::info!(address = %running.address, "the operators' side listens");
    running.finished().await;
    queue.close().await;
    Ok(())
}

/// Starts the operators' side: when this returns, it listens. Metrics that it is given are served.
pub async fn start_ops(
    settings: &Settings,
    queue: Queue,
    metrics: Option<PrometheusHandle>,
    stop: CancellationToken,
) -> Result<desk::Running, CommandError> {
    let parts = desk::Parts {
        store: Store::new(&settings.postgres)?,
        queue,
        rules: rules(settings)?,
        metrics,
        settings: settings.clone(),
    };
    desk::serve(parts, stop).await.map_err(|error| {
        CommandError::Refused(format!(
            "{error}. Another process may use that port: stop it, or set ORDERFLEET__OPS__ADDRESS or ORDERFLEET__OPS__HEALTH_PORT"
        ))
    })
}

/// What jobs go by.
pub fn rules(settings: &Settings) -> Result<Rules, CommandError> {
    Ok(Rules {
        orders: settings.orders.clone(),
        ship_from: settings.ship_from.clone(),
        shipping: settings.shipping.clone(),
        shop: settings.shop.clone(),
        alerts: settings.alerts.clone(),
        offers: verifiers::offers(settings)?,
        seal: Seal::new(&settings.security.secret),
        wording: wording(settings)?,
    })
}

/// What mails say.
pub fn wording(settings: &Settings) -> Result<Wording, CommandError> {
    let shop = &settings.shop;
    let brand = Brand {
        name: shop.name.clone(),
        color: shop.color.clone(),
        logo_url: shop.logo_url.clone(),
        footer: shop.footer.clone(),
    };
    Wording::new(brand).map_err(|error| CommandError::Refused(error.to_string()))
}

/// What the fleet may ask of each provider.
fn call_limits(settings: &Settings) -> Vec<(Dependency, CallLimits)> {
    let limits = |dependency: Dependency| {
        let section =
            if matches!(dependency, Dependency::Configured(_)) { "configured" } else { dependency.name() };
        let limits = |set: &CallSettings| CallLimits { a_second: set.a_second, at_once: set.at_once };
        (dependency, settings.calls.get(section).map(limits).unwrap_or_default())
    };
    provider::called(&settings.payment_providers).into_iter().map(limits).collect()
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "host".to_owned() } else { name.trim().to_owned() }
}

/// `orderfleet sandbox`.
pub async fn sandbox(settings: Settings) -> Result<(), CommandError> {
    let _metrics = shared();
    let stop = stop_signal();
    let running = start_sandbox(&settings, stop).await?;
    tracing::info!(address = %running.address(), smtp = %running.smtp_address(), "sandbox listens");
    running.join().await;
    Ok(())
}

/// Starts the sandbox: when this returns, it listens.
pub async fn start_sandbox(settings: &Settings, stop: CancellationToken) -> Result<Sandbox, CommandError> {
    let first = |secrets: &[SecretString]| secrets.first().cloned().unwrap_or_default();
    let secrets = SandboxSecrets {
        stripe_key: settings.stripe.secret_key.clone(),
        stripe_webhook: first(&settings.stripe.webhook_secrets),
        easypost_key: settings.easypost.api_key.clone(),
        easypost_webhook: first(&settings.easypost.webhook_secrets),
        wallet_webhook: settings
            .payment_providers
            .get("wallet")
            .map(|wallet| first(&wallet.signature.secrets))
            .unwrap_or_default(),
    };
    sandbox::serve(&settings.sandbox, secrets, stop)
        .await
        .map_err(|error| CommandError::Refused(error.to_string()))
}
