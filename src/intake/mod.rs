//! The intake: HTTP in, jobs out. It accepts, it does not process.
//!
//! An order intent is judged at the door against what the process knows by heart, pushed into the queue in one durable
//! write and answered; a webhook is verified, pushed and answered. What follows is the workers'. The intake never waits
//! for Postgres on these ways, never calls a provider, and knows no other role.

mod availability;
mod capacity;
mod client;
mod commands;
mod hand_commands;
mod limits;
mod openapi;
mod order_commands;
mod order_views;
mod orders;
mod outcome;
mod problem;
mod refusals;
mod request;
mod sender;
mod snapshot;
mod sold_out;
mod stream;
#[cfg(test)]
mod tests;
mod ticket;
mod watch;
mod webhooks;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::routing::{MethodRouter, get, post, put};
use axum::serve::ListenerExt;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::auth::token::{self, Tokens};
use crate::auth::{self, Action, Principal, Reach};
use crate::config::{IntakeSettings, LaneSettings, OrderSettings, ms};
use crate::domain::key::IntentNames;
use crate::domain::offer::Offers;
use crate::queue::Queue;
use crate::relay::Relay;
use crate::seal::Seal;
use crate::signature::{EasyPostSignature, StripeSignature};
use crate::store::Store;
use crate::telemetry::health::{self, Readiness};
use crate::time::Clock;
use capacity::Capacity;
use limits::Limits;
pub use problem::Code;
use problem::Problem;
use refusals::Refusals;
pub use sender::{MailService, NotTaken, Sender, Sent};
use snapshot::Checked;
pub use snapshot::Snapshots;
use sold_out::SoldOut;
use watch::Watch;

/// How long requests that are being answered may take after the stop: under the 30 s that supervisors wait. Waits and
/// streams end at once.
const GRACE: Duration = Duration::from_secs(20);

/// What the intake is made of.
pub struct Parts {
    /// Where intents and events go.
    pub queue: Queue,
    /// Where keys, the catalogue and forgotten states are read.
    pub store: Store,
    /// Tells the time.
    pub clock: Clock,
    /// The secret of the installation.
    pub secret: SecretString,
    /// Verifies customers' tokens.
    pub tokens: Tokens,
    /// Verifies Stripe's webhooks.
    pub stripe: StripeSignature,
    /// Verifies EasyPost's webhooks.
    pub easypost: EasyPostSignature,
    /// Who can take the money, and how its webhooks are verified.
    pub offers: Offers,
    /// Who tells what became of mails, by name.
    pub mail: BTreeMap<String, MailService>,
    /// Holds and deadlines, for commands.
    pub orders: OrderSettings,
    /// What is known at the start: nothing, outside tests.
    pub snapshots: Snapshots,
    /// How deep the lanes may be that the intake feeds, by name.
    pub lanes: BTreeMap<String, LaneSettings>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
}

/// Why the intake did not start.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// An address is taken, or not ours.
    #[error("the intake can not listen on {0}: {1}")]
    Bind(SocketAddr, #[source] std::io::Error),
}

/// A running intake.
pub struct Intake {
    /// Where the public routes are.
    pub address: SocketAddr,
    /// Where health and metrics are.
    pub health_address: SocketAddr,
    ready: Arc<dyn Readiness>,
    tasks: TaskTracker,
}

