//! The weather: what goes wrong outside a world, and when. All of it is drawn from the world's seed.
//!
//! A kind of fault is a place and a way in which it fails. Worlds of following seeds take the kinds in turn, so that a few
//! of them meet all; in some worlds the payment provider is also away for as long as holds last, and in some every scan is
//! late. A kind counts as met when the sandbox carried it out, not when it was ordered.

use std::collections::BTreeSet;
use std::time::Duration;

use orderfleet::sandbox::POINTS;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Kinds of faults in one world: enough to meet each other, few enough that most work is done at the first try.
const KINDS: usize = 16;
/// The weather changes after this: what is away comes back while holds that it outlasted are still in memory.
pub(crate) const FRONT: Duration = Duration::from_secs(9);
/// Places that the fleet asks nothing of while it works: they serve `doctor`, accounts and people, and a wallet that no
/// buyer here pays with.
const QUIET: [&str; 8] = [
    "stripe.events",
    "stripe.account",
    "easypost.rerate",
    "easypost.tracker",
    "easypost.account",
    "wallet.page",
    "wallet.status",
    "webhook.wallet",
];
/// Where payments are listed, to find one whose id was never told.
const LIST: &str = "stripe.list";
/// Ways in which that fails in one world: all of them in a row would be more than one job has attempts.
const LISTS: usize = 3;
/// Ways in which a request can fail.
const ANSWERS: [&str; 6] = ["fail", "fail_after", "delay", "delay_after", "drop_before", "drop_after"];
/// Ways in which a conversation with the mail server can fail before there is a mail.
const WORDS: [&str; 3] = ["fail", "delay", "drop_before"];
/// Ways in which a mail can be lost, or accepted without an answer. A mail server's no means that there is no mail.
const MAILS: [&str; 5] = ["fail", "delay", "delay_after", "drop_before", "drop_after"];
/// Ways in which a webhook can fail: late, lost, told again, overtaken, held back.
const LETTERS: [&str; 5] = ["delay", "drop_before", "repeat", "reorder", "hold"];
/// Refusals in a provider's own words, after which there is still something to do: the same key is under way, or locked;
/// the label is being bought, or has been, or its rate is offered no more.
const REFUSALS: [(&str, u16, &str); 7] = [
    ("stripe.create", 409, "idempotency_key_in_use"),
    ("stripe.refund", 409, "idempotency_key_in_use"),
    ("stripe.capture", 429, "lock_timeout"),
    ("stripe.cancel", 429, "lock_timeout"),
    ("easypost.buy", 422, "SHIPMENT.PURCHASE.IN_PROGRESS"),
    ("easypost.buy", 422, "SHIPMENT.POSTAGE.EXISTS"),
    ("easypost.buy", 422, "SHIPMENT.RATE.UNAVAILABLE"),
];
/// How late, in milliseconds: a moment; longer than a hold's last second; longer than a call may take.
const LATE_MS: [u64; 3] = [250, 1_200, 2_600];

/// A place and a way in which it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    at: &'static str,
    how: &'static str,
}

/// Every kind of fault that a working fleet can meet.
pub(crate) fn kinds() -> Vec<Kind> {
    let busy = POINTS.iter().filter(|at| !QUIET.contains(at));
    busy.flat_map(|at| ways(at).iter().map(|how| Kind { at, how })).collect()
}

fn ways(at: &str) -> &'static [&'static str] {
    match at {
        "smtp.connect" | "smtp.mail" | "smtp.rcpt" => &WORDS,
        "smtp.data" => &MAILS,
        _ if at.starts_with("webhook.") => &LETTERS,
        _ => &ANSWERS,
    }
}

impl Kind {
    /// How it is called in figures.
    pub(crate) fn name(self) -> String {
        format!("{}:{}", self.at, self.how)
    }

    fn what(self, random: &mut StdRng) -> Value {
        let late = *LATE_MS.choose(random).unwrap();
        let status = *self.statuses().choose(random).unwrap();
        let times = if self.how == "repeat" { random.random_range(1..4) } else { 1 };
        self.doing(late, status, times)
    }

    fn statuses(self) -> [u16; 3] {
        match (self.at.starts_with("smtp."), self.how) {
            (true, _) => [451, 421, 450],
            // One that has done the work says that it failed, never that there was too much of it.
            (false, "fail_after") => [500, 502, 503],
            (false, _) => [500, 503, 429],
        }
    }

