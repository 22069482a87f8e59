//! A catalogue file: articles, prices and first stock as CSV.
//!
//! Columns, by name and in any order: `sku`, `name`, one `CUR_minor` for each currency (minor units; empty where it is not
//! sold in it), `weight_g`, `length_mm`, `width_mm`, `height_mm` (one piece), `hs_code`, `origin`, `customs_description`
//! (for parcels that cross a border), `tax_class`, `vendor`, `on_hand` (pieces to begin with). Either all rows are
//! imported or none: every fault of the file is named with its line.

use super::table::{self, Cells};

/// One row of a catalogue file.
#[derive(Clone, Debug)]
pub struct CatalogueRow {
    /// The article.
    pub sku: String,
    /// Its name on the bill.
    pub name: String,
    /// Its prices: ISO 4217 code and minor units.
    pub prices: Vec<(String, i64)>,
    /// One piece, in grams.
    pub weight_g: i32,
    /// One piece, in millimetres: length, width, height.
    pub size_mm: (i32, i32, i32),
    /// For customs: Harmonised System code, country of origin, description.
    pub customs: (String, String, String),
    /// For tax.
    pub tax_class: String,
    /// Who sells it.
    pub vendor: String,
    /// Pieces to begin with; an article that has stock already keeps it.
    pub on_hand: i64,
}

/// Reads a catalogue, or names every fault in it.
pub fn read(text: &str) -> Result<Vec<CatalogueRow>, Vec<String>> {
    table::read(text, &COLUMNS, row)
}

const COLUMNS: [&str; 12] = [
    "sku",
    "name",
    "weight_g",
    "length_mm",
    "width_mm",
    "height_mm",
    "hs_code",
    "origin",
    "customs_description",
    "tax_class",
    "vendor",
    "on_hand",
];

fn row(cells: &Cells<'_>) -> Result<CatalogueRow, Vec<String>> {
    let mut faults = Vec::new();
    let text = |name: &str| cells.get(name).copied().unwrap_or_default().to_owned();
    let mut number = |name: &str, least: i64| -> i64 {
        let cell = text(name);
        match cell.parse::<i64>() {
            Ok(number) if number >= least => number,
            Ok(number) => {
                faults.push(format!("{name} is {number}, but at least {least} is needed"));
                least
            }
            Err(_) => {
                faults.push(format!("{name} is {cell:?}, not a whole number"));
                least
            }
        }
    };
    let small = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    let weight_g = small(number("weight_g", 1));
    let size_mm =
        (small(number("length_mm", 1)), small(number("width_mm", 1)), small(number("height_mm", 1)));
    let on_hand = number("on_hand", 0);
    let mut prices = Vec::new();
    for (column, cell) in cells.iter().filter(|(_, cell)| !cell.is_empty()) {
        if let Some(currency) = column.strip_suffix("_minor") {
            prices.push((currency.to_ascii_uppercase(), number(column, 0)));
            debug_assert!(!cell.is_empty());
        }
    }
    prices.sort();
    for name in ["sku", "name", "hs_code", "customs_description"] {
        if text(name).is_empty() {
            faults.push(format!("{name} is empty"));
        }
    }
    if text("origin").len() != 2 {
        faults.push("origin is no two-letter country code".to_owned());
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(CatalogueRow {
        sku: text("sku"),
        name: text("name"),
        prices,
        weight_g,
        size_mm,
        customs: (text("hs_code"), text("origin").to_ascii_uppercase(), text("customs_description")),
        tax_class: text("tax_class"),
        vendor: text("vendor"),
        on_hand,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../config/catalogue.csv");

    #[test]
    fn the_sample_is_whole() {
        let rows = read(SAMPLE).unwrap();
        assert!(rows.len() >= 180, "{}", rows.len());
        assert!(rows.iter().all(|row| row.prices.len() == 3));
        let suit = rows.iter().find(|row| row.sku == "SUIT-42R").unwrap();
        assert!(suit.on_hand >= 100 && suit.prices.iter().any(|(currency, _)| currency == "USD"));
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        let header = SAMPLE.lines().next().unwrap();
        let bad = format!("{header}\n,x,100,1,1,0,1,1,1,1,Nepal,d,standard,v,-1\n");
        let faults = read(&bad).unwrap_err().join("; ");
        for part in ["line 2", "sku is empty", "weight_g is 0", "origin is no", "on_hand is -1"] {
            assert!(faults.contains(part), "{part}: {faults}");
        }
        assert_eq!(read("sku,name\n").unwrap_err().len(), 10);
    }
}