impl Intake {
    /// Waits until it is ready, or ten seconds: then `/readyz` says what stands in the way.
    pub async fn ready(&self) {
        const LOOK: Duration = Duration::from_millis(20);
        for _ in 0..500 {
            if self.ready.obstacles().is_empty() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until everything has ended after the stop.
    pub async fn finished(self) {
        self.tasks.wait().await;
    }
}

/// What every request sees.
struct Door {
    settings: IntakeSettings,
    queue: Queue,
    store: Store,
    relay: Relay,
    orders: OrderSettings,
    clock: Clock,
    names: IntentNames,
    seal: Seal,
    tickets: Seal,
    tokens: Tokens,
    stripe: StripeSignature,
    easypost: EasyPostSignature,
    offers: Offers,
    mail: BTreeMap<String, MailService>,
    providers: HashSet<String>,
    snapshots: Snapshots,
    capacity: Capacity,
    sold_out: SoldOut,
    limits: Limits,
    refusals: Refusals,
    watch: Watch,
    stop: CancellationToken,
}

/// Listens, then serves until `stop`: when this returns, requests are answered. Port 0 takes any free one.
pub async fn serve(
    settings: IntakeSettings,
    parts: Parts,
    stop: CancellationToken,
) -> Result<Intake, IntakeError> {
    let (public, address) = listen(settings.address).await?;
    let (private, health_address) = listen((settings.health_host, settings.health_port).into()).await?;
    let metrics = parts.metrics.clone();
    let tasks = TaskTracker::new();
    let door = Arc::new(door(settings, parts, &tasks, stop.clone()));
    run_background(&door, &tasks);
    let ready: Arc<dyn Readiness> = door.clone();
    tasks.spawn(answer(public, router(door), stop.clone()));
    tasks.spawn(health::upkeep(metrics.clone(), stop.clone()));
    tasks.spawn(answer(private, health::router(ready.clone(), metrics), stop));
    tasks.close();
    Ok(Intake { address, health_address, ready, tasks })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), IntakeError> {
    let refused = |error| IntakeError::Bind(address, error);
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

fn door(settings: IntakeSettings, parts: Parts, tasks: &TaskTracker, stop: CancellationToken) -> Door {
    let max_wait = Duration::from_secs(settings.max_queue_wait_seconds);
    Door {
        limits: Limits::new(&settings, &parts.secret),
        settings,
        names: IntentNames::new(&parts.secret),
        seal: Seal::new(&parts.secret),
        tickets: Seal::of_tickets(&parts.secret),
        tokens: parts.tokens,
        relay: Relay::beside(&parts.store, &parts.queue, tasks, &stop),
        queue: parts.queue,
        store: parts.store,
        orders: parts.orders,
        clock: parts.clock,
        stripe: parts.stripe,
        easypost: parts.easypost,
        providers: parts.offers.names().map(str::to_owned).collect(),
        offers: parts.offers,
        mail: parts.mail,
        snapshots: parts.snapshots,
        capacity: Capacity::new(&parts.lanes, max_wait),
        sold_out: SoldOut::default(),
        refusals: Refusals::default(),
        watch: Watch::new(),
        stop,
    }
}

fn run_background(door: &Arc<Door>, tasks: &TaskTracker) {
    let every = ms(door.settings.snapshot_ms);
    tasks.spawn(door.snapshots.clone().refresh(door.store.clone(), every, door.stop.clone()));
    tasks.spawn(door.refusals.clone().keep(door.store.clone(), door.stop.clone()));
    tasks.spawn(door.watch.clone().run(door.queue.clone(), door.stop.clone()));
    if door.settings.sold_out_gate {
        tasks.spawn(door.sold_out.clone().refresh(door.queue.clone(), door.stop.clone()));
    }
    let measured = door.clone();
    tasks
        .spawn(async move { measured.capacity.measure(measured.queue.clone(), measured.stop.clone()).await });
}

async fn answer(listener: TcpListener, router: Router, stop: CancellationToken) {
    let listener = listener.tap_io(|connection| {
        // Small answers must not wait for more.
        if let Err(fault) = connection.set_nodelay(true) {
            warn!(%fault, "a connection keeps Nagle's algorithm");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        ended = served => if let Err(fault) = ended {
            error!(%fault, "the intake stopped serving");
        },
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => {
            warn!("connections were still open when the grace was over");
        }
    }
}

/// Every route but the health ones: the document of the API is compared with this list.
fn routes() -> [(&'static str, MethodRouter<Arc<Door>>); 22] {
    [
        ("/v1/order-intents", post(orders::place)),
        ("/v1/order-intents/{id}", get(orders::show)),
        ("/v1/order-intents/{id}/events", get(stream::events)),
        ("/v1/order-intents/{id}/stream-token", post(ticket::issue)),
        ("/v1/order-intents/{id}/payment", post(commands::pay_again)),
        ("/v1/order-intents/{id}/refresh", post(commands::refresh)),
        ("/v1/availability", get(availability::show)),
        ("/v1/orders", get(order_views::list)),
        ("/v1/orders/{id}", get(order_views::show)),
        ("/v1/orders/{id}/cancel", post(order_commands::cancel)),
        ("/v1/orders/{id}/status", put(order_commands::set_status)),
        ("/v1/orders/{id}/refunds", post(order_commands::give_back)),
        ("/v1/orders/{id}/labels", post(order_commands::relabel)),
        ("/v1/orders/{id}/emails", post(hand_commands::write_mail)),
        ("/v1/orders/{id}/payments", post(hand_commands::record_payment)),
        ("/v1/orders/{id}/refunds/{refund}/confirm", post(hand_commands::confirm_refund)),
        ("/webhooks/stripe", post(webhooks::stripe)),
        ("/webhooks/easypost", post(webhooks::easypost)),
        ("/webhooks/payments/{provider}", post(webhooks::configured).get(webhooks::configured)),
        ("/webhooks/mail/{provider}", post(webhooks::mail)),
        ("/openapi.json", get(openapi::document)),
        ("/docs", get(openapi::page)),
    ]
}

fn router(door: Arc<Door>) -> Router {
    let ready: Arc<dyn Readiness> = door.clone();
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, handler)| router.route(path, handler))
        .merge(health::public(ready))
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "the header Allow names the methods of this route")
        })
        .fallback(async || Problem::new(Code::NotFound, "the routes are at /openapi.json and /docs"))
        .layer(axum::middleware::from_fn(request::observe))
        .with_state(door)
}

impl Door {
    /// Who asks.
    fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        let refused = |detail| Problem::new(Code::Unauthenticated, detail);
        let header = headers
            .get(AUTHORIZATION)
            .ok_or_else(|| refused("send Authorization: Bearer and a key or a customer's token"))?;
        if let Some(token) = header.to_str().ok().and_then(token::bearer) {
            let customer = self.tokens.verify(token, self.clock.unix_seconds());
            return customer.map_err(|cause| {
                Problem::new(Code::Unauthenticated, cause.to_string()).because(cause.name())
            });
        }
        let hash =
            header.to_str().ok().and_then(auth::bearer).ok_or_else(|| refused("this is no key of ours"))?;
        match self.snapshots.check(&hash, self.clock.now()) {
            Checked::Live(caller) => Ok(caller),
            Checked::Refused => Err(refused("this key is not known, has expired or was revoked")),
            Checked::Unknown => Err(Problem::new(Code::KeysUnavailable, "the keys have not been read yet")
                .retry_after(ms(self.settings.snapshot_ms))),
        }
    }
}

/// Refuses a caller without the right; tells how far it goes.
fn require(caller: &Principal, action: Action) -> Result<Reach, Problem> {
    let reach = caller.role.reach(action);
    if reach == Reach::Nothing {
        return Err(Problem::new(Code::Forbidden, format!("the role {} may not do this", caller.role)));
    }
    Ok(reach)
}

impl Readiness for Door {
    fn role(&self) -> &'static str {
        "intake"
    }

    fn obstacles(&self) -> Vec<&'static str> {
        let facts = [
            (self.stop.is_cancelled(), "stopping"),
            (!self.snapshots.has_keys(), "keys_not_read"),
            (!self.capacity.is_fresh(), "redis_silent"),
        ];
        facts.into_iter().filter_map(|(holds, name)| holds.then_some(name)).collect()
    }
}
