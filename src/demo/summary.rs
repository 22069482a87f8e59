//! What a demonstration came to, for a person and for a program.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::shop::Outcome;
use crate::audit::Report;
use crate::store::progress::Progress;

/// What a demonstration came to.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Whether everything came to the end that it should.
    pub(super) ok: bool,
    wishes: usize,
    /// How many wishes came to which end.
    outcomes: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stock: Option<i64>,
    paid: u64,
    labelled: u64,
    confirmation_mails: u64,
    shipping_mails: u64,
    /// Mails that the sandbox accepted for these customers, by its own count.
    mails_accepted: usize,
    /// Of these, second copies of one mail.
    mails_twice: usize,
    /// Mails whose outcome nobody knew for a while.
    possible_duplicates: u64,
    dead_letters: u64,
    post_to_reserved_ms: Spread,
    payment_to_label_ms: Spread,
    seconds: f64,
    audit_violations: u64,
    audit_failed: Vec<String>,
}

/// The middle and the tail of a set of durations, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Spread {
    p50: u64,
    p99: u64,
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(place).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Summary {
    pub(super) fn of_orders(
        wishes: usize,
        outcomes: &[Outcome],
        progress: &Progress,
        (mails_accepted, mails_twice): (usize, usize),
        took: Duration,
    ) -> Self {
        let all = u64::try_from(wishes).unwrap_or(u64::MAX);
        let extra = u64::try_from(mails_twice).unwrap_or(u64::MAX);
        Self {
            ok: progress.complete == all
                && progress.dead_letters == 0
                && extra <= progress.possible_duplicates,
            paid: progress.paid,
            labelled: progress.labelled,
            confirmation_mails: progress.confirmation_mails,
            shipping_mails: progress.shipping_mails,
            mails_accepted,
            mails_twice,
            possible_duplicates: progress.possible_duplicates,
            dead_letters: progress.dead_letters,
            payment_to_label_ms: Spread::of(progress.payment_to_label_ms.clone()),
            ..Self::of(wishes, outcomes, took)
        }
    }

    pub(super) fn of_herd(buyers: usize, stock: i64, outcomes: &[Outcome], took: Duration) -> Self {
        let mut summary = Self::of(buyers, outcomes, took);
        let count = |name: &str| summary.outcomes.get(name).copied().unwrap_or_default();
        let reserved = count("reserved");
        let told = count("insufficient_stock") + count("sold_out");
        let due = usize::try_from(stock).unwrap_or_default().min(buyers);
        summary.ok = reserved == due && reserved + told == buyers;
        summary.stock = Some(stock);
        summary
    }

    fn of(wishes: usize, outcomes: &[Outcome], took: Duration) -> Self {
        let mut summary = Self { wishes, seconds: took.as_secs_f64(), ..Self::default() };
        for outcome in outcomes {
            *summary.outcomes.entry(outcome.status.clone()).or_default() += 1;
        }
        let reserved = outcomes.iter().filter_map(|outcome| outcome.reserved_after).map(millis);
        summary.post_to_reserved_ms = Spread::of(reserved.collect());
        summary
    }

    pub(super) fn with_audit(mut self, report: &Report) -> Self {
        self.audit_violations = report.violations;
        let failed = report.checks.iter().filter(|check| check.outcome.count() > 0);
        self.audit_failed = failed.map(|check| format!("{} {}", check.id, check.name)).collect();
        self.ok &= report.violations == 0;
        self
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} wishes in {:.1} s", self.wishes, self.seconds)?;
        for (status, count) in &self.outcomes {
            writeln!(f, "  {count:>6}  {status}")?;
        }
        let Spread { p50, p99 } = self.post_to_reserved_ms;
        writeln!(f, "  POST to reserved, with its secret     p50 {p50} ms   p99 {p99} ms")?;
        if let Some(stock) = self.stock {
            writeln!(f, "  {stock} pieces were for sale")?;
        } else {
            let Spread { p50, p99 } = self.payment_to_label_ms;
            writeln!(f, "  payment to label                      p50 {p50} ms   p99 {p99} ms")?;
            writeln!(f, "  {} paid, {} labelled", self.paid, self.labelled)?;
            writeln!(
                f,
                "  {} confirmation mails, {} shipping mails",
                self.confirmation_mails, self.shipping_mails
            )?;
            writeln!(
                f,
                "  {} mails at the mail server, {} of them second copies ({} possible duplicates counted)",
                self.mails_accepted, self.mails_twice, self.possible_duplicates
            )?;
            writeln!(f, "  {} dead letters", self.dead_letters)?;
        }
        match self.audit_violations {
            0 => write!(f, "  audit: every invariant holds"),
            count => write!(f, "  audit: {count} violations of {}", self.audit_failed.join(", ")),
        }
    }
}
