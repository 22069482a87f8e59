//! What a lane may do in the whole fleet at once: jobs in hand, and jobs a second.
//!
//! The claim keeps the limits, in the script that hands jobs over: nothing is leased that may not run, so nobody waits
//! with a lease in hand. The settings say what holds as long as no operator has set something else; what an operator set
//! stands in Redis, holds for every worker at the next claim, and outlives them all. A wiped Redis falls back to the
//! settings.

use super::client::arg;
use super::{Queue, QueueError, scripts};
use crate::job::Lane;

/// Limits of a lane in the whole fleet; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetLimits {
    /// Jobs in hand at once.
    pub concurrency: u32,
    /// Jobs handed over in a second. A quarter of them may go at once.
    pub rate: u32,
}

/// What an operator set in their place; `None` is what the settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetLimits {
    /// Jobs in hand at once; 0 is no limit.
    pub concurrency: Option<u32>,
    /// Jobs a second; 0 is no limit.
    pub rate: Option<u32>,
}

/// A change of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This much; 0 is no limit.
    To(u32),
    /// What the settings say.
    Default,
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

impl Queue {
    /// Sets a lane's limits for the whole fleet, from the next claim on. What is in hand goes on.
    pub async fn limit(
        &self,
        lane: Lane,
        concurrency: Option<Change>,
        rate: Option<Change>,
    ) -> Result<(), QueueError> {
        let mut args = Vec::new();
        for (field, change) in [("most_leased", concurrency), ("most_a_second", rate)] {
            match change {
                Some(Change::To(most)) => args.extend([field.into(), arg(most)]),
                Some(Change::Default) => args.extend([field.into(), Vec::new()]),
                None => {}
            }
        }
        self.0.call(lane, &scripts::LIMIT, args).await
    }
}
