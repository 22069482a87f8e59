//! What stands under `deploy/` watches what the program has: metrics that exist, alerts that somebody can look up.

use std::collections::BTreeSet;

use super::File;

/// What Prometheus adds to the name of a histogram.
const HISTOGRAM: &[&str] = &["_bucket", "_sum", "_count"];

/// Metrics that something under `deploy/` asks for, and that the README's table does not tell.
pub(crate) fn watched(files: &[File]) -> Vec<String> {
    let mut told = BTreeSet::new();
    for line in files.iter().filter(|file| file.path == "README.md").flat_map(|file| file.text.lines()) {
        if line.starts_with("| `orderfleet_") {
            told.extend(metric_names(line.split(" | ").next().unwrap_or_default()).map(|(_, name)| name));
        }
    }
    let is_told = |name: &str| {
        let stems = HISTOGRAM.iter().filter_map(|end| name.strip_suffix(end));
        told.contains(name) || stems.into_iter().any(|stem| told.contains(stem))
    };
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("deploy/")) {
        for (at, line) in (1..).zip(file.text.lines()) {
            let unknown = metric_names(line).filter(|(_, name)| !is_told(name));
            faults.extend(unknown.map(|(_, name)| {
                format!("{}:{at}: {name} is not in the table of metrics in README.md", file.path)
            }));
        }
    }
    faults
}

/// Every name of a metric in a line, and where it begins.
fn metric_names(line: &str) -> impl Iterator<Item = (usize, String)> {
    line.match_indices("orderfleet_").map(|(at, _)| {
        let letters = line[at..].chars();
        (at, letters.take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect())
    })
}

/// Alerts without their section in the runbook, and links of either to a section that there is not.
pub(crate) fn alerts(files: &[File]) -> Vec<String> {
    let Some(book) = files.iter().find(|file| file.path == "deploy/RUNBOOK.md") else {
        return vec!["deploy/RUNBOOK.md: there is none".to_owned()];
    };
    let title = |line: &str| line.strip_prefix("## ").map(anchor);
    let sections: Vec<String> = book.text.lines().filter_map(title).collect();
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("deploy/")) {
        for (at, line) in (1..).zip(file.text.lines()) {
            let named = line.trim_start().strip_prefix("- alert: ").map(anchor);
            let links = line.split("](#").skip(1).chain(line.split("RUNBOOK.md#").skip(1));
            let links = links.map(|link| link.split([')', ' ', '"']).next().unwrap_or_default().to_owned());
            let missing = named.into_iter().chain(links).filter(|section| !sections.contains(section));
            faults
                .extend(missing.map(|section| {
                    format!("{}:{at}: deploy/RUNBOOK.md has no section {section}", file.path)
                }));
        }
    }
    faults
}

/// Codes of failures that the runbook names (``code `…` ``), and that nothing in the program says.
pub(crate) fn codes(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path == "deploy/RUNBOOK.md") {
        for (at, line) in (1..).zip(file.text.lines()) {
            let named = line.split("code `").skip(1).filter_map(|rest| rest.split('`').next());
            let is_said = |code: &str| {
                let quoted = format!("\"{code}\"");
                files.iter().filter(|file| file.room().is_some()).any(|file| file.text.contains(&quoted))
            };
            let unknown = named.filter(|code| !is_said(code));
            faults.extend(unknown.map(|code| format!("{}:{at}: nothing ends with code {code}", file.path)));
        }
    }
    faults
}

/// A title as links name it.
fn anchor(title: &str) -> String {
    let letters = title.to_lowercase();
    letters
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .collect::<String>()
        .replace(' ', "-")
}
