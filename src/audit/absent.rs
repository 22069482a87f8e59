//! What the tables do not allow to ask yet, by name: an invariant that nobody can check must not look like one that holds.

use super::Absent;

pub(super) const ABSENT: &[Absent] = &[Absent {
    id: "I38",
    name: "a key names one answer",
    sentence: "An idempotency key that is done has its answer, and no two answers share one.",
    reason: "there is no table of keys: an intent's id is made of its key, so that I11 says it",
}];
