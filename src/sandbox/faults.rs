//! Faults on order: what the outside world can do to a caller, told beforehand and the same at every run.
//!
//! A rule names a point and what goes wrong there, for the next so many calls or for a share of them drawn from a seed.
//! Nothing here knows a protocol: it only plans; the place that is hit carries the plan out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

pub(crate) use failing::Failing;

mod failing;

macro_rules! points {
    ($($name:ident = $text:literal,)*) => {
        /// A place where a fault can be put.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum Point {
            $(#[serde(rename = $text)] $name,)*
        }

        /// The names of all of them, for whoever has to leave none out.
        pub const POINTS: &[&str] = &[$($text,)*];

        impl Point {
            /// Its name, as in rules.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

points! {
    StripeCreate = "stripe.create",
    StripeRetrieve = "stripe.retrieve",
    StripeList = "stripe.list",
    StripeConfirm = "stripe.confirm",
    StripeCapture = "stripe.capture",
    StripeCancel = "stripe.cancel",
    StripeRefund = "stripe.refund",
    StripeEvents = "stripe.events",
    StripeAccount = "stripe.account",
    EasypostAddress = "easypost.address",
    EasypostCreate = "easypost.create",
    EasypostRetrieve = "easypost.retrieve",
    EasypostBuy = "easypost.buy",
    EasypostRerate = "easypost.rerate",
    EasypostRefund = "easypost.refund",
    EasypostTracker = "easypost.tracker",
    EasypostAccount = "easypost.account",
    SmtpConnect = "smtp.connect",
    SmtpMail = "smtp.mail",
    SmtpRcpt = "smtp.rcpt",
    SmtpData = "smtp.data",
    WebhookStripe = "webhook.stripe",
    WebhookEasypost = "webhook.easypost",
    WalletPage = "wallet.page",
    WalletStatus = "wallet.status",
    WebhookWallet = "webhook.wallet",
}

impl Point {
    /// The provider whose point it is.
    pub(crate) fn provider(self) -> &'static str {
        self.name().split('.').next().unwrap_or_default()
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum What {
    /// An answer of failure: an HTTP status or an SMTP code.
    Fail(Failing),
    /// The answer comes late.
    Delay {
        /// How late, in milliseconds.
        ms: u64,
        /// Do the work first, then wait (as a time-out after the work); otherwise wait first.
        #[serde(default)]
        after: bool,
    },
    /// The connection is closed, nothing was done.
    DropBefore,
    /// The work is done, then the connection is closed without an answer.
    DropAfter,
    /// A webhook is sent so many times more.
    Repeat {
        /// How many times more.
        times: u32,
    },
    /// A webhook is sent after the one that follows it.
    Reorder,
    /// A webhook waits for a release.
    Hold,
}

/// A rule as it is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    at: Point,
    what: What,
    /// Calls that it lets pass before its first hit.
    #[serde(default)]
    skip: u64,
    /// Hits until it is spent; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// The share of calls that it hits, 0 to 1; without it, every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// What the draws are made from.
    #[serde(default)]
    seed: u64,
}

/// A rule that could never do what it says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRule {
    /// The point can't go wrong in this way.
    #[error(
        "{point} cannot do {what:?}: webhooks delay, drop_before (lost), repeat, reorder and hold; all else fail, delay and drop"
    )]
    Unfit {
        /// The point's name.
        point: &'static str,
        /// What was wanted.
        what: What,
    },
    /// The share is none.
    #[error("rate is a share from 0 to 1, not {0}")]
    Rate(f64),
    /// Not a status of failure.
    #[error("status {0} is no failure: 400 to 599")]
    Status(u16),
    /// Nobody there says it so.
    #[error(
        "{point} cannot say {failing:?}: html is a gateway's, before HTTP and without code or reason; a reason is of \
         Stripe's 429 alone"
    )]
    Words {
        /// The point's name.
        point: &'static str,
        /// What was wanted.
        failing: Failing,
    },
}

impl Rule {
    fn check(&self) -> Result<(), BadRule> {
        let webhook = self.at.provider() == "webhook";
        let fit = match self.what {
            What::Fail(_) | What::DropAfter => !webhook,
            What::Repeat { .. } | What::Reorder | What::Hold => webhook,
            What::Delay { .. } | What::DropBefore => true,
        };
        if !fit {
            return Err(BadRule::Unfit { point: self.at.name(), what: self.what.clone() });
        }
        if let Some(rate) = self.rate.filter(|rate| !(0.0..=1.0).contains(rate)) {
            return Err(BadRule::Rate(rate));
        }
        match &self.what {
            What::Fail(failing) if !(400..600).contains(&failing.status) => {
                Err(BadRule::Status(failing.status))
            }
            What::Fail(failing) if !failing.is_said_by(self.at.provider()) => {
                Err(BadRule::Words { point: self.at.name(), failing: failing.clone() })
            }
            What::Fail(_)
            | What::Delay { .. }
            | What::DropBefore
            | What::DropAfter
            | What::Repeat { .. }
            | What::Reorder
            | What::Hold => Ok(()),
        }
    }
}

/// A rule with its count.
#[derive(Debug, Serialize)]
pub(crate) struct Armed {
    #[serde(flatten)]
    rule: Rule,
    calls: u64,
    hits: u64,
    #[serde(skip)]
    dice: StdRng,
}

impl Armed {
    fn hits_now(&mut self) -> bool {
        self.calls += 1;
        let open = self.calls > self.rule.skip && self.rule.next.is_none_or(|next| self.hits < next);
        // The dice fall at every call, so that the draws do not depend on when the rule was spent.
        let drawn = self.rule.rate.is_none_or(|rate| self.dice.random_bool(rate));
        self.hits += u64::from(open && drawn);
        open && drawn
    }
}