    fn doing(self, late: u64, status: u16, times: u32) -> Value {
        match self.how {
            "fail" => json!({"fail": {"status": status}}),
            "fail_after" => json!({"fail": {"status": status, "after": true}}),
            "delay" => json!({"delay": {"ms": late}}),
            "delay_after" => json!({"delay": {"ms": late, "after": true}}),
            "repeat" => json!({"repeat": {"times": times}}),
            how => json!(how),
        }
    }

    /// Hits a share of the next calls, and then no more: an attempt is spent, and never all of a job's.
    fn rule(self, random: &mut StdRng) -> Value {
        // What is seldom asked for goes wrong each time, and in another way the next time.
        let is_rare = matches!(self.at, LIST | "stripe.capture" | "easypost.refund");
        let (rate, next) =
            if is_rare { (1.0, 1) } else { (random.random_range(0.2..0.7), random.random_range(2..7)) };
        let (what, seed) = (self.what(random), random.random_range(0..u32::MAX));
        json!({"at": self.at, "what": what, "next": next, "rate": rate, "seed": seed})
    }
}

/// A world's weather.
pub(crate) struct Weather {
    /// From the beginning, and from [`FRONT`] on.
    pub(crate) fronts: [Value; 2],
}

impl Weather {
    /// The weather of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x57EA_7ABE);
        let all = kinds();
        let turn = usize::try_from(seed % u64::try_from(all.len()).unwrap()).unwrap() * KINDS;
        let mut mine: Vec<Kind> = (turn..turn + KINDS).map(|at| all[at % all.len()]).collect();
        // Of the kinds of one place the first is met first: in each world another, or the last of a rare call never is.
        mine.shuffle(&mut random);
        let mut lists = 0;
        mine.retain(|kind| {
            lists += usize::from(kind.at == LIST);
            kind.at != LIST || lists <= LISTS
        });
        let (early, late) = mine.split_at(mine.len() / 2);
        let mut rules = |kinds: &[Kind]| kinds.iter().map(|kind| kind.rule(&mut random)).collect::<Vec<_>>();
        // Both fronts have all kinds: what nobody asked for in the first is asked for in the second.
        let mut fronts = [rules(&[early, late].concat()), rules(&[late, early].concat())];
        if mine.iter().any(|kind| kind.at == LIST) {
            // Payments are listed only where a failure was kept under the key that one was opened with.
            for front in &mut fronts {
                front.insert(0, json!({"at": "stripe.create", "what": {"fail": {"status": 500, "after": true}}, "next": 2}));
            }
        }
        if provider_goes_away(seed) {
            // Holds end while the provider can neither be asked nor told.
            for at in ["stripe.retrieve", "stripe.cancel"] {
                fronts[0].push(json!({"at": at, "what": "drop_before"}));
            }
        }
        if seed % 2 == 1 {
            // Orders stay at the packers' for a while.
            fronts[0].push(json!({"at": "webhook.easypost", "what": {"delay": {"ms": 4_000}}}));
        }
        Self { fronts: fronts.map(Value::from) }
    }
}

/// Every kind at once, and without end: this share of the calls at each place goes wrong, in each way as often as in any
/// other.
pub(crate) fn steady(share: f64, seed: u64) -> Value {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0057_EAD1);
    let mut all: Vec<(&str, Value)> = Vec::new();
    for kind in kinds() {
        for ((late, status), times) in LATE_MS.into_iter().zip(kind.statuses()).zip(1..) {
            all.push((kind.at, kind.doing(late, status, times)));
        }
    }
    all.extend(REFUSALS.map(|(at, status, code)| (at, json!({"fail": {"status": status, "code": code}}))));
    let rule = |(at, what): &(&str, Value)| {
        let here = u32::try_from(all.iter().filter(|(other, _)| other == at).count()).unwrap();
        let (rate, seed) = (share / f64::from(here), random.random_range(0..u32::MAX));
        json!({"at": at, "what": what, "rate": rate, "seed": seed})
    };
    all.iter().map(rule).collect()
}

/// Whether holds of this world end while the payment provider can neither be asked nor told.
pub(crate) const fn provider_goes_away(seed: u64) -> bool {
    seed % 3 == 1
}

/// The kinds that the sandbox carried out, by its own count.
pub(crate) fn met(told: &Value) -> BTreeSet<String> {
    let hit = told.as_array().unwrap().iter().filter(|rule| rule["hits"].as_u64() > Some(0));
    hit.map(|rule| format!("{}:{}", rule["at"].as_str().unwrap(), how(&rule["what"]))).collect()
}

fn how(what: &Value) -> String {
    let Some((name, of)) = what.as_object().and_then(|what| what.iter().next()) else {
        return what.as_str().unwrap_or_default().to_owned();
    };
    if of["after"] == true { format!("{name}_after") } else { name.clone() }
}
