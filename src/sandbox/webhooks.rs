//! Events and their webhooks: signed anew on every try, tried again until the other side says 2xx.
//!
//! Events of one change leave one after the other; those of different changes race, as real ones do. Faults may lose,
//! repeat, hold or reorder one. An event whose webhook has not arrived is owed, also after a restart.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use unicode_normalization::UnicodeNormalization;

use super::SandboxError;
use super::easypost::tracker::{self, Tracker};
use super::faults::{Plan, Point};
use super::gate::Call;
use super::stripe::disputes::Dispute;
use super::stripe::events;
use super::stripe::intent::Intent;
use super::stripe::refunds::Refund;
use super::truth::{Delivered, Fact};
use super::wallet::{self, WalletPayment};
use super::world::{World, fresh_id, hex};
use crate::config::SandboxSettings;

/// Posts under way at once: enough for hundreds a second at an endpoint that answers in milliseconds.
const AT_ONCE: usize = 64;
/// The first pause after a refused webhook; short, because a demo and a proof wait for it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// With these pauses a quarter of an hour; then the event stays owed until a restart.
const TRIES: u32 = 185;
/// EasyPost gives an endpoint 7 s; one limit for both keeps a hung intake from holding all the slots.
const ANSWER_WITHIN: Duration = Duration::from_secs(7);
/// How long a reordered webhook waits for another to overtake it.
const OVERTAKE_WITHIN: Duration = Duration::from_secs(2);

/// Something that happened, of which the other side is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    /// `evt_…`.
    pub(crate) id: String,
    /// Its type: `payment_intent.succeeded`, `tracker.updated`.
    pub(crate) kind: String,
    /// When it happened.
    pub(crate) at: DateTime<Utc>,
    /// The request that caused it, where Stripe names one.
    pub(crate) request: Option<Cause>,
    /// What it is about, as it was then.
    pub(crate) about: About,
}

/// The request that caused an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cause {
    /// `req_…`.
    pub(crate) id: String,
    /// Its `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

/// The subject of an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum About {
    /// Stripe: a payment.
    Payment(Box<Intent>),
    /// Stripe: money given back.
    Refund(Box<Refund>),
    /// Stripe: the charge of a payment, whose refunds are told in one sum.
    Charge(Box<Intent>),
    /// Stripe: a bank that wants money back.
    Dispute(Box<Dispute>),
    /// EasyPost: a tracker, and the status that it had before.
    Tracker(Box<Tracker>, Option<String>),
    /// The wallet: a payment.
    Wallet(Box<WalletPayment>),
}

impl Event {
    /// An event of Stripe's, with the request that caused it.
    pub(crate) fn stripe(kind: &str, at: DateTime<Utc>, call: Option<&Call>, about: About) -> Self {
        let request = call.map(|call| Cause { id: call.request.clone(), key: call.key.clone() });
        Self { id: fresh_id("evt_"), kind: kind.to_owned(), at, request, about }
    }

    /// Whether it is one of Stripe's.
    pub(crate) fn is_stripe(&self) -> bool {
        self.point() == Point::WebhookStripe
    }

    /// The body that is posted, and that the provider lists.
    pub(crate) fn body(&self) -> Value {
        match &self.about {
            About::Payment(intent) => events::body(self, &intent.body()),
            About::Refund(refund) => events::body(self, &refund.body()),
            About::Charge(intent) => events::body(self, &intent.charge_body()),
            About::Dispute(dispute) => events::body(self, &dispute.body()),
            About::Tracker(tracker, before) => tracker::event_body(self, tracker, before.as_deref()),
            About::Wallet(payment) => wallet::event_body(self, payment),
        }
    }

    /// The id of what it is about.
    pub(crate) fn object(&self) -> &str {
        match &self.about {
            About::Payment(intent) => &intent.id,
            About::Refund(refund) => &refund.id,
            About::Charge(intent) => intent.charge.as_deref().unwrap_or(&intent.id),
            About::Dispute(dispute) => &dispute.id,
            About::Tracker(tracker, _) => &tracker.id,
            About::Wallet(payment) => &payment.reference,
        }
    }

