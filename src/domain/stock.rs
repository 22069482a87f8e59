//! Stock, as everyone outside the database speaks of it.

use std::collections::BTreeMap;

use super::intent::Line;

/// What is left of an article after a change of its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The article.
    pub sku: String,
    /// The version of its stock row: news that come late have a lower one.
    pub version: i64,
    /// Pieces that can still be held.
    pub available: i64,
}

/// What of a wish's lines can be had: first line, first served. A line of which nothing is left is gone.
#[must_use]
pub fn had(lines: &[Line], available: impl Fn(&str) -> i64) -> Vec<Line> {
    let mut taken = BTreeMap::<&str, i64>::new();
    let mut had = Vec::with_capacity(lines.len());
    for line in lines {
        let taken = taken.entry(&line.sku).or_default();
        let quantity = available(&line.sku).saturating_sub(*taken).min(line.quantity);
        if quantity > 0 {
            *taken = taken.saturating_add(quantity);
            had.push(Line { quantity, ..line.clone() });
        }
    }
    had
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(wanted: &[(&str, i64)]) -> Vec<Line> {
        let line = |(sku, quantity): &(&str, i64)| Line {
            sku: (*sku).to_owned(),
            quantity: *quantity,
            attributes: BTreeMap::new(),
        };
        wanted.iter().map(line).collect()
    }

    #[test]
    fn the_first_line_is_served_first_and_an_empty_one_is_gone() {
        let wanted = lines(&[("A", 2), ("B", 1), ("A", 2), ("A", 1)]);
        let had = had(&wanted, |sku| if sku == "A" { 3 } else { -1 });
        assert_eq!(had, lines(&[("A", 2), ("A", 1)]));
    }

    proptest! {
        #[test]
        fn no_more_is_had_than_is_there_or_was_wanted(
            wanted in proptest::collection::vec((prop_oneof![Just("A"), Just("B")], 1..9_i64), 0..9),
            a in -3..20_i64, b in -3..20_i64,
        ) {
            let had = had(&lines(&wanted), |sku| if sku == "A" { a } else { b });
            for (sku, there) in [("A", a), ("B", b)] {
                let had: i64 = had.iter().filter(|line| line.sku == sku).map(|line| line.quantity).sum();
                let wanted: i64 = wanted.iter().filter(|line| line.0 == sku).map(|line| line.1).sum();
                prop_assert_eq!(had, wanted.min(there.max(0)));
            }
        }
    }
}
