//! How urgent an order is: eight names, kept as data, that map to a score and to one of the four bands of a lane.

/// One of the eight priorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// Its stored name.
    pub name: &'static str,
    /// For ordering work lists; higher is sooner.
    pub score: i16,
    /// The number of its band in a lane: 0 is the most urgent.
    pub band: u8,
}

/// All of them, the most urgent first.
pub const PRIORITIES: [Priority; 8] = [
    Priority { name: "rush", score: 90, band: 0 },
    Priority { name: "urgent", score: 80, band: 0 },
    Priority { name: "vip_customer", score: 70, band: 1 },
    Priority { name: "wedding_party", score: 60, band: 1 },
    Priority { name: "prom_group", score: 55, band: 1 },
    Priority { name: "high", score: 50, band: 1 },
    Priority { name: "normal", score: 30, band: 2 },
    Priority { name: "low", score: 10, band: 3 },
];

impl Priority {
    /// The priority of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        PRIORITIES.into_iter().find(|priority| priority.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_score_never_waits_in_a_later_band() {
        for pair in PRIORITIES.windows(2) {
            assert!(pair[0].score > pair[1].score && pair[0].band <= pair[1].band, "{pair:?}");
        }
    }
}
