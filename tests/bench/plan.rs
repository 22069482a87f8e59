//! What a bench is asked: its name, its size, and whom it is compared with.

use orderfleet::ids::random_bytes;

/// How big a bench is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// A minute at most.
    Short,
    /// The bars at their size, however long that takes.
    Full,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) scale: Scale,
    /// Whom it is compared with: each bench knows its own peers.
    pub(crate) peers: Vec<String>,
    /// Parts of the bench that are wanted, as `--hot`; none means all.
    pub(crate) parts: Vec<String>,
    pub(crate) seed: u64,
}

impl Plan {
    /// Reads the command line. None, and a usage, where no bench is named.
    pub(crate) fn from_arguments(names: &[&str]) -> Option<Self> {
        let mut arguments = std::env::args().skip(1);
        let mut plan = Self {
            name: String::new(),
            scale: Scale::Short,
            peers: Vec::new(),
            parts: Vec::new(),
            seed: u64::from_le_bytes(random_bytes::<8>()) >> 12,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_default();
            match argument.as_str() {
                "--scale" => match value().as_str() {
                    "short" => plan.scale = Scale::Short,
                    "full" => plan.scale = Scale::Full,
                    other => panic!("--scale is short or full, not {other:?}"),
                },
                "--vs" => plan.peers.push(value()),
                "--seed" => plan.seed = value().parse().expect("--seed is a whole number"),
                part if part.starts_with("--") => plan.parts.push(part[2..].to_owned()),
                name => name.clone_into(&mut plan.name),
            }
        }
        if names.contains(&plan.name.as_str()) {
            return Some(plan);
        }
        eprintln!(
            "scripts/bench NAME [--PART]… [--vs PEER]… [--scale short|full] [--seed N], where NAME is one of: {}",
            names.join(", ")
        );
        assert!(plan.name.is_empty(), "there is no bench called {:?}", plan.name);
        None
    }

    /// Whether a part is wanted.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    /// The small number in a short run, the big one in a full run.
    pub(crate) fn sized<T>(&self, short: T, full: T) -> T {
        match self.scale {
            Scale::Short => short,
            Scale::Full => full,
        }
    }
}
