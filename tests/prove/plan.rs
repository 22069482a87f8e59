//! What a proof is asked: its name, its size, and the seed of everything random in it.

use orderfleet::ids::random_bytes;

/// How big a proof is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// A glance, in seconds: what the gate can bear. Only some proofs are smaller there than short.
    Gate,
    /// Correctness, in a minute at most.
    Short,
    /// The bars, however long that takes.
    Full,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) scale: Scale,
    pub(crate) seed: u64,
}

impl Plan {
    /// Reads the command line: `NAME [--scale short|full] [--seed N]`. None, and a usage, where no proof is named.
    pub(crate) fn from_arguments(names: &[&str]) -> Option<Self> {
        let mut arguments = std::env::args().skip(1);
        let mut plan = Self {
            name: String::new(),
            scale: Scale::Short,
            seed: u64::from_le_bytes(random_bytes::<8>()) >> 12,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_default();
            match argument.as_str() {
                "--scale" => match value().as_str() {
                    "gate" => plan.scale = Scale::Gate,
                    "short" => plan.scale = Scale::Short,
                    "full" => plan.scale = Scale::Full,
                    other => panic!("--scale is short or full, not {other:?}"),
                },
                "--seed" => plan.seed = value().parse().expect("--seed is a whole number"),
                name => name.clone_into(&mut plan.name),
            }
        }
        if names.contains(&plan.name.as_str()) {
            return Some(plan);
        }
        eprintln!(
            "scripts/prove NAME [--scale short|full] [--seed N], where NAME is one of: {}",
            names.join(", ")
        );
        assert!(plan.name.is_empty(), "there is no proof called {:?}", plan.name);
        None
    }

    /// The small number in a short run, the big one in a full run.
    pub(crate) fn sized<T>(&self, short: T, full: T) -> T {
        match self.scale {
            Scale::Gate | Scale::Short => short,
            Scale::Full => full,
        }
    }

    /// The same, with a smaller number yet for the gate.
    pub(crate) fn sized_for_gate<T>(&self, gate: T, short: T, full: T) -> T {
        if self.scale == Scale::Gate { gate } else { self.sized(short, full) }
    }
}
