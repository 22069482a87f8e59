//! What the documents tell people to type is what the program takes.

use clap::{Command, CommandFactory as _};

use super::Cli;

const DOCUMENTS: [(&str, &str); 2] = [
    ("README.md", include_str!("../../README.md")),
    ("deploy/RUNBOOK.md", include_str!("../../deploy/RUNBOOK.md")),
];

/// What stands in a document as code: fenced lines, and spans in a line.
fn code(text: &str) -> Vec<&str> {
    let (mut found, mut is_fenced) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced {
            found.push(line.split(" #").next().unwrap_or_default());
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// The words of each command of ours in some code, without the program's name.
fn commands<'a>(root: &Command, code: &'a str) -> Vec<Vec<&'a str>> {
    let parts = code.split([';', '|']).map(|part| part.split_whitespace().collect::<Vec<_>>());
    let ours = parts.filter_map(|mut words| {
        if words.first() == Some(&"orderfleet") {
            words.remove(0);
            return Some(words);
        }
        // In a sentence the name is left out.
        let family = root.find_subcommand(words.first()?)?;
        let is_called = words.get(1).is_some_and(|word| !word.starts_with('-'));
        (family.has_subcommands() && is_called).then_some(words)
    });
    ours.collect()
}

/// What a command does not take of these words.
fn fault(root: &Command, words: &[&str]) -> Option<String> {
    let (mut command, mut flags, mut left) = (root, vec!["help", "version"], words.iter());
    flags.extend(root.get_arguments().filter_map(clap::Arg::get_long));
    while let Some(word) = left.next() {
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split(['=', ']']).next().unwrap_or_default();
            if !flags.contains(&flag) {
                return Some(format!("{} takes no --{flag}: {words:?}", command.get_name()));
            }
            if flag == "config" {
                left.next();
            }
        } else if let Some(deeper) = command.find_subcommand(word) {
            command = deeper;
            flags.extend(deeper.get_arguments().filter_map(clap::Arg::get_long));
        } else if command.has_subcommands() && word.chars().all(|letter| letter.is_ascii_lowercase()) {
            return Some(format!("{} has no {word}: {words:?}", command.get_name()));
        }
    }
    None
}

#[test]
fn every_command_that_a_document_names_is_one() {
    let root = Cli::command();
    let (mut faults, mut seen) = (Vec::new(), 0);
    for (document, text) in DOCUMENTS {
        for words in code(text).into_iter().flat_map(|code| commands(&root, code)) {
            seen += 1;
            faults.extend(fault(&root, &words).map(|fault| format!("{document}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 50, "{seen} commands are named");
}

#[test]
fn a_flag_and_a_command_that_there_are_not_are_found() {
    let root = Cli::command();
    let found =
        |code: &str| commands(&root, code).iter().filter(|words| fault(&root, words).is_some()).count();
    assert_eq!(found("orderfleet dead list; dead drop ID --reason x"), 1);
    assert_eq!(found("orderfleet mails list"), 1);
    assert_eq!(found("orderfleet --config /etc/x.toml dead drop ID --why x | orderfleet audit --json"), 0);
}
