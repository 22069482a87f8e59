//! The report for a terminal: one line a check, and below it what breaks it.

use std::fmt::Write;

use super::{Check, Outcome, Report};

/// Writes the report: aligned, without colour, so that it reads the same in a log.
#[must_use]
pub fn render(report: &Report) -> String {
    let width = |of: fn(&Check) -> &str| {
        report.checks.iter().map(|check| of(check).chars().count()).max().unwrap_or_default()
    };
    let (ids, names) = (width(|check| check.id), width(|check| check.name));
    let mut text = String::new();
    for check in &report.checks {
        let (verdict, note) = match &check.outcome {
            Outcome::Held => ("held", format!("{} ms", check.millis)),
            Outcome::Violated { count, .. } => ("VIOLATED", format!("{count}: {}", check.sentence)),
            Outcome::NotApplicable { reason } => ("not applicable", format!("({reason})")),
        };
        line(&mut text, format_args!("{:ids$}  {:names$}  {verdict:14}  {note}", check.id, check.name));
        if let Outcome::Violated { count, sample } = &check.outcome {
            for offender in sample {
                line(&mut text, format_args!("{:ids$}    {}  {}", "", offender.id, offender.detail));
            }
            let more = count.saturating_sub(u64::try_from(sample.len()).unwrap_or(u64::MAX));
            if more > 0 {
                line(&mut text, format_args!("{:ids$}    and {more} more", ""));
            }
        }
    }
    line(&mut text, format_args!("\n{}", summary(report)));
    text
}

fn summary(report: &Report) -> String {
    let (mut held, mut violated, mut skipped) = (0, 0, 0);
    for check in &report.checks {
        match check.outcome {
            Outcome::Held => held += 1,
            Outcome::Violated { .. } => violated += 1,
            Outcome::NotApplicable { .. } => skipped += 1,
        }
    }
    let offenders = report.violations;
    format!("{held} held, {violated} violated ({offenders} offenders), {skipped} not applicable")
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Safety: writing to a String can't fail.
    let _ = writeln!(text, "{what}");
}
