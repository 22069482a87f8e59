//! Intents while the number of their lane's partitions changes.
//!
//! A key may have been taken in under another number, and lies in another partition then. As long as such keys are kept, a
//! push looks for it first: where it is known, it is answered, healed or refused; only one that is known nowhere goes where
//! today's number leads. Two doors that go by different numbers and take one key in at the same moment, within the second
//! in which one does not know of the other, both accept it: one intent with two copies, of which load decides one.

use futures::future::try_join_all;

use super::entry::Entry;
use super::partitions::Partition;
use super::{IntentPush, IntentPushed, Queue, QueueError};

impl Queue {
    /// Pushes an intent that may be known in any of these places, of which the first is today's.
    pub(super) async fn push_where_known(
        &self,
        places: &[Partition],
        intent: IntentPush,
    ) -> Result<IntentPushed, QueueError> {
        let id = intent.intent;
        let found = try_join_all(places.iter().map(|place| self.intent_at(*place, id))).await?;
        let known = || places.iter().zip(&found).filter_map(|(place, state)| Some((place, state.as_ref()?)));
        // What a projection wrote elsewhere has no fingerprint, and could refuse nothing.
        let taken_in = known().find(|(_, state)| state.fingerprint.is_some()).or_else(|| known().next());
        let Some(place) = taken_in.map(|(place, _)| place).or(places.first()) else {
            return Err(QueueError::answer("an intent without a place"));
        };
        let pushed = Entry::push(&self.0, *place, intent).await?;
        let newest = found.iter().flatten().max_by_key(|state| state.version);
        Ok(match (pushed, newest) {
            (IntentPushed::Replayed { version, healed, .. }, Some(newest)) if newest.version > version => {
                IntentPushed::Replayed { version: newest.version, public: newest.public.clone(), healed }
            }
            (pushed, _) => pushed,
        })
    }
}
