//! An intent's public state: found, shown to whom it belongs, waited for.
//!
//! The state comes from Redis; Postgres is asked only where Redis does not have it. Whether "unknown" may be said is the
//! delicate part: only when both were asked and neither knows it, because a caller who hears it repeats the wish.

use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::{error, warn};

use super::Door;
use super::problem::{Code, Problem};
use super::request::{self, Until, Wait};
use super::watch::{Follow, RECHECK};
use crate::auth::{Action, Principal};
use crate::domain::money::Amount;
use crate::domain::offer::Due;
use crate::ids::{IntentId, OrderId};
use crate::job::Lane;
use crate::time::Stopwatch;

/// The fields that `GET /v1/order-intents/{id}` answers, in its order. Whatever else a state has is not for the outside.
const FIELDS: [&str; 15] = [
    "intent_id",
    "status",
    "success",
    "order_id",
    "order_number",
    "payment_intent_id",
    "client_secret",
    "payment_page",
    "amount_cents",
    "currency",
    "expires_at",
    "error",
    "details",
    "position",
    "eta_seconds",
];

/// The first status of every intent.
pub(super) const QUEUED: &str = "queued";

/// A state as it is stored: with its owner, its secret still sealed.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) version: i64,
    state: Value,
}

impl Known {
    /// What was just written, as far as its own caller has to know it. Whose it is is left out: so nobody is shown it.
    pub(super) fn queued() -> Self {
        Self { version: 0, state: json!({ "status": QUEUED }) }
    }

    pub(super) fn read(version: i64, public: &str) -> Result<Self, Problem> {
        let state = serde_json::from_str(public).map_err(|fault| {
            error!(%fault, "a stored state is not JSON");
            Problem::new(Code::Internal, "a stored state can not be read")
        })?;
        Ok(Self { version, state })
    }

    fn text(&self, field: &str) -> &str {
        self.state[field].as_str().unwrap_or_default()
    }

    pub(super) fn status(&self) -> &str {
        self.text("status")
    }

    /// The order that it became.
    pub(super) fn order(&self) -> Option<OrderId> {
        self.text("order_id").parse().ok()
    }

    /// The push that it waits by, where it still does.
    fn sequence(&self) -> Option<u64> {
        self.state["sequence"].as_u64().filter(|_| self.status() == QUEUED)
    }

    /// Nothing more will happen to it.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.status(), "rejected" | "failed" | "paid" | "cancelled")
    }

    /// What `Prefer: wait` waits for: an end, for now or for ever, or a payment that the buyer can make.
    fn is_outcome(&self) -> bool {
        self.is_final()
            || match self.status() {
                // Who is told nothing before can be paid at once.
                "reserved" => {
                    self.state["client_secret_enc"].is_string() || self.state["payment_provider"].is_string()
                }
                status => status == "expired",
            }
    }

    /// Whether a held answer waits no longer.
    pub(super) fn ends(&self, until: Until) -> bool {
        self.is_outcome() || (until == Until::Reserved && self.status() == "reserved")
    }

    /// Whether this caller may see it.
    pub(super) fn is_visible_to(&self, caller: &Principal) -> bool {
        caller.may(Action::ReadIntent, self.text("tenant"), self.text("customer_id"))
    }
}

impl Door {
    /// The state as this caller may see it. The secret goes to the owner and the web tier alone.
    pub(super) fn show(&self, known: &Known, caller: &Principal) -> Value {
        let owner = (known.text("tenant"), known.text("customer_id"));
        let mut shown: Map<String, Value> =
            FIELDS.iter().map(|field| ((*field).to_owned(), known.state[*field].clone())).collect();
        let sealed = known.state["client_secret_enc"].as_str();
        if caller.may(Action::ReadClientSecret, owner.0, owner.1) {
            shown.insert("client_secret".to_owned(), sealed.and_then(|sealed| self.unseal(sealed)).into());
            shown.insert("payment_page".to_owned(), self.page(known).into());
        } else {
            shown.insert("client_secret".to_owned(), Value::Null);
        }
        if let Some(sequence) = known.sequence() {
            // The sequence is its partition's; all partitions of a lane are worked alike.
            let parts = u64::try_from(self.queue.partitions(Lane::Intents)).unwrap_or(1);
            let (position, eta) = self.capacity.place(sequence.saturating_mul(parts));
            shown.insert("position".to_owned(), position.into());
            let seconds = eta.map(|eta| eta.as_millis().div_ceil(1_000));
            shown.insert(
                "eta_seconds".to_owned(),
                json!(seconds.and_then(|seconds| u64::try_from(seconds).ok())),
            );
        }
        shown.into()
    }

