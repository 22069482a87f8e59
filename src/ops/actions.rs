//! The record of what operators did, in words.

use std::fmt::Write as _;

use crate::store::actions::Done;

/// Actions of a page where nobody says how many: a screen of them.
pub const USUAL_PAGE: i64 = 50;
/// Actions of a page, at most.
pub const LONGEST_PAGE: i64 = 1_000;

/// A page as a table.
#[must_use]
pub fn render(found: &[Done]) -> String {
    if found.is_empty() {
        return "Nobody did anything like that.\n".to_owned();
    }
    let wide = |of: fn(&Done) -> &str| found.iter().map(|done| of(done).len()).max().unwrap_or_default();
    let (actor, action) = (wide(|done| &done.actor), wide(|done| &done.action));
    let mut text = String::new();
    for done in found {
        // Writing into a text can't fail.
        let _ = writeln!(
            text,
            "{}  {:actor$}  {:action$}  {}",
            done.at.format("%Y-%m-%d %H:%M:%S"),
            done.actor,
            done.action,
            done.detail
        );
    }
    text
}
