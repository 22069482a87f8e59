//! The style and the walls of the house, as a test: who may import whom, and what a file must have.
//!
//! It reads text, not syntax, needs no service and runs in a second. Each rule is a function from files to faults, with a
//! planted violation in `planted`: a rule that cannot fail is a defect. Lengths are printed and never fail: a habit to
//! keep, not a law to trick. What stands below `#[cfg(test)]` or in a room's `tests` may reach over every wall.

#![expect(clippy::case_sensitive_file_extension_comparisons, reason = "git's names are exact")]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

#[path = "tidy/deployed.rs"]
mod deployed;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/statements.rs"]
mod statements;

use deployed::{alerts, codes, watched};
use statements::all_columns;

/// Rooms from top to bottom. A room may use those below it, never those above or beside.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["demo"],
    &["dev"],
    &["roles"],
    &["intake", "ops", "worker", "sandbox"],
    &["jobs"],
    &["relay", "schedule", "audit"],
    &["queue", "store", "provider"],
    &["job"],
    &["domain"],
    &["signature", "auth", "wording", "seal"],
    &["telemetry"],
    &["ids", "time", "terminal", "config", "proof"],
];
/// Rooms that stand below another one and are closed to it all the same.
const CLOSED: &[(&str, &[&str])] =
    &[("jobs", &["queue", "relay", "schedule", "audit"]), ("audit", &["queue", "provider"])];
/// Libraries, by how their paths begin, and the only rooms that may know them.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("apalis", &["queue", "worker"]),
    ("redis::", &["queue"]),
    ("sqlx::", &["store", "audit"]),
    ("reqwest::", &["provider", "sandbox", "demo", "telemetry"]),
    ("lettre::", &["provider", "sandbox"]),
    ("use stripe::", &["provider", "sandbox"]),
    ("stripe_core::", &["provider", "sandbox"]),
    ("stripe_types::", &["provider", "sandbox"]),
    ("std::env", &["config"]),
];
/// Rooms that stay free of what the others use as they like: no HTTP in jobs, no input or output in the pure ones.
const FREE_OF: &[(&str, &[&str])] = &[
    ("jobs", &["axum::"]),
    ("domain", &["axum::", "tokio::", "std::fs", "std::net"]),
    ("ids", &["axum::", "tokio::", "std::fs", "std::net"]),
    ("signature", &["axum::", "tokio::", "std::fs", "std::net"]),
];
/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc", "v2"];
/// Words that say "not done"; split, so that this file does not find itself.
const UNDONE: &[&str] = &[concat!("place", "holder"), concat!("FIX", "ME"), concat!("un", "implemented!")];
/// How many of the longest files and functions are shown.
const SHOWN: usize = 10;

#[test]
fn the_walls_stand() {
    check(walls);
}

#[test]
fn libraries_stay_in_their_rooms() {
    check(libraries);
}

#[test]
fn every_file_is_declared_and_every_job_is_listed() {
    check(undeclared);
}

/// A patch that no longer applies would prove nothing, and nobody would notice.
#[test]
fn every_planted_bug_still_applies_and_stands_in_the_table() {
    let table = std::fs::read_to_string("tests/planted/README.md").expect("the table of planted bugs");
    let rows = table.lines().filter(|line| line.contains("| prove ") || line.contains("| unit ")).count();
    let patches = git(&["ls-files", "tests/planted/*.patch"]).expect("git lists files");
    assert_eq!(patches.lines().count(), rows, "patches and rows of tests/planted/README.md");
    for patch in patches.lines() {
        let name = patch.trim_start_matches("tests/planted/").trim_end_matches(".patch");
        assert!(table.contains(&format!("| {name} |")), "{name} is not in tests/planted/README.md");
        let status = Command::new("git").args(["apply", "--check", patch]).status().expect("git runs");
        assert!(status.success(), "{patch} no longer applies: plant its bug again, and see its proof fail");
    }
}

#[test]
fn every_module_says_what_it_is() {
    check(undocumented);
}

#[test]
fn names_and_words_say_something() {
    check(words);
}

#[test]
fn merged_migrations_are_frozen() {
    let files = files();
    let merged = git(&["show", "origin/main:migrations/frozen.sha256"]).unwrap_or_default();
    report(&frozen(&files, &merged));
}

