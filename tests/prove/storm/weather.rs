//! The weather: what goes wrong outside a world, and when. All of it is drawn from the world's seed.
//!
//! A kind of fault is a place and a way in which it fails. Worlds of following seeds take the kinds in turn, so that a few
//! of them meet all; in some worlds the payment provider is also away for as long as holds last, and in some every scan is
//! late. A kind counts as met when the sandbox carried it out, not when it was ordered.
//!
//! What ends a job for good is no weather, because there nothing is left to be seen: each has a test with its name. Those are
//! a mail server's 5xx (`a_mail_that_is_refused_for_good_is_given_up_and_the_order_goes_on`), an address that does not exist,
//! told by objects and by sentences (`s05_an_address_that_does_not_exist_is_shown_by_its_fields_and_nothing_is_bought`), and a
//! service that is offered no more (`s04_a_service_that_is_offered_no_more_is_not_replaced_in_silence`). What becomes of
//! refunds, disputes and parcels is up to banks and carriers: people and the calm tell that.

use std::collections::BTreeSet;
use std::time::Duration;

use orderfleet::sandbox::POINTS;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

pub(crate) use steady::{steady, steady_kinds};

mod steady;

/// Kinds of faults in one world: enough to meet each other, few enough that most work is done at the first try.
const KINDS: usize = 16;
/// The weather changes after this: what is away comes back while holds that it outlasted are still in memory.
pub(crate) const FRONT: Duration = Duration::from_secs(9);
/// Places that the fleet asks nothing of while it works: they serve `doctor`, accounts and people, and a wallet that no
/// buyer here pays with.
const QUIET: [&str; 6] =
    ["stripe.events", "stripe.account", "easypost.account", "wallet.page", "wallet.status", "webhook.wallet"];
/// Places that a storm hardly ever comes to: no rate expires there, and no carrier is silent for a day. Both happen in the
/// steady weather.
const SELDOM: [&str; 2] = ["easypost.rerate", "easypost.tracker"];
/// Where payments are listed, to find one whose id was never told.
const LIST: &str = "stripe.list";
/// Ways in which that fails in one world: all of them in a row would be more than one job has attempts.
const LISTS: usize = 3;
/// Ways in which a request can fail: by the provider's own word, by a gateway's page, late, without an answer.
const ANSWERS: [&str; 8] =
    ["fail", "fail_after", "html", "html_after", "delay", "delay_after", "drop_before", "drop_after"];
/// The same of Stripe, which also says which of its limits was met.
const LIMITED: [&str; 9] = [
    "fail",
    "fail_after",
    "html",
    "html_after",
    "limited",
    "delay",
    "delay_after",
    "drop_before",
    "drop_after",
];
/// Ways in which a conversation with the mail server can fail before there is a mail; at a goodbye it hangs up.
const WORDS: [&str; 4] = ["fail", "goodbye", "delay", "drop_before"];
/// Ways in which a mail can be lost, or accepted without an answer. A mail server's no means that there is no mail.
const MAILS: [&str; 6] = ["fail", "goodbye", "delay", "delay_after", "drop_before", "drop_after"];
/// Ways in which a webhook can fail: late, lost, told again, overtaken, held back.
const LETTERS: [&str; 5] = ["delay", "drop_before", "repeat", "reorder", "hold"];
/// Stripe's limits, as it names them.
const LIMITS: [&str; 5] =
    ["global-rate", "endpoint-rate", "global-concurrency", "endpoint-concurrency", "resource-specific"];
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
    let busy = POINTS.iter().filter(|at| !QUIET.contains(at) && !SELDOM.contains(at));
    busy.flat_map(|at| kinds_at(at)).collect()
}

fn kinds_at(at: &'static str) -> impl Iterator<Item = Kind> {
    ways(at).iter().map(move |how| Kind { at, how })
}

fn ways(at: &str) -> &'static [&'static str] {
    match at {
        "smtp.connect" | "smtp.mail" | "smtp.rcpt" => &WORDS,
        "smtp.data" => &MAILS,
        _ if at.starts_with("webhook.") => &LETTERS,
        _ if at.starts_with("stripe.") => &LIMITED,
        _ => &ANSWERS,
    }
}

impl Kind {
    /// How it is called in figures.
    pub(crate) fn name(self) -> String {
        format!("{}:{}", self.at, self.how)
    }

    /// What may happen, each as good as the others.
    fn whats(self) -> Vec<Value> {
        match self.how {
            "fail" if self.at.starts_with("smtp.") => failing([451, 450, 452], &json!({})),
            "goodbye" => failing([421], &json!({})),
            "fail" => failing([500, 503, 429], &json!({})),
            // One that has done the work says that it failed, never that there was too much of it.
            "fail_after" => failing([500, 502, 503], &json!({"after": true})),
            "html" => failing([502, 503, 504], &json!({"html": true})),
            "html_after" => failing([502, 503, 504], &json!({"html": true, "after": true})),
            "limited" => LIMITS.map(|reason| json!({"fail": {"status": 429, "reason": reason}})).to_vec(),
            "delay" => LATE_MS.map(|late| json!({"delay": {"ms": late}})).to_vec(),
            "delay_after" => LATE_MS.map(|late| json!({"delay": {"ms": late, "after": true}})).to_vec(),
            "repeat" => (1..4).map(|times| json!({"repeat": {"times": times}})).collect(),
            how => vec![json!(how)],
        }
    }

    /// Hits a share of the next calls, and then no more: an attempt is spent, and never all of a job's.
    fn rule(self, random: &mut StdRng) -> Value {
        // What is seldom asked for goes wrong each time, and in another way the next time.
        let is_rare = matches!(self.at, LIST | "stripe.capture" | "easypost.refund");
        let (rate, next) =
            if is_rare { (1.0, 1) } else { (random.random_range(0.2..0.7), random.random_range(2..7)) };
        let what = self.whats().choose(random).unwrap().clone();
        let seed = random.random_range(0..u32::MAX);
        json!({"at": self.at, "what": what, "next": next, "rate": rate, "seed": seed})
    }
}

fn failing<const N: usize>(statuses: [u16; N], so: &Value) -> Vec<Value> {
    let fail = |status: u16| {
        let mut fail = so.clone();
        fail["status"] = json!(status);
        json!({ "fail": fail })
    };
    statuses.map(fail).to_vec()
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

/// Whether holds of this world end while the payment provider can neither be asked nor told.
pub(crate) const fn provider_goes_away(seed: u64) -> bool {
    seed % 3 == 1
}

/// The kinds that the sandbox carried out, by its own count.
pub(crate) fn met(told: &Value) -> BTreeSet<String> {
    let hit = told.as_array().unwrap().iter().filter(|rule| rule["hits"].as_u64() > Some(0));
    hit.map(|rule| named(rule["at"].as_str().unwrap(), &rule["what"])).collect()
}

/// How that is called which a rule does.
fn named(at: &str, what: &Value) -> String {
    let Some((name, of)) = what.as_object().and_then(|what| what.iter().next()) else {
        return format!("{at}:{}", what.as_str().unwrap_or_default());
    };
    let how = match of["code"].as_str() {
        Some(code) => code,
        None if of["html"] == true => "html",
        None if of["reason"].is_string() => "limited",
        None if of["status"] == 421 => "goodbye",
        None => name,
    };
    let after = if of["after"] == true { "_after" } else { "" };
    format!("{at}:{how}{after}")
}
