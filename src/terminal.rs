//! Writing for the one who called: answers to standard output, faults to standard error. Nothing else prints.

use std::io::Write;

/// Writes a line of an answer. A closed pipe is theirs to close.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes a line about a fault.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes an answer as one JSON document.
pub fn say_json(value: &impl serde::Serialize) {
    say(&serde_json::to_string_pretty(value).unwrap_or_default());
}
