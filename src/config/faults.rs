//! What is wrong with a configuration: every fault of it in one error, so that nobody starts a process ten times.
//!
//! A fault names the setting, what is wanted and where the value came from. It must never quote a value: any of them may
//! be a secret that was written on the wrong line.

use std::fmt;
use std::path::PathBuf;

/// Two slips of the finger; with three, short names would all resemble each other.
const SLIPS: usize = 2;

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting, as `section.key`; the name in the environment or the file, where no setting is meant.
    pub setting: String,
    /// What is wrong with it and what to do; never its value.
    pub what: String,
    /// Where the value came from; nothing where it is the default or several settings are concerned.
    pub origin: Option<Origin>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// A name in the environment.
    Environment(String),
}

impl ConfigError {
    pub(super) fn of(faults: Vec<Fault>) -> Self {
        Self { faults }
    }

    /// All that is wrong, in the order in which it was found.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        write!(f, "the configuration has {count} {}:", if count == 1 { "fault" } else { "faults" })?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl Fault {
    pub(super) fn new(setting: impl Into<String>, what: impl Into<String>) -> Self {
        Self { setting: setting.into(), what: what.into(), origin: None }
    }

    pub(super) fn from(mut self, origin: Option<Origin>) -> Self {
        self.origin = origin;
        self
    }

    /// A name that we do not have, and the one that was meant, if one is near.
    pub(super) fn unknown<'a>(name: &str, ours: impl IntoIterator<Item = &'a str>) -> Self {
        let meant = closest(name, ours).map(|near| format!(" Did you mean {near}?"));
        Self::new(name, format!("no such setting.{}", meant.unwrap_or_default()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.what)?;
        self.origin.as_ref().map_or(Ok(()), |origin| write!(f, " (from {origin})"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "{name} in the environment"),
        }
    }
}

/// The one of our names that is at most two slips away.
pub(super) fn closest<'a>(name: &str, ours: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = ours.into_iter().map(|known| (slips(name, known), known)).filter(|(slips, _)| *slips <= SLIPS);
    near.min().map(|(_, known)| known)
}

/// Letters to change, add or leave out until one is the other (Levenshtein's distance).
fn slips(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut next = vec![at + 1];
        for ((theirs, pair), left_out) in other.iter().zip(row.windows(2)).zip(row.iter().skip(1)) {
            let (Some(changed), Some(added)) = (pair.first(), next.last()) else { continue };
            next.push((changed + usize::from(*theirs != letter)).min(added + 1).min(left_out + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (one, other, count) in
            [("", "", 0), ("", "ab", 2), ("secret", "secret", 0), ("secrt", "secret", 1), ("lane", "line", 1)]
        {
            assert_eq!(slips(one, other), count, "{one} {other}");
            assert_eq!(slips(other, one), count, "{other} {one}");
        }
        assert_eq!(slips("kitten", "sitting"), 3);
    }

    #[test]
    fn the_nearest_name_is_meant_and_a_far_one_is_not() {
        assert_eq!(closest("renw_ms", ["lease_ms", "renew_ms"]), Some("renew_ms"));
        assert_eq!(closest("password", ["lease_ms", "renew_ms"]), None);
    }
}
