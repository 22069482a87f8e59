//! How often one customer, and one client address, may try to buy: whoever tries more often is sent away for a while.
//!
//! The limits hold across doors: tries are counted in Redis. Most buyers try once, and that costs nothing: the first try
//! in a while is only noted here, and counted with the next one, if there is any. So each door may let in one more than
//! the limit says. Whoever was refused is remembered here until the time has passed, and costs nobody anything.
//!
//! A repeated wish is no try: it is taken back. And whoever holds an intent is never refused, limit or not: the push
//! looks the key up. Not knowing (Redis is away) lets in; the push will tell.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use tracing::debug;

use crate::config::IntakeSettings;
use crate::domain::key::hex;
use crate::queue::{Allowance, Queue};
use crate::time::Stopwatch;

/// How long a try is remembered here at least; then it is forgotten, counted or not.
const MEMORY: Duration = Duration::from_mins(1);
/// Whoever is remembered in half of the memory, at most: some ten megabytes. Beyond, the older half is forgotten early.
const MOST: usize = 50_000;
/// Names the key among all that are derived from the installation's secret.
const KEY_NAME: &[u8] = b"visits";

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// A customer's tries.
    Customer,
    /// Those from one address.
    Address,
}

impl Of {
    /// Its name, as callers read it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Address => "address",
        }
    }
}

/// Somebody who tries, as this process knows them. Two who share a number share their tries: one pair in billions.
type Who = u64;

/// A refusal: by which limit, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    pub(super) of: Of,
    pub(super) wait: Duration,
}

pub(super) struct Limits {
    customer: Option<Allowance>,
    address: Option<Allowance>,
    /// Names them here: it costs a tenth of what the key does.
    here: RandomState,
    /// Names them in Redis, which is not told who they are.
    key: hmac::Key,
    memory: Mutex<Memory>,
}

/// One who tries, and what limits them.
struct One {
    of: Of,
    who: Who,
    allowance: Allowance,
    name: Vec<String>,
}

/// A try that is being made: by a customer, from an address.
pub(super) struct Try([Option<One>; 2]);

#[derive(Default)]
struct Memory {
    since: Option<Stopwatch>,
    young: HashMap<Who, Noted>,
    old: HashMap<Who, Noted>,
}

/// What is known here of one who tried.
#[derive(Default)]
struct Noted {
    /// Tries that Redis was not told of; fewer than none were no tries.
    uncounted: i64,
    /// When they were sent away, and for how long.
    barred: Option<(Stopwatch, Duration)>,
}

