//! What the intake knows by heart: keys and the catalogue, refreshed in the background every `snapshot_ms`.
//!
//! So that authenticating and checking a wish asks nobody. A revoked key or a new article is known one refresh later.
//! While Postgres is away the last snapshot stands: nobody can revoke a key meanwhile either. Without any snapshot of
//! the keys nobody can be let in (503); without one of the catalogue the worker judges alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::auth::{KeyHash, Principal, Role};
use crate::domain::intent::Known;
use crate::ids::jitter;
use crate::store::Store;
use crate::store::access::StoredKey;
use crate::store::snapshot::Catalogue;

/// A key that opens.
#[derive(Clone, Debug)]
struct Card {
    principal: Principal,
    expires_at: Option<DateTime<Utc>>,
}

type Keys = HashMap<KeyHash, Card>;

/// The snapshots; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Snapshots(Arc<RwLock<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    keys: Option<Arc<Keys>>,
    catalogue: Option<Arc<Catalogue>>,
}

/// What a presented key is.
pub(super) enum Checked {
    /// A live one.
    Live(Principal),
    /// None of ours, or no more.
    Refused,
    /// Nobody can tell yet.
    Unknown,
}

impl Snapshots {
    /// Takes these keys from now on.
    pub fn put_keys(&self, keys: Vec<StoredKey>) {
        let keys = keys.into_iter().filter(|key| key.revoked_at.is_none()).map(card).collect();
        self.0.write().unwrap_or_else(PoisonError::into_inner).keys = Some(Arc::new(keys));
    }

    /// Takes this catalogue from now on.
    pub fn put_catalogue(&self, catalogue: Catalogue) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).catalogue = Some(Arc::new(catalogue));
    }

    /// Whether there are keys to check with.
    pub(super) fn has_keys(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys.is_some()
    }

    pub(super) fn check(&self, hash: &KeyHash, now: DateTime<Utc>) -> Checked {
        let Some(keys) = self.0.read().unwrap_or_else(PoisonError::into_inner).keys.clone() else {
            return Checked::Unknown;
        };
        match keys.get(hash) {
            Some(card) if card.expires_at.is_none_or(|end| now < end) => {
                Checked::Live(card.principal.clone())
            }
            Some(_) | None => Checked::Refused,
        }
    }

    pub(super) fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).catalogue.clone()
    }

    /// Refreshes both until `stop`.
    pub(super) async fn refresh(self, store: Store, every: Duration, stop: CancellationToken) {
        loop {
            match store.within(store.live_keys()).await {
                Ok(keys) => self.put_keys(keys),
                Err(error) => warn!(%error, "the keys were not refreshed; the last snapshot stands"),
            }
            match store.within(store.catalogue()).await {
                Ok(catalogue) => self.put_catalogue(catalogue),
                Err(error) => warn!(%error, "the catalogue was not refreshed; the last snapshot stands"),
            }
            // Up to a tenth earlier: a fleet that was started together must not ask together.
            let pause = every.mul_f64(1.0 - jitter() / 10.0);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }
}

fn card(key: StoredKey) -> (KeyHash, Card) {
    // A customer's or vendor's key is named by whom it acts for.
    let subject = matches!(key.role, Role::Customer | Role::Vendor).then_some(key.name);
    let principal = Principal { tenant: key.tenant, role: key.role, subject, key: Some(key.id) };
    (key.hash, Card { principal, expires_at: key.expires_at })
}

/// What the door knows of the catalogue.
pub(super) fn known<'a>(catalogue: Option<&'a Catalogue>, providers: &'a HashSet<String>) -> Known<'a> {
    Known {
        skus: catalogue.map(|known| &known.skus),
        currencies: catalogue.map(|known| &known.currencies),
        shipping_methods: catalogue.map(|known| &known.shipping_methods),
        payment_providers: Some(providers),
    }
}
