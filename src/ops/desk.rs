//! The desk: what the operators' commands show and do, served to whoever is not at a terminal. The role `ops`.
//!
//! As JSON below `/ops/v1`, and as pages ([`console`]). It has no eyes and no hands of its own: every answer and every
//! change comes from the function that the command of the same name uses. Staff of the one tenant that operates the fleet
//! is let in, by the rights of its role; what it changes is written down with its key. Addresses that others can reach are
//! refused by the settings' rules, unless a proxy in front speaks TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post, put};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::config::Settings;
use crate::jobs::Rules;
use crate::queue::Queue;
use crate::seal::Seal;
use crate::store::Store;
use crate::telemetry::health::{self, Readiness};
use console::Pages;
use kept::Findings;
use problem::{Code, Problem};
use tries::Tries;
use watch::Looks;

mod actions;
mod answer;
mod console;
mod dead;
mod fleet;
mod guard;
mod kept;
mod openapi;
mod orders;
mod problem;
mod remedies;
mod tries;
mod watch;

/// How long requests that are being answered may take after the stop: under the 30 s that supervisors wait. A replay that
/// is cut off is whole up to its last batch, and the same request goes on from there.
const GRACE: Duration = Duration::from_secs(20);
/// The longest body: a payload to be edited in, with room.
const LONGEST_BODY: usize = 1024 * 1024;

/// What the desk is made of.
pub struct Parts {
    /// All of them: what is in force is shown, and `doctor` judges it.
    pub settings: Settings,
    /// Where the truth is.
    pub store: Store,
    /// Where lanes and workers are.
    pub queue: Queue,
    /// What jobs go by: a rehearsal loads them.
    pub rules: Rules,
    /// What `/metrics` shows, on a port of its own; without them there is none.
    pub metrics: Option<PrometheusHandle>,
}

/// Why the desk did not start.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// An address is taken, or not ours.
    #[error("the operators' side can not listen on {0}: {1}")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// A template of the console is none: a bug of ours.
    #[error("a page of the console is at fault: {0}")]
    Page(#[from] minijinja::Error),
}

/// A running desk.
pub struct Running {
    /// Where it is.
    pub address: SocketAddr,
    /// Where health and metrics are.
    pub health_address: Option<SocketAddr>,
    tasks: TaskTracker,
}

impl Running {
    /// Waits until everything has ended after the stop.
    pub async fn finished(self) {
        self.tasks.wait().await;
    }
}

/// What every request sees.
struct Desk {
    settings: Settings,
    store: Store,
    queue: Queue,
    rules: Rules,
    /// What was found last.
    findings: Findings,
    /// What the overview shows.
    looks: Looks,
    pages: Pages,
    /// Seals sessions.
    seal: Seal,
    tries: Tries,
    /// Work that goes on where its client hangs up.
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Listens, then serves until `stop`: when this returns, requests are answered. Port 0 takes any free one.
pub async fn serve(parts: Parts, stop: CancellationToken) -> Result<Running, DeskError> {
    let (listener, address) = bind(parts.settings.ops.address).await?;
    let Parts { settings, store, queue, rules, metrics } = parts;
    let tasks = TaskTracker::new();
    let desk = Arc::new(Desk {
        seal: Seal::of_sessions(&settings.security.secret),
        pages: Pages::new()?,
        tries: Tries::default(),
        looks: Looks::default(),
        findings: Findings::new(&tasks, &stop),
        tasks: tasks.clone(),
        stop: stop.clone(),
        settings,
        store,
        queue,
        rules,
    });
    let health_address = match metrics {
        Some(metrics) => Some(serve_health(&desk, metrics, &tasks, &stop).await?),
        None => None,
    };
    tasks.spawn(watch::run(desk.clone(), stop.clone()));
    tasks.spawn(listen(listener, router(desk), stop.clone()));
    tasks.close();
    Ok(Running { address, health_address, tasks })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), DeskError> {
    let refused = |error| DeskError::Bind(address, error);
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Health and metrics, for probes and Prometheus: they ask for no key, and so have a port of their own.
async fn serve_health(
    desk: &Arc<Desk>,
    metrics: PrometheusHandle,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<SocketAddr, DeskError> {
    let ops = &desk.settings.ops;
    let (listener, address) = bind((ops.health_host, ops.health_port).into()).await?;
    tasks.spawn(health::upkeep(metrics.clone(), stop.clone()));
    tasks.spawn(listen(listener, health::router(desk.clone(), metrics), stop.clone()));
    Ok(address)
}

async fn listen(listener: TcpListener, router: Router, stop: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        ended = served => if let Err(fault) = ended {
            error!(%fault, "the operators' side stopped serving");
        },
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => {
            warn!("operators' connections were still open when the grace was over");
        }
    }
}

/// The commands' routes.
fn routes() -> [(&'static str, MethodRouter<Arc<Desk>>); 19] {
    [
        ("/ops/v1/queues", get(fleet::queues)),
        ("/ops/v1/queues/why/{job}", get(fleet::why)),
        ("/ops/v1/queues/{lane}/pause", post(fleet::pause)),
        ("/ops/v1/queues/{lane}/resume", post(fleet::resume)),
        ("/ops/v1/queues/{lane}/limits", put(fleet::limit)),
        ("/ops/v1/workers", get(fleet::workers)),
        ("/ops/v1/workers/{id}/drain", post(fleet::drain)),
        ("/ops/v1/dead", get(dead::list)),
        ("/ops/v1/dead/groups", get(dead::groups)),
        ("/ops/v1/dead/replay", post(dead::replay)),
        ("/ops/v1/dead/drop", post(dead::drop_them)),
        ("/ops/v1/dead/{id}", get(dead::show)),
        ("/ops/v1/dead/{id}/payload", put(dead::edit)),
        ("/ops/v1/orders/stuck", get(orders::stuck)),
        ("/ops/v1/orders/{id}", get(orders::show)),
        ("/ops/v1/actions", get(actions::list)),
        ("/ops/v1/audit", get(fleet::audit)),
        ("/ops/v1/doctor", get(fleet::examine)),
        ("/ops/v1/openapi.json", get(openapi::document)),
    ]
}

fn router(desk: Arc<Desk>) -> Router {
    let ready: Arc<dyn Readiness> = desk.clone();
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler))
        .merge(console::router(&desk))
        .merge(health::public(ready))
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "the header Allow names the methods of this route")
        })
        .fallback(async || Problem::new(Code::NotFound, "the routes are at /ops/v1/openapi.json"))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(axum::middleware::from_fn_with_state(desk.clone(), answer::hardened))
        .layer(axum::middleware::from_fn(answer::observe))
        .with_state(desk)
}

impl Readiness for Desk {
    fn role(&self) -> &'static str {
        "ops"
    }

    fn obstacles(&self) -> Vec<&'static str> {
        // What is away is what operators come to look at: the desk is ready without it.
        if self.stop.is_cancelled() { vec!["stopping"] } else { Vec::new() }
    }
}