#[test]
fn every_metric_is_told_and_every_told_one_is_there() {
    check(metrics);
}

#[test]
fn what_is_deployed_watches_what_there_is() {
    check(watched);
    let board = std::fs::read_to_string("deploy/grafana/orderfleet.json").expect("the dashboard");
    let board: serde_json::Value = serde_json::from_str(&board).expect("it is JSON");
    assert!(board["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}

#[test]
fn every_alert_has_a_section_and_every_link_of_the_runbook_leads_somewhere() {
    check(alerts);
}

#[test]
fn every_code_that_the_runbook_names_is_one_of_ours() {
    check(codes);
}

#[test]
fn no_statement_reads_all_columns_there_are() {
    check(all_columns);
}

#[test]
fn the_longest_files_and_functions_are_shown() {
    let files = files();
    let mut lengths: Vec<_> =
        rust(&files).map(|file| (file.text.lines().count(), file.path.clone())).collect();
    let mut functions: Vec<_> = rust(&files).flat_map(functions).collect();
    lengths.sort_by(|one, other| other.cmp(one));
    functions.sort_by(|one, other| other.cmp(one));
    let mut shown = Vec::new();
    for (title, longest) in [("files", lengths), ("functions", functions)] {
        writeln!(shown, "longest {title}:").unwrap();
        longest.iter().take(SHOWN).for_each(|(lines, name)| writeln!(shown, "{lines:5}  {name}").unwrap());
    }
    std::io::stderr().write_all(&shown).unwrap(); // past the test runner, which hides what passes
}

/// A file of the project: its path from the root, and its text.
#[derive(Debug)]
struct File {
    path: String,
    text: String,
}

impl File {
    /// The room that it is part of; none for what is no part of the program, such as a room's tests.
    fn room(&self) -> Option<&str> {
        let path = self
            .path
            .strip_suffix(".rs")
            .filter(|path| !path.ends_with("/tests") && !path.contains("/tests/"))?;
        let room =
            if path.starts_with("jobs/") { "jobs" } else { path.strip_prefix("src/")?.split('/').next()? };
        Some(if room == "lib" { "main" } else { room })
    }

    /// Numbered lines of what the program is built of: neither comments nor tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.text.lines()).take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        lines.map(|(at, line)| (at, if line.trim_start().starts_with("//") { "" } else { line }))
    }
}

/// Every file that git knows or would take, so that a new one counts before it is committed.
fn files() -> Vec<File> {
    let listed = git(&["ls-files", "--cached", "--others", "--exclude-standard"]).unwrap_or_default();
    let wanted = |path: &&str| {
        path.ends_with(".rs")
            || *path == "README.md"
            || ["scripts/", "jobs/", "migrations/", "deploy/"].iter().any(|at| path.starts_with(at))
    };
    let read = |path: &str| Some(File { path: path.into(), text: std::fs::read_to_string(path).ok()? });
    let files: Vec<File> = listed.lines().filter(wanted).filter_map(read).collect();
    assert!(!files.is_empty(), "git listed nothing: run this inside a clone");
    files
}

fn git(arguments: &[&str]) -> Option<String> {
    let said = Command::new("git").args(arguments).output().ok()?;
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).into_owned())
}

fn check(rule: fn(&[File]) -> Vec<String>) {
    report(&rule(&files()));
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

/// A room's floor, counted from the ground.
fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().rev().position(|floor| floor.contains(&room))
}

/// Faults of a room that uses one above, beside or closed to it, or reaches out by `super::`.
fn walls(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in rust(files) {
        let (path, Some(room)) = (&file.path, file.room()) else { continue };
        let Some(from) = floor(room) else {
            faults.push(format!("{path}: room {room} has no floor yet: give it one in tests/tidy.rs"));
            continue;
        };
        let code = file.code().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
        for used in rooms_used(&code).into_iter().filter(|used| *used != room) {
            let is_closed = CLOSED.iter().any(|(who, what)| *who == room && what.contains(&used));
            if is_closed || floor(used).is_some_and(|to| to >= from) {
                faults.push(format!(
                    "{path}: {room} may not use {used}: it stands above, beside or is closed to it"
                ));
            }
        }
        let is_root = path.matches('/').count() == 1 && path.starts_with("src/");
        if code.contains("super::super::") || (is_root && code.contains("super::")) {
            faults.push(format!("{path}: say crate::, so that one can see which room is meant"));
        }
    }
    faults
}

