//! The sandbox: one process that speaks Stripe's, EasyPost's, a wallet's and SMTP's wire protocols, for `dev`, tests and proofs.
//!
//! It is the counterparty, so it shares nothing with the fleet but the settings: no queue, no store, no provider client.
//! It keeps an append-only truth of its own (what was really paid, bought and mailed), which the audit compares with our
//! rows, and it can be told to fail in every way that makes exactly-once hard ([`faults`]). What it must never do is be
//! kinder than the real providers: it is checked by their official clients (`tests/counterparty`).
//!
//! ```text
//! socket ─ wire ─ gate (count, drop) ─ key ─ idempotency (Stripe) ─ work (delay, fail) ─ handler ─ books ─ truth
//!                                                                                                  └─ webhooks
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::SandboxSettings;
use crate::time::Clock;
use books::Books;
use faults::Faults;
use truth::Truth;
use webhooks::Post;
use wire::{Switch, Wire};
use world::World;

mod books;
mod control;
mod easypost;
mod faults;
mod gate;
pub mod look;
mod smtp;
mod stripe;
#[cfg(test)]
mod tests;
mod truth;
mod wallet;
mod webhooks;
mod wire;
mod world;

pub use faults::POINTS;
pub use truth::TruthError;

/// How long open connections may take to end after a stop; what lasts longer is cut.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What callers must know, and what webhooks are signed with.
#[derive(Clone, Debug)]
pub struct SandboxSecrets {
    /// The only secret key that its Stripe knows.
    pub stripe_key: SecretString,
    /// What its Stripe signs with.
    pub stripe_webhook: SecretString,
    /// The only key that its EasyPost knows.
    pub easypost_key: SecretString,
    /// What its EasyPost signs with.
    pub easypost_webhook: SecretString,
    /// What its wallet signs with.
    pub wallet_webhook: SecretString,
}

/// The sandbox can't start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// An address is taken or not ours.
    #[error("the sandbox cannot serve {what} on {address}: {source}. {advice}")]
    Bind {
        /// Which side.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What to do.
        advice: String,
        /// What the system said.
        source: io::Error,
    },
    /// The truth can't be opened.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// The webhook client can't be built.
    #[error("the sandbox cannot send webhooks: {0}")]
    Client(#[from] reqwest::Error),
    /// Nor its TLS, which it has to have though it is not used.
    #[error("the sandbox cannot send webhooks: {0}")]
    Tls(#[from] rustls::Error),
}

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    http: SocketAddr,
    smtp: SocketAddr,
    tasks: TaskTracker,
}

impl Sandbox {
    /// Where Stripe, EasyPost and the controls are served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.http
    }

    /// Where SMTP is served.
    #[must_use]
    pub fn smtp_address(&self) -> SocketAddr {
        self.smtp
    }

    /// Waits until it has stopped: after the token that it was started with, nothing of it runs any more.
    pub async fn join(self) {
        self.tasks.wait().await;
    }
}

/// Starts the sandbox; both addresses are bound when it returns. It runs until `stop`.
pub async fn serve(
    settings: &SandboxSettings,
    secrets: SandboxSecrets,
    stop: CancellationToken,
) -> Result<Sandbox, SandboxError> {
    let http = bind("HTTP", settings.address, "ORDERFLEET__SANDBOX__ADDRESS").await?;
    let smtp = bind("SMTP", settings.smtp_address, "ORDERFLEET__SANDBOX__SMTP_ADDRESS").await?;
    let (truth, lines) = Truth::open(&settings.truth_file)?;
    let books = Books::open(truth, &lines);
    let owed = books.state.owed();
    let world = Arc::new(World {
        clock: Clock::real(),
        secrets,
        faults: Faults::default(),
        post: Post::new(settings)?,
        tasks: TaskTracker::new(),
        stop,
        books: Mutex::new(books),
    });
    let sandbox = Sandbox {
        http: local(&http, settings.address),
        smtp: local(&smtp, settings.smtp_address),
        tasks: world.tasks.clone(),
    };
    world.tasks.spawn(serve_http(&world, http));
    world.tasks.spawn(smtp::serve(Arc::clone(&world), smtp));
    webhooks::send(&world, owed);
    world.tasks.close();
    tracing::info!(http = %sandbox.http, smtp = %sandbox.smtp, facts = lines.len(), "the sandbox serves");
    Ok(sandbox)
}

fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

async fn bind(what: &'static str, address: SocketAddr, setting: &str) -> Result<TcpListener, SandboxError> {
    TcpListener::bind(address).await.map_err(|source| {
        let advice = if source.kind() == io::ErrorKind::AddrInUse {
            let port = address.port();
            format!(
                "Another process listens there, perhaps an earlier sandbox (`ss -ltnp 'sport = :{port}'` names it): stop \
                 it, or choose another address with {setting}."
            )
        } else {
            format!("Choose an address of this machine and a port that you may use with {setting}.")
        };
        SandboxError::Bind { what, address, advice, source }
    })
}

/// Serves HTTP until the stop, then lets open connections end.
fn serve_http(world: &Arc<World>, listener: TcpListener) -> impl Future<Output = ()> + use<> {
    let routes: Router = Router::new()
        .merge(stripe::router(world))
        .merge(easypost::router(world))
        .merge(wallet::router(world))
        .merge(control::router())
        .with_state(Arc::clone(world));
    let stop = world.stop.clone();
    let patience = world.stop.clone();
    async move {
        let service = routes.into_make_service_with_connect_info::<Switch>();
        let serving = axum::serve(Wire(listener), service).with_graceful_shutdown(stop.cancelled_owned());
        let out_of_patience = async {
            patience.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            ended = serving => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the sandbox's HTTP side ended");
                }
            }
            () = out_of_patience => tracing::debug!("open connections were cut"),
        }
    }
}