    fn point(&self) -> Point {
        match self.about {
            About::Payment(_) | About::Refund(_) | About::Charge(_) | About::Dispute(_) => {
                Point::WebhookStripe
            }
            About::Tracker(..) => Point::WebhookEasypost,
            About::Wallet(_) => Point::WebhookWallet,
        }
    }
}

/// How webhooks leave.
#[derive(Debug)]
pub(crate) struct Post {
    client: reqwest::Client,
    stripe_url: String,
    easypost_url: String,
    wallet_url: String,
    slots: Semaphore,
    gate: watch::Sender<Gate>,
    arrived: watch::Sender<u64>,
}

/// Whether webhooks may leave.
#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    held: bool,
    releases: u64,
}

impl Post {
    /// Where its Stripe sends.
    pub(crate) fn stripe_url(&self) -> &str {
        &self.stripe_url
    }

    /// A sender to the endpoints of these settings.
    pub(crate) fn new(settings: &SandboxSettings) -> Result<Self, SandboxError> {
        // Endpoints of a sandbox are on this machine and speak plain HTTP: no roots are trusted, and none looked for,
        // so that it starts on a machine that has no certificates.
        let tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(ANSWER_WITHIN)
            .connect_timeout(Duration::from_secs(2))
            .pool_max_idle_per_host(AT_ONCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            stripe_url: settings.stripe_webhook_url.clone(),
            easypost_url: settings.easypost_webhook_url.clone(),
            wallet_url: settings.wallet_webhook_url.clone(),
            slots: Semaphore::new(AT_ONCE),
            gate: watch::Sender::default(),
            arrived: watch::Sender::default(),
        })
    }

    /// Nothing leaves any more until [`Post::release`].
    pub(crate) fn hold(&self) {
        self.gate.send_modify(|gate| gate.held = true);
    }

    /// Everything held may leave, single events included.
    pub(crate) fn release(&self) {
        self.gate.send_modify(|gate| *gate = Gate { held: false, releases: gate.releases + 1 });
    }
}

/// Sends the events of one change. Those that a fault delays go their own way; the others leave in order.
pub(crate) fn send(world: &Arc<World>, events: Vec<Event>) {
    let mut in_order = Vec::with_capacity(events.len());
    for event in events {
        let plan = world.faults.plan(event.point());
        if plan.drop_before {
            // Lost on the way: still owed, so that a restart sends it.
            continue;
        }
        if plan.hold || plan.reorder || !plan.before.is_zero() {
            spawn(world, vec![(event, plan)]);
        } else {
            in_order.push((event, plan));
        }
    }
    if !in_order.is_empty() {
        spawn(world, in_order);
    }
}

fn spawn(world: &Arc<World>, events: Vec<(Event, Plan)>) {
    let world = Arc::clone(world);
    world.tasks.clone().spawn(async move {
        let stop = world.stop.clone();
        let all = async {
            for (event, plan) in events {
                deliver(&world, &event, &plan).await;
            }
        };
        // What has not arrived when the sandbox stops is owed after its restart.
        stop.run_until_cancelled(all).await;
    });
}

async fn deliver(world: &Arc<World>, event: &Event, plan: &Plan) {
    wait_for_leave(world, plan).await;
    let body = event.body().to_string();
    for copy in 0..=plan.repeat {
        let Some(tries) = post_until_taken(world, event, &body).await else {
            tracing::warn!(event = event.id, kind = event.kind, "webhook given up; it stays owed");
            return;
        };
        world.post.arrived.send_modify(|arrived| *arrived += 1);
        if copy == 0 {
            let delivered = Delivered {
                event: event.id.clone(),
                kind: event.kind.clone(),
                object: event.object().to_owned(),
                tries,
            };
            world.change(|books, now| books.record(now, Fact::Delivered(delivered)));
        }
    }
}

/// Waits as the plan says. The senders of both channels live in the world, so that no wait can fail.
async fn wait_for_leave(world: &Arc<World>, plan: &Plan) {
    if plan.hold {
        let mut gate = world.post.gate.subscribe();
        let releases = gate.borrow().releases;
        let _ = gate.wait_for(|gate| gate.releases > releases).await;
    }
    if plan.reorder {
        let mut arrived = world.post.arrived.subscribe();
        let before = *arrived.borrow();
        let overtaken = arrived.wait_for(|arrived| *arrived > before);
        let _ = tokio::time::timeout(OVERTAKE_WITHIN, overtaken).await;
    }
    tokio::time::sleep(plan.before).await;
}