    /// Where the customer of a configured provider pays, while the pieces are held.
    fn page(&self, known: &Known) -> Option<Value> {
        let provider = self.offers.configured(known.text("payment_provider"))?;
        let amount = known.state["amount_cents"].as_i64().filter(|_| known.status() == "reserved")?;
        provider.page(Due {
            reference: known.state["payment_intent_id"].as_str()?,
            order: known.text("order_number"),
            amount: Amount::new(amount, known.text("currency").parse().ok()?),
        })
    }

    fn unseal(&self, sealed: &str) -> Option<String> {
        // Postgres breaks its base64 into lines.
        let letters: String = sealed.split_whitespace().collect();
        let opened = STANDARD.decode(letters).ok().and_then(|sealed| self.seal.open(&sealed).ok());
        let text = opened.and_then(|plain| String::from_utf8(plain).ok());
        if text.is_none() {
            error!("a client secret does not open: was security.secret changed?");
        }
        text
    }

    /// The state, for a caller who may see it. What they may not see does not exist for them.
    pub(super) async fn find(&self, intent: IntentId, caller: &Principal) -> Result<Known, Problem> {
        let known = match self.queue.intent(intent).await {
            Ok(Some(state)) => Some(Known::read(state.version, &state.public)?),
            Ok(None) => self.stored(intent).await?,
            // It may be queued and not loaded yet: only a row in Postgres can be answered now, and never "unknown".
            Err(away) => Some(self.stored(intent).await?.ok_or_else(|| Problem::from(away))?),
        };
        known.filter(|known| known.is_visible_to(caller)).ok_or_else(|| {
            let detail = "no such intent: if you sent it, repeat the request with the same Idempotency-Key";
            Problem::new(Code::UnknownIntent, detail)
        })
    }

    async fn stored(&self, intent: IntentId) -> Result<Option<Known>, Problem> {
        match self.store.within(self.store.intent_state(intent)).await {
            Ok(row) => Ok(row.map(|row| Known { version: row.version, state: row.state })),
            Err(error) => {
                warn!(%error, "an intent's state can not be read from Postgres");
                let detail = "the intent is not in the queue's memory, and the database is away";
                Err(Problem::new(Code::StateUnavailable, detail).retry_after(Duration::from_secs(2)))
            }
        }
    }

    /// The next state that is newer than `version`, whether it was told or found by reading again; none within `limit`,
    /// or where the process stops.
    pub(super) async fn newer(&self, follow: &mut Follow, version: i64, limit: Duration) -> Option<Known> {
        let over = tokio::time::sleep(limit);
        tokio::pin!(over);
        loop {
            let found = tokio::select! {
                changed = follow.changed() => Known::read(changed.version, &changed.public).ok(),
                () = tokio::time::sleep(RECHECK) => self.recheck(follow.intent()).await,
                () = &mut over => return None,
                () = self.stop.cancelled() => return None,
            };
            if let Some(known) = found.filter(|known| known.version > version) {
                return Some(known);
            }
        }
    }

    async fn recheck(&self, intent: IntentId) -> Option<Known> {
        let state = self.queue.intent(intent).await.ok()??;
        Known::read(state.version, &state.public).ok()
    }

    /// Whether and how the answer is to be held. Asked before the change that is waited for, so that none can fall between
    /// it and the first look. Without a place it is not held.
    pub(super) fn held(&self, headers: &HeaderMap, intent: IntentId) -> Option<(Wait, Follow)> {
        let wait = request::wait(headers)?;
        let seconds = wait.seconds.min(self.settings.max_wait_seconds);
        Some((Wait { seconds, ..wait }, self.watch.follow(intent)?))
    }

    /// Waits until the state is what was waited for, or until its time is over: then whatever it is.
    pub(super) async fn outcome(&self, mut known: Known, (wait, mut follow): (Wait, Follow)) -> Known {
        let limit = Duration::from_secs(wait.seconds);
        let since = Stopwatch::start();
        while !known.ends(wait.until) {
            match self.newer(&mut follow, known.version, limit.saturating_sub(since.elapsed())).await {
                Some(newer) => known = newer,
                None => break,
            }
        }
        known
    }
}

/// The state that the intake writes with a push: version 0, `queued`. Its fields are sorted by name, as those of every
/// state: what is short of them in Redis counts on it.
#[derive(Serialize)]
pub(super) struct Queued<'a> {
    customer_id: &'a str,
    intent_id: IntentId,
    status: &'static str,
    tenant: &'a str,
}

impl<'a> Queued<'a> {
    pub(super) fn new(intent_id: IntentId, tenant: &'a str, customer_id: &'a str) -> Self {
        Self { customer_id, intent_id, status: QUEUED, tenant }
    }
}
