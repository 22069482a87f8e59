//! How events of providers are taken in: remembered once, settled once, parked where they came before what they tell of.

use std::collections::HashMap;
use std::time::Duration;

use super::Loaded;
use crate::domain::webhook::WebhookPayload;
use crate::job::Failure;
use crate::store::Tx;
use crate::store::inbox::{self, Event, EventName, Fate};

/// The longest wait before a parked event is looked at again.
const LONGEST_PARK: Duration = Duration::from_mins(1);
/// The first wait: our own commit, which the event overtook, is a matter of milliseconds.
const SHORTEST_PARK: Duration = Duration::from_millis(250);

/// Remembers the events of a slice, and tells for each whether it is settled already.
pub(super) async fn take<J>(
    tx: &mut Tx,
    jobs: &[Loaded<J>],
    of: impl Fn(&J) -> &WebhookPayload,
) -> Result<Vec<bool>, Failure> {
    let events: Vec<Event> = jobs.iter().map(|loaded| remembered(of(&loaded.job))).collect();
    let known: HashMap<EventName, bool> = inbox::take(tx, &events).await?;
    let settled = |event: Event| known.get(&event.name).copied().unwrap_or_default();
    Ok(events.into_iter().map(settled).collect())
}

/// What the inbox keeps: what decided, never the customer's data that the provider's object carries.
fn remembered(webhook: &WebhookPayload) -> Event {
    Event {
        name: name(webhook),
        event_type: webhook.event_type.clone(),
        object_id: webhook.object_id.clone(),
        // What a person recorded has no other trace of who it was.
        payload: match webhook.event.get("recorded") {
            Some(recorded) => serde_json::json!({ "recorded": recorded }),
            None => serde_json::json!({ "created": webhook.event["created"] }),
        },
    }
}

/// Those that nobody has taken in.
pub(super) async fn missed(tx: &mut Tx, told: Vec<WebhookPayload>) -> Result<Vec<WebhookPayload>, Failure> {
    let names: Vec<EventName> = told.iter().map(name).collect();
    let known = inbox::known(tx, &names).await?;
    Ok(told.into_iter().filter(|event| !known.contains(&name(event))).collect())
}

fn name(webhook: &WebhookPayload) -> EventName {
    EventName {
        provider: webhook.provider.clone(),
        account: webhook.account.clone(),
        event_id: webhook.event_id.clone(),
    }
}

/// Writes what became of an event.
pub(super) async fn resolve(
    tx: &mut Tx,
    webhook: &WebhookPayload,
    fate: Fate,
    note: &str,
) -> Result<(), Failure> {
    Ok(inbox::resolve(tx, &name(webhook), fate, note).await?)
}

/// Writes that an event was given up. Its row may be gone with the load that failed, so it is remembered first.
pub(super) async fn give_up(tx: &mut Tx, webhook: &WebhookPayload, note: &str) -> Result<(), Failure> {
    inbox::take(tx, &[remembered(webhook)]).await?;
    resolve(tx, webhook, Fate::Failed, note).await
}

/// Parks an event until what it tells of is there: soon at first, then as long again as it has waited.
pub(super) async fn park(
    tx: &mut Tx,
    webhook: &WebhookPayload,
    age: Duration,
    about: &str,
) -> Result<Failure, Failure> {
    resolve(tx, webhook, Fate::Parked, about).await?;
    let wait = age.clamp(SHORTEST_PARK, LONGEST_PARK);
    Ok(Failure::snooze(wait, "parked", format!("{} is not known here yet", webhook.object_id)))
}