/// The number of tries that it took; `None` when it was given up.
async fn post_until_taken(world: &Arc<World>, event: &Event, body: &str) -> Option<u32> {
    let mut pause = FIRST_PAUSE;
    for tries in 1..=TRIES {
        let mut gate = world.post.gate.subscribe();
        let _ = gate.wait_for(|gate| !gate.held).await;
        if post_once(world, event, body).await {
            return Some(tries);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    None
}

async fn post_once(world: &Arc<World>, event: &Event, body: &str) -> bool {
    let Ok(_slot) = world.post.slots.acquire().await else { return false };
    let at = world.clock.unix_seconds();
    let (post, secrets) = (&world.post, &world.secrets);
    let request = match event.about {
        About::Payment(_) | About::Refund(_) | About::Charge(_) | About::Dispute(_) => post
            .client
            .post(&post.stripe_url)
            .header("Stripe-Signature", stripe(&secrets.stripe_webhook, at, body)),
        About::Tracker(..) => {
            let request = post.client.post(&post.easypost_url);
            let proofs = easypost(&secrets.easypost_webhook, at, &path(&post.easypost_url), body);
            proofs.into_iter().fold(request, |request, (name, value)| request.header(name, value))
        }
        About::Wallet(_) => post
            .client
            .post(&post.wallet_url)
            .header("X-Signature", timed(&secrets.wallet_webhook, at, body))
            .header("X-Timestamp", at),
    };
    let request = request.header("content-type", "application/json; charset=utf-8").body(body.to_owned());
    match request.send().await {
        Ok(answer) => {
            let taken = answer.status().is_success();
            // Read to the end, or the connection can't be used again.
            taken && answer.bytes().await.is_ok()
        }
        Err(error) => {
            tracing::debug!(event = event.id, %error, "webhook not taken");
            false
        }
    }
}

/// Stripe's scheme: the secret as it stands, over the time, a dot and the body.
fn stripe(secret: &SecretString, at: i64, body: &str) -> String {
    format!("t={at},v1={}", timed(secret, at, body))
}

/// The wallet's scheme: the same, without a word around it; the time is in another header.
fn timed(secret: &SecretString, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    hex("", hmac::sign(&key, format!("{at}.{body}").as_bytes()).as_ref())
}

/// EasyPost's two schemes: the secret's compatibility decomposition, over the body; and over time, method, path and body.
fn easypost(secret: &SecretString, at: i64, path: &str, body: &str) -> [(&'static str, String); 4] {
    let secret: String = secret.expose_secret().nfkd().collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let proof = |signed: &str| hex("hmac-sha256-hex=", hmac::sign(&key, signed.as_bytes()).as_ref());
    let time = DateTime::from_timestamp(at, 0).unwrap_or_default().to_rfc2822();
    [
        ("X-Hmac-Signature", proof(body)),
        ("X-Hmac-Signature-V2", proof(&format!("{time}POST{path}{body}"))),
        ("X-Timestamp", time),
        ("X-Path", path.to_owned()),
    ]
}

/// The path of an address of ours.
fn path(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(|_| "/".to_owned(), |url| url.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EasyPost's published fixture: its secret has a letter that decomposes.
    #[test]
    fn easypost_signs_with_the_decomposed_secret() {
        let [composed, decomposed] = ["s\u{e9}cret", "se\u{301}cret"].map(SecretString::from);
        assert_eq!(easypost(&composed, 0, "/", "{}"), easypost(&decomposed, 0, "/", "{}"));
    }

    /// Reckoned with the official Python client: `WebhookSignature.generate_signature_header`.
    #[test]
    fn stripe_signs_time_dot_body() {
        assert_eq!(stripe(&SecretString::from("whsec_test"), 1_700_000_000, "{\"a\":1}"), STRIPE_REFERENCE);
    }

    const STRIPE_REFERENCE: &str =
        "t=1700000000,v1=38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789";
}