/// The names that follow `crate::`, those of a list in braces too.
fn rooms_used(code: &str) -> Vec<&str> {
    let mut used = Vec::new();
    for path in code.split("crate::").skip(1) {
        let Some(list) = path.strip_prefix('{') else {
            used.push(path);
            continue;
        };
        let mut depth = 1_usize;
        used.push(list);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 1 => break,
                '}' => depth -= 1,
                ',' if depth == 1 => used.push(&list[at + 1..]),
                _ => {}
            }
        }
    }
    let first_name = |path: &'_ str| path.trim_start().find(|c: char| !c.is_alphanumeric() && c != '_');
    used.into_iter()
        .filter_map(|path| path.trim_start().get(..first_name(path)?))
        .filter(|name| !name.is_empty())
        .collect()
}

/// Faults of a library outside the rooms that may know it.
fn libraries(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in rust(files) {
        let Some(room) = file.room() else { continue };
        let strangers =
            LIBRARIES.iter().filter(|(_, rooms)| !rooms.contains(&room)).map(|(library, _)| library);
        let unwanted = FREE_OF.iter().filter(|(who, _)| *who == room).flat_map(|(_, libraries)| *libraries);
        let banned: Vec<&str> = strangers.chain(unwanted).copied().collect();
        for (at, line) in file.code() {
            let found = banned.iter().filter(|library| begins_a_path(line, library));
            faults.extend(
                found.map(|library| format!("{}:{at}: {library} has no business in {room}", file.path)),
            );
        }
    }
    faults
}

/// Whether `library` stands in `line` as the beginning of a path, not as the end of a longer name.
fn begins_a_path(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        !line[..at].ends_with(|before: char| {
            before.is_alphanumeric() || before == '_' || before == ':' || before == '"'
        })
    })
}

/// Faults of a file that no `mod` line mounts: it would be compiled by nobody.
fn undeclared(files: &[File]) -> Vec<String> {
    let texts: BTreeMap<&str, &str> =
        files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let says = |parent: &str, what: &str| {
        texts.get(parent).is_some_and(|text| {
            text.lines().any(|line| line.trim_start().starts_with(what) || line.ends_with(what))
        })
    };
    let mut faults = Vec::new();
    for path in rust(files).map(|file| file.path.as_str()) {
        let Some((folder, name)) =
            path.strip_suffix("/mod.rs").or(path.strip_suffix(".rs")).and_then(|at| at.rsplit_once('/'))
        else {
            continue;
        };
        if matches!(
            (folder, name),
            ("src" | "tests/stage/src", "lib" | "main")
                | ("tests/it" | "tests/prove" | "tests/bench" | "tests/bench/peers/bullmq-rust/src", "main")
                | ("tests" | "src/bin", _)
        ) {
            continue;
        }
        let parents = [
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
            format!("{folder}/mod.rs"),
            format!("{folder}.rs"),
        ];
        let is_mounted = parents.iter().any(|parent| says(parent, &format!("mod {name};")));
        let is_listed = folder == "jobs" && says("jobs/mod.rs", &format!("{name}::"));
        if !is_mounted && !is_listed {
            let list = if folder == "jobs" { " and jobs/mod.rs does not list it" } else { "" };
            faults.push(format!("{path}: no `mod {name};` mounts it{list}, so nobody compiles it"));
        }
    }
    faults
}

/// Faults of a file that does not begin by saying what it is.
fn undocumented(files: &[File]) -> Vec<String> {
    let silent = rust(files).filter(|file| !file.text.starts_with("//! "));
    silent
        .map(|file| {
            format!("{}: begin with a module doc: what it is, why so, what it must never do", file.path)
        })
        .collect()
}

/// Faults of names that say nothing and of work left undone.
fn words(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for File { path, text } in files {
        let names = path.split(['/', '.']).filter(|name| EMPTY_NAMES.contains(name));
        faults.extend(names.map(|name| format!("{path}: {name} says nothing: name what it does")));
        for (at, line) in (1..).zip(text.lines()) {
            let undone = UNDONE.iter().find(|word| line.contains(**word)).copied();
            let later = line.split(concat!("TO", "DO")).skip(1).any(|after| !after.starts_with('('));
            let found = undone.or(later.then_some("work for later without its (reason)"));
            faults.extend(found.map(|what| format!("{path}:{at}: {what}: do it, or say why it can wait")));
        }
    }
    faults
}

