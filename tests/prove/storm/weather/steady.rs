//! The steady weather: every kind of fault at once and without end, for a share of the calls at each place.
//!
//! Chance alone would leave kinds out at places that are seldom called. So at each place the kinds come in a row at first,
//! one in each so many calls and none beside another, and chance takes over only then. Where calls are few, the row is so
//! close that half of them go wrong: never so many one after the other that a job has no attempts left.

use std::collections::BTreeSet;

use orderfleet::sandbox::POINTS;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{QUIET, kinds_at, named};

/// Refusals in a provider's own words, after which there is still something to do: the same key is under way, or locked, or
/// came with other words before; the label is being bought, or has been, or nobody knows, or its rate is offered no more.
const REFUSALS: [(&str, u16, &str, bool); 13] = [
    ("stripe.create", 409, "idempotency_key_in_use", false),
    ("stripe.create", 400, "idempotency_error", false),
    ("stripe.refund", 409, "idempotency_key_in_use", false),
    ("stripe.refund", 400, "idempotency_error", false),
    ("stripe.capture", 429, "lock_timeout", false),
    ("stripe.capture", 400, "idempotency_error", false),
    ("stripe.cancel", 429, "lock_timeout", false),
    ("stripe.cancel", 400, "idempotency_error", false),
    ("easypost.buy", 422, "SHIPMENT.PURCHASE.IN_PROGRESS", false),
    ("easypost.buy", 422, "SHIPMENT.POSTAGE.EXISTS", false),
    ("easypost.buy", 422, "SHIPMENT.POSTAGE.NO_RESPONSE", false),
    ("easypost.buy", 422, "SHIPMENT.POSTAGE.NO_RESPONSE", true),
    ("easypost.buy", 422, GONE, false),
];
/// The only reason to ask for rates again: so it comes often in its row, or nothing could go wrong there.
const GONE: &str = "SHIPMENT.RATE.UNAVAILABLE";
/// How often.
const GONE_TURNS: usize = 12;
/// Places that are called only after something else went wrong, or by few orders; of so many calls there, one goes wrong in
/// the row. Rates are never asked for twice: whoever is not answered buys at the old one.
const FEW: [(&str, usize); 6] = [
    ("stripe.list", 2),
    ("stripe.capture", 2),
    ("easypost.retrieve", 2),
    ("easypost.refund", 2),
    ("easypost.tracker", 2),
    ("easypost.rerate", 1),
];

/// A kind, and what may happen by it.
struct Way {
    at: &'static str,
    whats: Vec<Value>,
}

impl Way {
    fn name(&self) -> String {
        named(self.at, &self.whats[0])
    }

    /// How often it comes in its row.
    fn turns(&self) -> usize {
        if self.name().ends_with(GONE) { GONE_TURNS } else { 1 }
    }
}

/// Every kind of fault that the steady weather brings.
pub(crate) fn steady_kinds() -> BTreeSet<String> {
    places().flat_map(ways).map(|way| way.name()).collect()
}

fn places() -> impl Iterator<Item = &'static str> {
    POINTS.iter().copied().filter(|at| !QUIET.contains(at))
}

fn ways(at: &'static str) -> Vec<Way> {
    let kinds = kinds_at(at).map(|kind| Way { at, whats: kind.whats() });
    let refusals = REFUSALS.iter().filter(|(place, ..)| *place == at).map(|(_, status, code, after)| Way {
        at,
        whats: vec![json!({"fail": {"status": status, "code": code, "after": after}})],
    });
    kinds.chain(refusals).collect()
}

/// So that this share of the calls at each place goes wrong, in each way as often as in any other.
pub(crate) fn steady(share: f64, seed: u64) -> Value {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0057_EAD1);
    places().flat_map(|at| rules(at, share, &mut random)).collect()
}

/// The row of a place, and what comes after it.
fn rules(at: &'static str, share: f64, random: &mut StdRng) -> Vec<Value> {
    let ways = ways(at);
    let few = FEW.iter().find(|(place, _)| *place == at).map(|(_, calls)| *calls);
    let calls = few.unwrap_or_else(|| one_of(share));
    let mut row: Vec<&Value> =
        ways.iter().flat_map(|way| std::iter::repeat_n(&way.whats[0], way.turns())).collect();
    row.shuffle(random);
    let mut rules: Vec<Value> = (0..)
        .zip(&row)
        .map(|(turn, what)| {
            let skip = turn * calls + random.random_range(0..calls);
            json!({"at": at, "what": what, "skip": skip, "next": 1})
        })
        .collect();
    let skip = row.len() * calls;
    for way in &ways {
        for what in &way.whats {
            let alike = u32::try_from(ways.len() * way.whats.len()).unwrap();
            let (rate, seed) = (share / f64::from(alike), random.random_range(0..u32::MAX));
            rules.push(json!({"at": at, "what": what, "skip": skip, "rate": rate, "seed": seed}));
        }
    }
    rules
}

/// A share, as one of so many.
fn one_of(share: f64) -> usize {
    format!("{:.0}", share.recip()).parse().unwrap()
}
