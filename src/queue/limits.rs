//! What a lane may do in the whole fleet at once: jobs in hand, and jobs a second.
//!
//! The claim keeps the limits, in the script that hands jobs over: nothing is leased that may not run, so nobody waits
//! with a lease in hand. The settings say what holds as long as no operator has set something else; what an operator set
//! stands in Redis, holds for every worker at the next claim, and outlives them all. A wiped Redis falls back to the
//! settings. Of a lane that is split, each partition keeps its share.

use crate::config::LaneSettings;

/// Limits of a lane in the whole fleet; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetLimits {
    /// Jobs in hand at once.
    pub concurrency: u32,
    /// Jobs handed over in a second. A quarter of them may go at once.
    pub rate: u32,
}

impl From<&LaneSettings> for FleetLimits {
    fn from(set: &LaneSettings) -> Self {
        Self { concurrency: set.fleet_concurrency, rate: set.fleet_rate }
    }
}

/// What an operator set in their place; `None` is what the settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetLimits {
    /// Jobs in hand at once; 0 is no limit.
    pub concurrency: Option<u32>,
    /// Jobs a second; 0 is no limit.
    pub rate: Option<u32>,
}

impl SetLimits {
    /// The last two numbers of depth.lua: negative where nothing is set.
    pub(super) fn read(numbers: &[i64]) -> Self {
        let number = |at: usize| numbers.get(at).and_then(|number| u32::try_from(*number).ok());
        Self { concurrency: number(0), rate: number(1) }
    }

    /// What holds, given the settings.
    #[must_use]
    pub fn over(self, settings: FleetLimits) -> FleetLimits {
        FleetLimits {
            concurrency: self.concurrency.unwrap_or(settings.concurrency),
            rate: self.rate.unwrap_or(settings.rate),
        }
    }
}
