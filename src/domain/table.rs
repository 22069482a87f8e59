//! A file of rows under named columns (CSV): read whole, or every fault named with its line.

use std::collections::HashMap;

/// A row's cells by the names of their columns.
pub(super) type Cells<'a> = HashMap<&'a str, &'a str>;

/// Reads every row, or names every fault of the file.
pub(super) fn read<T>(
    text: &str,
    needed: &[&str],
    row: impl Fn(&Cells<'_>) -> Result<T, Vec<String>>,
) -> Result<Vec<T>, Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(str::to_owned).collect(),
        Err(error) => return Err(vec![error.to_string()]),
    };
    let mut rows = Vec::new();
    let mut faults: Vec<String> = needed
        .iter()
        .filter(|name| !header.iter().any(|column| column == *name))
        .map(|name| format!("there is no column {name}"))
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                let cells: Cells<'_> = header.iter().map(String::as_str).zip(&record).collect();
                match row(&cells) {
                    Ok(row) => rows.push(row),
                    Err(found) => {
                        faults.extend(found.into_iter().map(|fault| format!("line {line}: {fault}")));
                    }
                }
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    if faults.is_empty() { Ok(rows) } else { Err(faults) }
}
