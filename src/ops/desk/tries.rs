//! How often one address may fail to say who it is, in a browser or with a bearer, counted for all processes together.
//!
//! Failures alone count, so that nobody uses up the tries of those who share their address by signing in. An address that
//! failed too often is remembered here until it may try again: meanwhile its tries ask nothing of Postgres. Not knowing
//! (Redis is away) lets in: that is when somebody has to look.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::json;

use super::Desk;
use super::problem::Problem;
use crate::auth::KeyHash;
use crate::config::{site, visitor};
use crate::queue::Allowance;
use crate::store::access::StoredKey;
use crate::time::Stopwatch;

/// Failures a minute from one address: nobody guesses 256 bits, and nobody types a key more often.
const TRIES: Allowance = Allowance { a_minute: 10 };
/// Addresses that are remembered at once: those beyond ask Postgres once more for each of their tries.
const MOST: usize = 10_000;
/// What proxies append the address to that they were asked from.
const FORWARDED: &str = "x-forwarded-for";
/// Who did it, in the record, where nobody knows.
const NOBODY: &str = "nobody";

/// Addresses that failed too often.
#[derive(Default)]
pub(super) struct Tries(Mutex<HashMap<IpAddr, (Stopwatch, Duration)>>);

impl Tries {
    /// How long an address has to stay away yet.
    fn wait(&self, address: IpAddr) -> Option<Duration> {
        let barred = self.barred().get(&address).copied();
        barred.and_then(|(since, wait)| wait.checked_sub(since.elapsed())).filter(|left| !left.is_zero())
    }

    fn bar(&self, address: IpAddr, wait: Duration) {
        let mut barred = self.barred();
        if barred.len() >= MOST {
            barred.retain(|_, (since, wait)| since.elapsed() < *wait);
        }
        if barred.len() < MOST {
            barred.insert(address, (Stopwatch::start(), wait));
        }
    }

    fn barred(&self) -> MutexGuard<'_, HashMap<IpAddr, (Stopwatch, Duration)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// The network that an operator comes from.
    pub(super) fn comes_from(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all(FORWARDED).iter().filter_map(|value| value.to_str().ok());
        site(visitor(peer.ip(), forwarded, &self.settings.ops.trusted_proxies))
    }

    /// The live key that somebody shows. One that is none is a failure of their address.
    pub(super) async fn shown(&self, address: IpAddr, key: Option<KeyHash>) -> Result<StoredKey, Problem> {
        if let Some(wait) = self.tries.wait(address) {
            return Err(Problem::too_many(wait));
        }
        let found = match key {
            Some(hash) => self.store.within(self.store.live_key(hash)).await?,
            None => None,
        };
        match found {
            Some(key) => Ok(key),
            None => Err(self.failed(address, Problem::no_key()).await),
        }
    }

    /// Counts a failure, and writes it down. Answers what it is told: how it failed, or to stay away.
    pub(super) async fn failed(&self, address: IpAddr, how: Problem) -> Problem {
        tracing::warn!(%address, "a sign-in was refused");
        if let Ok(Some(wait)) = self.queue.visit(&format!("ops-sign-in:{address}"), TRIES, 0).await {
            self.tries.bar(address, wait);
            return Problem::too_many(wait);
        }
        let detail = json!({ "address": address, "code": how.code.name() });
        let written = self.store.within(self.store.note(NOBODY, "sign_in.refused", &detail)).await;
        written.map_or_else(Problem::from, |()| how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_barred_stays_away_until_the_time_is_over_and_few_are_remembered() {
        let tries = Tries::default();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        tries.bar(address(1), Duration::from_mins(1));
        assert!(tries.wait(address(1)).is_some_and(|left| left > Duration::from_secs(50)));
        assert_eq!(tries.wait(address(2)), None);
        tries.bar(address(2), Duration::ZERO);
        assert_eq!(tries.wait(address(2)), None);
        for n in 3..2 * u32::try_from(MOST).unwrap() {
            tries.bar(address(n), Duration::ZERO);
        }
        assert!(tries.barred().len() <= MOST);
        assert!(tries.wait(address(1)).is_some(), "who still has to stay away is not forgotten");
    }
}