/// What happens to one call.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent faults, any of which may come together")]
pub(crate) struct Plan {
    /// Wait so long, then work.
    pub(crate) before: Duration,
    /// Work, then wait so long.
    pub(crate) after: Duration,
    /// Close without working.
    pub(crate) drop_before: bool,
    /// Work, then close.
    pub(crate) drop_after: bool,
    /// Fail.
    pub(crate) fail: Option<Failing>,
    /// Send so many times more.
    pub(crate) repeat: u32,
    /// Send after the next.
    pub(crate) reorder: bool,
    /// Wait for a release.
    pub(crate) hold: bool,
}

impl Plan {
    /// The page that a gateway shows instead of the answer.
    pub(crate) fn page(&self) -> Option<&Failing> {
        self.fail.as_ref().filter(|failing| failing.html)
    }

    /// The failure that the provider itself answers with.
    pub(crate) fn refusal(&self) -> Option<&Failing> {
        self.fail.as_ref().filter(|failing| !failing.html)
    }

    fn add(&mut self, what: &What) {
        match what {
            What::Fail(failing) => self.fail = Some(failing.clone()),
            What::Delay { ms, after: true } => self.after += Duration::from_millis(*ms),
            What::Delay { ms, after: false } => self.before += Duration::from_millis(*ms),
            What::DropBefore => self.drop_before = true,
            What::DropAfter => self.drop_after = true,
            What::Repeat { times } => self.repeat += times,
            What::Reorder => self.reorder = true,
            What::Hold => self.hold = true,
        }
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Armed>>);

impl Faults {
    /// Adds rules: all of them, or none if one is bad.
    pub(crate) fn add(&self, rules: Vec<Rule>) -> Result<(), BadRule> {
        rules.iter().try_for_each(Rule::check)?;
        let armed = rules.into_iter().map(|rule| {
            let dice = StdRng::seed_from_u64(rule.seed);
            Armed { rule, calls: 0, hits: 0, dice }
        });
        self.with(|all| all.extend(armed));
        Ok(())
    }

    /// Forgets every rule.
    pub(crate) fn clear(&self) {
        self.with(Vec::clear);
    }

    /// What happens to the call that now comes to `point`.
    pub(crate) fn plan(&self, point: Point) -> Plan {
        self.with(|all| {
            let mut plan = Plan::default();
            for armed in all.iter_mut().filter(|armed| armed.rule.at == point) {
                if armed.hits_now() {
                    plan.add(&armed.rule.what);
                }
            }
            plan
        })
    }

    /// Lets `f` see the rules with their counts.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Vec<Armed>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(rules: &str) -> Faults {
        let faults = Faults::default();
        faults.add(serde_json::from_str(rules).unwrap()).unwrap();
        faults
    }

    #[test]
    fn the_next_calls_are_hit_and_then_no_more() {
        let faults = armed(r#"[{"at":"easypost.buy","what":"drop_after","next":2}]"#);
        let hits: Vec<bool> = (0..4).map(|_| faults.plan(Point::EasypostBuy).drop_after).collect();
        assert_eq!(hits, [true, true, false, false]);
        assert!(!faults.plan(Point::EasypostCreate).drop_after);
    }

    #[test]
    fn a_rule_lets_pass_what_it_was_told_to() {
        let faults = armed(r#"[{"at":"stripe.list","what":"drop_before","skip":2,"next":1}]"#);
        let hits: Vec<bool> = (0..4).map(|_| faults.plan(Point::StripeList).drop_before).collect();
        assert_eq!(hits, [false, false, true, false]);
    }

    #[test]
    fn a_share_is_the_same_for_the_same_seed() {
        let rules = r#"[{"at":"stripe.create","what":{"fail":{"status":500}},"rate":0.3,"seed":7}]"#;
        let draw = |faults: &Faults| -> Vec<bool> {
            (0..200).map(|_| faults.plan(Point::StripeCreate).fail.is_some()).collect()
        };
        let (one, two) = (draw(&armed(rules)), draw(&armed(rules)));
        assert_eq!(one, two);
        assert!((30..90).contains(&one.iter().filter(|hit| **hit).count()));
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused() {
        for rules in [
            r#"[{"at":"webhook.stripe","what":"drop_after"}]"#,
            r#"[{"at":"stripe.create","what":{"repeat":{"times":2}}}]"#,
            r#"[{"at":"stripe.create","what":"drop_after","rate":1.5}]"#,
            r#"[{"at":"stripe.create","what":{"fail":{"status":200}}}]"#,
            r#"[{"at":"smtp.data","what":{"fail":{"status":450,"html":true}}}]"#,
            r#"[{"at":"easypost.buy","what":{"fail":{"status":502,"html":true,"code":"X"}}}]"#,
            r#"[{"at":"stripe.create","what":{"fail":{"status":500,"reason":"global-rate"}}}]"#,
            r#"[{"at":"easypost.buy","what":{"fail":{"status":429,"reason":"global-rate"}}}]"#,
        ] {
            assert!(Faults::default().add(serde_json::from_str(rules).unwrap()).is_err(), "{rules}");
        }
        for rules in [
            r#"[{"at":"stripe.creat","what":"drop_after"}]"#,
            r#"[{"at":"stripe.create","what":{"fail":{"status":429,"reason":"mood"}}}]"#,
        ] {
            assert!(serde_json::from_str::<Vec<Rule>>(rules).is_err(), "{rules}");
        }
    }
}
