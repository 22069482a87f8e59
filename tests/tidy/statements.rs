//! A statement of the store names the columns that it reads. One that takes all there are is read by their places, and breaks
//! in a process that runs while a migration adds a column.

use super::File;

/// What gives its columns itself: nobody can add one to it.
const OF_ITS_OWN: &[&str] = &["unnest(", "json_to_recordset(", "jsonb_to_recordset("];

/// Statements that read all columns of something stored.
pub(crate) fn all_columns(files: &[File]) -> Vec<String> {
    let store = files.iter().filter(|file| file.room() == Some("store") && file.path.ends_with(".rs"));
    let mut faults = Vec::new();
    for file in store {
        for (at, line) in file.code().filter(|(_, line)| takes_all(line)) {
            faults.push(format!("{}:{at}: name the columns: {}", file.path, line.trim()));
        }
    }
    faults
}

fn takes_all(line: &str) -> bool {
    let of_a_table = line
        .match_indices(".*")
        .any(|(at, _)| line[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_'));
    let all = line.split("select *").skip(1).chain(line.split(", * from ").skip(1));
    let mut of = all.map(|rest| rest.trim_start().trim_start_matches("from ").trim_start());
    of_a_table || of.any(|of| !OF_ITS_OWN.iter().any(|own| of.starts_with(own)))
}
