//! Permits to call an outside system, for the whole fleet: its limits, and its breaker.
//!
//! Many workers call one provider, whose patience they share: so the count of calls and the knowledge that it is away
//! stand in Redis, in one script that is asked before a call. The breaker opens at the first call that finds nobody there,
//! stays open for a wait that doubles with each failure, and then lets one call of the whole fleet through to find out:
//! an outage costs the provider one call at a time and no job an attempt.
//!
//! The queue knows no provider: one is a name here, and whoever asks says what the limits are.

use std::time::Duration;

use super::client::arg;
use super::{Queue, QueueError, keys, scripts};
use crate::config::ms;

/// The first wait of a breaker: a restart over there takes about that.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest: one call in ten seconds burdens nobody, and nobody waits long for the end of an outage.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// What the fleet may ask of one provider; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls begun in a second. A quarter of them may go at once.
    pub a_second: u32,
    /// Calls at once.
    pub at_once: u32,
}

/// What was permitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// So many calls may be made.
    pub granted: u64,
    /// It is one, and finds out for all whether the provider is back.
    pub is_probe: bool,
    /// Nobody may call, because the provider is away.
    pub is_away: bool,
    /// The number of the first one's place; the others follow it. 0: there are no places.
    pub first: u64,
    /// When another may be had; none where all were granted.
    pub wait: Option<Duration>,
    /// How far apart those are that follow.
    pub step: Duration,
}

/// What the end of a call says of its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It answered.
    Lives,
    /// Nobody was there.
    Away,
    /// It asked us to stay away for so long.
    Busy(Duration),
    /// It says nothing.
    Unsure,
}

/// How the fleet stands with a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderSeen {
    /// The breaker: since when it is open, in milliseconds since 1970 by Redis's clock.
    pub open_since_ms: Option<i64>,
    /// When the next probe may go, likewise.
    pub probe_at_ms: Option<i64>,
    /// Failures in a row.
    pub trips: u32,
    /// Until when the provider asked us to stay away, likewise.
    pub hold_until_ms: Option<i64>,
    /// Calls under way, where they are limited.
    pub calls: u64,
}

impl Queue {
    /// Asks to make `wanted` calls. Places and a probe last as long as a lease (`queue.lease_ms`): whoever makes the calls keeps
    /// them with [`Queue::keep_places`], and leaves each place with [`Queue::leave_places`].
    pub async fn ask_permits(
        &self,
        provider: &str,
        limits: CallLimits,
        wanted: usize,
    ) -> Result<Permits, QueueError> {
        let keep = self.0.settings.lease_ms;
        let args = vec![arg(wanted), arg(limits.a_second), arg(limits.at_once), arg(keep)];
        let keys = keys::provider(&self.0.prefix, provider);
        let (granted, breaker, first, wait, step): (u64, u8, u64, i64, u64) =
            self.0.link.call(&scripts::PERMIT, &keys, args).await?;
        let wait = u64::try_from(wait).ok().map(ms);
        Ok(Permits { granted, is_probe: breaker == 1, is_away: breaker == 2, first, wait, step: ms(step) })
    }

    /// How often those who hold something say that they live.
    #[must_use]
    pub fn renewed_every(&self) -> Duration {
        ms(self.0.settings.renew_ms)
    }

    /// Says that calls still run: their places, and the breaker's probe where it is one of them, are kept for another lease.
    pub async fn keep_places(
        &self,
        provider: &str,
        numbers: &[u64],
        with_probe: bool,
    ) -> Result<(), QueueError> {
        let keys = keys::provider(&self.0.prefix, provider);
        let mut args = vec![arg(self.0.settings.lease_ms), arg(u8::from(with_probe))];
        args.extend(numbers.iter().map(arg));
        let _kept: u64 = self.0.link.call(&scripts::STAY, &keys, args).await?;
        Ok(())
    }

    /// Calls have ended: their places are free.
    pub async fn leave_places(&self, provider: &str, numbers: &[u64]) -> Result<(), QueueError> {
        let [_, places] = keys::provider(&self.0.prefix, provider);
        let _left: u64 =
            self.0.link.call(&scripts::LEAVE, &[places], numbers.iter().map(arg).collect()).await?;
        Ok(())
    }

    /// Tells what a call showed; answers how long nobody may call now.
    pub async fn tell_of_call(
        &self,
        provider: &str,
        word: Word,
        was_probe: bool,
    ) -> Result<Duration, QueueError> {
        let (name, time) = match word {
            Word::Lives => ("lives", Duration::ZERO),
            Word::Away => ("away", FIRST_WAIT),
            Word::Busy(time) => ("busy", time),
            Word::Unsure => ("unsure", FIRST_WAIT),
        };
        let args =
            vec![name.into(), arg(u8::from(was_probe)), arg(time.as_millis()), arg(LONGEST_WAIT.as_millis())];
        let [state, _] = keys::provider(&self.0.prefix, provider);
        let wait: u64 = self.0.link.call(&scripts::TELL, &[state], args).await?;
        Ok(ms(wait))
    }

    /// How the fleet stands with a provider.
    pub async fn provider_seen(&self, provider: &str) -> Result<ProviderSeen, QueueError> {
        let [state, places] = keys::provider(&self.0.prefix, provider);
        let mut get = redis::cmd("HMGET");
        get.arg(&state).arg(&["since", "until", "trips", "hold"]);
        let (since, until, trips, hold): (Option<i64>, Option<i64>, Option<u32>, Option<i64>) =
            self.0.link.send(&state, &get).await?;
        let calls = self.0.link.send(&places, redis::cmd("ZCARD").arg(&places)).await?;
        let now = self.now_ms().await?;
        Ok(ProviderSeen {
            open_since_ms: until.and(since),
            probe_at_ms: until,
            trips: trips.unwrap_or_default(),
            hold_until_ms: hold.filter(|hold| *hold > now),
            calls,
        })
    }
}
