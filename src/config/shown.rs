//! The settings in force, as people may read them.
//!
//! They are taken from how the settings print themselves, because that is where a secret can not appear whatever is added
//! later: its type hides it. What differs from its default is marked.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Settings, Sources, load};

/// How a secret prints itself.
const HIDDEN: &str = "[REDACTED]";

/// A part of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// What is set in it.
    pub settings: Vec<Shown>,
}

/// A setting and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its name within the section.
    pub name: String,
    /// Its value; empty where it is a secret.
    pub value: String,
    /// Whether it is a secret, whose value nobody is shown.
    pub is_secret: bool,
    /// Whether it is another than the default.
    pub is_changed: bool,
}

/// Every section with its settings, in the order in which they print themselves.
#[must_use]
pub fn sections(settings: &Settings) -> Vec<Section> {
    let defaults: BTreeMap<String, String> = load(&Sources::default())
        .map(|defaults| rows(&format!("{defaults:#?}")).into_iter().collect())
        .unwrap_or_default();
    let mut sections: Vec<Section> = Vec::new();
    for (path, value) in rows(&format!("{settings:#?}")) {
        let (section, name) = path.split_once('.').unwrap_or((&path, &path));
        let is_secret = value.contains(HIDDEN);
        let is_changed = !is_secret && defaults.get(&path) != Some(&value);
        let value = if is_secret { String::new() } else { value };
        let shown = Shown { name: name.to_owned(), value, is_secret, is_changed };
        match sections.last_mut().filter(|last| last.name == section) {
            Some(last) => last.settings.push(shown),
            None => sections.push(Section { name: section.to_owned(), settings: vec![shown] }),
        }
    }
    sections
}

/// Paths and values of a pretty-printed struct: one line opens a level, closes one, or is a value.
fn rows(printed: &str) -> Vec<(String, String)> {
    let mut path: Vec<String> = Vec::new();
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in printed.lines().skip(1) {
        let line = line.trim().trim_end_matches(',');
        let is_element = line.starts_with('"') && !line.ends_with(['{', '[']);
        let (name, value) = line.split_once(": ").filter(|_| !is_element).unwrap_or(("", line));
        let name = name.trim_matches('"');
        if line.ends_with(['{', '[', '(']) {
            path.push(name.to_owned());
        } else if matches!(line, "}" | "]" | ")") {
            path.pop();
        } else {
            let names = path.iter().map(String::as_str).chain([name]).filter(|name| !name.is_empty());
            let at = names.collect::<Vec<_>>().join(".");
            let value = value.trim_matches('"').to_owned();
            match rows.last_mut().filter(|(last, _)| *last == at) {
                Some((_, values)) => *values = format!("{values}, {value}"),
                None => rows.push((at, value)),
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_shown_once_with_its_value_and_secrets_without() {
        let mut settings = load(&Sources::default()).unwrap();
        settings.stripe.secret_key = "sk_live_of_the_shop".into();
        settings.stripe.webhook_secrets = vec!["whsec_one".into(), "whsec_two".into()];
        settings.worker.lanes = vec!["mail".to_owned(), "a: b".to_owned()];
        settings.queue.lease_ms = 5_000;
        let sections = sections(&settings);
        let find = |section: &str, name: &str| {
            let found = sections.iter().find(|found| found.name == section).unwrap();
            found
                .settings
                .iter()
                .find(|shown| shown.name == name)
                .unwrap_or_else(|| panic!("{found:#?}"))
                .clone()
        };
        assert_eq!(
            (find("queue", "lease_ms").value, find("queue", "lease_ms").is_changed),
            ("5000".to_owned(), true)
        );
        assert_eq!(find("lanes", "mail.slice").value, "16");
        assert!(!find("lanes", "mail.slice").is_changed);
        assert_eq!(find("worker", "lanes").value, "mail, a: b");
        assert!(find("stripe", "secret_key").is_secret && find("stripe", "webhook_secrets").is_secret);
        let all = format!("{sections:?}");
        assert!(!all.contains("sk_live") && !all.contains("whsec"), "{all}");
        let defaults = super::sections(&load(&Sources::default()).unwrap());
        assert!(defaults.iter().flat_map(|section| &section.settings).all(|shown| !shown.is_changed));
    }
}