impl Limits {
    pub(super) fn new(settings: &IntakeSettings, secret: &SecretString) -> Self {
        let allowance = |a_minute: u32| (a_minute > 0).then_some(Allowance { a_minute });
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        Self {
            customer: allowance(settings.customer_attempts),
            address: allowance(settings.address_attempts),
            here: RandomState::new(),
            key: hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, KEY_NAME).as_ref()),
            memory: Mutex::default(),
        }
    }

    /// Who tries: a customer of a tenant and, where it is known, the network of their address.
    pub(super) fn of(&self, tenant: &str, customer: &str, address: Option<String>) -> Try {
        let one = |of: Of, allowance: Option<Allowance>, name: Vec<String>| {
            let who = self.here.hash_one((of, &name));
            allowance.map(|allowance| One { of, who, allowance, name })
        };
        let names = vec![tenant.to_owned(), customer.to_owned()];
        let address = address.and_then(|address| one(Of::Address, self.address, vec![address]));
        Try([one(Of::Customer, self.customer, names), address])
    }

    /// Whether this try is one too many, by which limit and for how long.
    pub(super) async fn refuse(&self, queue: &Queue, visit: &Try) -> Option<TooMany> {
        let mut refused: Option<TooMany> = None;
        for one in visit.0.iter().flatten() {
            // Not in the match: the lock would be held for all of it.
            let standing = self.memory().note(one.who);
            let wait = match standing {
                Standing::First => None,
                Standing::Barred(wait) => Some(wait),
                Standing::Again { before } => self.count(queue, one, before).await,
            };
            let told = wait.map(|wait| TooMany { of: one.of, wait });
            refused = [refused, told].into_iter().flatten().max_by_key(|refused| refused.wait);
        }
        refused
    }

    /// Counts a try in Redis, where it may be one too many.
    async fn count(&self, queue: &Queue, one: &One, before: i64) -> Option<Duration> {
        match queue.visit(&self.name(one), one.allowance, before).await {
            Ok(wait) => {
                self.memory().hear(one.who, wait);
                wait
            }
            Err(error) => {
                debug!(%error, "a try was not counted");
                None
            }
        }
    }

    /// How Redis knows them.
    fn name(&self, one: &One) -> String {
        let mut hash = hmac::Context::with_key(&self.key);
        for part in std::iter::once(one.of.name()).chain(one.name.iter().map(String::as_str)) {
            // The length first: ("ab", "c") and ("a", "bc") are two names.
            hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        // Half of it is beyond guessing as well.
        hex(&hash.sign().as_ref()[..16])
    }

    /// It was no try: whoever made it holds the intent already.
    pub(super) fn take_back(&self, visit: &Try) {
        for one in visit.0.iter().flatten() {
            if let Some(noted) = self.memory().find(one.who) {
                noted.uncounted = noted.uncounted.saturating_sub(1);
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known here when somebody tries.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// The first try in a while.
    First,
    /// Sent away until this has passed.
    Barred(Duration),
    /// One of several: so many before it were not counted.
    Again { before: i64 },
}

impl Memory {
    fn note(&mut self, who: Who) -> Standing {
        let is_over = self.since.is_none_or(|since| since.elapsed() >= MEMORY);
        if is_over || self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(Stopwatch::start());
        }
        let Some(noted) = self.find(who) else {
            self.young.insert(who, Noted { uncounted: 1, barred: None });
            return Standing::First;
        };
        if let Some((since, wait)) = noted.barred {
            let left = wait.saturating_sub(since.elapsed());
            if !left.is_zero() {
                return Standing::Barred(left);
            }
        }
        Standing::Again { before: std::mem::take(&mut noted.uncounted) }
    }

    fn hear(&mut self, who: Who, wait: Option<Duration>) {
        if let Some(noted) = self.find(who) {
            noted.barred = wait.map(|wait| (Stopwatch::start(), wait));
        }
    }

    fn find(&mut self, who: Who) -> Option<&mut Noted> {
        if let Some(noted) = self.old.remove(&who) {
            self.young.insert(who, noted);
        }
        self.young.get_mut(&who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Who = 1;

    #[test]
    fn the_first_try_is_only_noted_and_told_with_the_next() {
        let mut memory = Memory::default();
        assert_eq!(memory.note(ONE), Standing::First);
        assert_eq!(memory.note(ONE), Standing::Again { before: 1 });
        assert_eq!(memory.note(ONE), Standing::Again { before: 0 });
        memory.find(ONE).unwrap().uncounted -= 1;
        assert_eq!(memory.note(ONE), Standing::Again { before: -1 });
    }

    #[test]
    fn whoever_was_sent_away_is_remembered_until_the_time_has_passed() {
        let mut memory = Memory::default();
        memory.note(ONE);
        memory.hear(ONE, Some(Duration::from_mins(5)));
        assert!(matches!(memory.note(ONE), Standing::Barred(left) if left > Duration::from_mins(4)));
        memory.hear(ONE, Some(Duration::ZERO));
        assert_eq!(memory.note(ONE), Standing::Again { before: 1 });
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut memory = Memory::default();
        memory.note(ONE);
        for at in 0..3 * MOST {
            memory.note(u64::try_from(at).unwrap() + 2);
        }
        assert!(memory.young.len() + memory.old.len() <= 2 * MOST);
        assert_eq!(memory.note(ONE), Standing::First);
    }

    #[test]
    fn customers_tenants_and_addresses_are_told_apart() {
        let settings = crate::config::load(&crate::config::Sources::default()).unwrap().intake;
        let limits = Limits::new(&settings, &"a secret of at least thirty-two characters".to_owned().into());
        let who = |tenant, customer, address: Option<&str>| {
            let visit = limits.of(tenant, customer, address.map(str::to_owned));
            visit.0.iter().flatten().map(|one| limits.name(one)).collect::<Vec<_>>()
        };
        let one = who("shop", "cus_7", Some("203.0.113.7"));
        assert_eq!(one, who("shop", "cus_7", Some("203.0.113.7")));
        assert_eq!(who("other", "cus_7", Some("203.0.113.7"))[1], one[1]);
        for other in [who("other", "cus_7", None), who("shop", "cus_8", None), who("shopc", "us_7", None)] {
            assert!(!one.contains(&other[0]));
        }
    }
}