/// Every metric of the program stands in the table of the README, and the table names no other.
fn metrics(files: &[File]) -> Vec<String> {
    const BEGIN: &str = "orderfleet_";
    let name = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect()
    };
    let mut measured = BTreeMap::new();
    for file in files.iter().filter(|file| file.room().is_some()) {
        for (at, line) in file.code() {
            // A name stands in quotes of its own.
            for (place, _) in line.match_indices("\"orderfleet_") {
                let found = name(&line[place + 1..]);
                if found.len() > BEGIN.len() && line[place + 1 + found.len()..].starts_with('"') {
                    measured.entry(found).or_insert_with(|| format!("{}:{at}", file.path));
                }
            }
        }
    }
    let mut told = BTreeMap::new();
    for file in files.iter().filter(|file| file.path == "README.md") {
        for (at, line) in (1..).zip(file.text.lines()).filter(|(_, line)| line.starts_with("| `orderfleet_"))
        {
            let first = line.split(" | ").next().unwrap_or_default();
            first.match_indices("`orderfleet_").for_each(|(place, _)| {
                told.entry(name(&first[place + 1..])).or_insert_with(|| format!("README.md:{at}"));
            });
        }
    }
    let missing = measured.iter().filter(|(name, _)| !told.contains_key(*name));
    let missing =
        missing.map(|(name, at)| format!("{at}: {name} is not in the table of metrics in README.md"));
    let stale = told.iter().filter(|(name, _)| !measured.contains_key(*name));
    let stale = stale.map(|(name, at)| format!("{at}: nothing measures {name}"));
    missing.chain(stale).collect()
}

/// Faults of migrations that differ from their checksum in `frozen.sha256`, or of a list that differs from the `merged` one:
/// a database that has already run a migration would never see the change.
fn frozen(files: &[File], merged: &str) -> Vec<String> {
    const LIST: &str = "migrations/frozen.sha256";
    let listed = files.iter().find(|file| file.path == LIST).map_or("", |file| file.text.as_str());
    let migrations: BTreeMap<_, _> = files
        .iter()
        .filter(|file| file.path.ends_with(".sql"))
        .map(|file| (file.path.as_str(), sum(&file.text)))
        .collect();
    let pairs = |text| str::lines(text).filter_map(|line| line.split_once("  ")).collect::<Vec<_>>();
    let list: BTreeMap<&str, &str> = pairs(listed).into_iter().map(|(sum, path)| (path, sum)).collect();
    let mut faults = Vec::new();
    for (path, sum) in &migrations {
        match list.get(path) {
            Some(known) if known == sum => {}
            Some(_) => faults.push(format!(
                "{path}: changed since it was frozen: databases that ran it never see this. Write a new migration \
                 (or, where it was never merged: sha256sum migrations/*.sql > {LIST})"
            )),
            None => faults.push(format!("{path}: freeze it: sha256sum migrations/*.sql > {LIST}")),
        }
    }
    let gone = list.keys().filter(|path| !migrations.contains_key(*path));
    faults
        .extend(gone.map(|path| format!("{path}: frozen, and gone: databases that ran it refuse to start")));
    let thawed = pairs(merged).into_iter().filter(|(sum, path)| list.get(path) != Some(sum));
    faults.extend(thawed.map(|(_, path)| format!("{path}: its merged checksum was changed in {LIST}")));
    faults
}

fn sum(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Every function with its length: from its `fn` to the brace at the same depth.
fn functions(file: &File) -> Vec<(usize, String)> {
    let lines: Vec<&str> = file.text.lines().collect();
    let starts = (0..).zip(&lines).filter(|(_, line)| {
        let start = line.trim_start();
        ["fn ", "pub fn ", "async fn ", "pub async fn "].iter().any(|begin| start.starts_with(begin))
            || start.contains(") fn ")
    });
    let measure = |(at, line): (usize, &&str)| {
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let length = lines[at..].iter().position(|line| *line == end)? + 1;
        let name = line.split("fn ").nth(1)?.split(['(', '<']).next()?;
        Some((length, format!("{}:{} {name}", file.path, at + 1)))
    };
    starts.filter_map(measure).collect()
}
