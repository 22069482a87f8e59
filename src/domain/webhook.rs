//! A provider's event, as the queue carries it from the intake to its job.
//!
//! The intake reads only what it needs to name the event; everything else is the job's to judge, so that an event of a
//! type or version that nobody knows is still taken in, kept and answered with 200.

use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::key::hex;
use super::mail_news::MailReading;
use super::told::{Reading, Silent};
use crate::ids::{self, JobId};

/// The longest id or type of an event that is believed; the inbox keeps no longer ones.
const MAX_NAME: usize = 255;

/// A verified webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookPayload {
    /// Who sent it: `stripe`, `easypost`, a configured provider.
    pub provider: String,
    /// The connected account that it is about; empty for our own.
    pub account: String,
    /// The provider's id of the event: what it is de-duplicated by.
    pub event_id: String,
    /// What happened, in the provider's words.
    pub event_type: String,
    /// What it happened to; empty where the event names nothing.
    pub object_id: String,
    /// The whole event.
    pub event: Value,
}

/// A signed body that names no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event has no {0}")]
pub struct NoEvent(pub &'static str);

impl WebhookPayload {
    /// Reads an event of Stripe: a snapshot, or a thin one that only points to its object.
    pub fn stripe(event: Value) -> Result<Self, NoEvent> {
        let object = text(&event, &["/data/object/id", "/related_object/id"]).unwrap_or_default();
        let account = text(&event, &["/account", "/context"]).unwrap_or_default();
        let event_id = text(&event, &["/id"]).ok_or(NoEvent("id"))?;
        let event_type = text(&event, &["/type"]).ok_or(NoEvent("type"))?;
        Ok(Self { provider: "stripe".to_owned(), account, event_id, event_type, object_id: object, event })
    }

    /// Reads an event of EasyPost, whose type is called `description`.
    pub fn easypost(event: Value) -> Result<Self, NoEvent> {
        let object = text(&event, &["/result/id"]).unwrap_or_default();
        let event_id = text(&event, &["/id"]).ok_or(NoEvent("id"))?;
        let event_type = text(&event, &["/description"]).ok_or(NoEvent("description"))?;
        Ok(Self {
            provider: "easypost".to_owned(),
            account: String::new(),
            event_id,
            event_type,
            object_id: object,
            event,
        })
    }

    /// Reads an event of a configured provider: what it tells, without anything else that its message has. One without
    /// an id is named by the whole message.
    pub fn configured(provider: &str, message: &Value, reading: &Reading) -> Result<Self, Silent> {
        let told = reading.read(message)?;
        let event_id = reading.event_id(message).unwrap_or_else(|| hash_of(message));
        Ok(Self {
            provider: provider.to_owned(),
            account: String::new(),
            event_id,
            event_type: told.word.clone(),
            object_id: told.reference.clone(),
            event: serde_json::to_value(told).unwrap_or_default(),
        })
    }

    /// Reads a message of a mail service: what it tells of our mails, and nobody's address. Its name stands beside those of
    /// payment providers, so it is kept apart from them.
    pub fn mail(service: &str, message: &Value, reading: &MailReading) -> Result<Self, NoEvent> {
        let news = reading.read(message);
        if news.is_empty() {
            return Err(NoEvent("word on a mail that was delivered, deferred, bounced or complained of"));
        }
        let event_id = reading.event_id(message).unwrap_or_else(|| hash_of(message));
        Ok(Self {
            provider: format!("mail:{service}"),
            account: String::new(),
            event_id,
            event_type: "mail".to_owned(),
            object_id: news.iter().find_map(|one| one.message_id.clone()).unwrap_or_default(),
            event: serde_json::to_value(news).unwrap_or_default(),
        })
    }

    /// The job of this event: the same for each delivery of it, so that the queue knows a repetition.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        named([&self.provider, &self.account, &self.event_id]).into()
    }

    /// What the event is about: two events of one object are worked on one after the other.
    #[must_use]
    pub fn subject(&self) -> Uuid {
        named([&self.provider, &self.account, &self.object_id])
    }
}

/// The name of a message that has none.
fn hash_of(message: &Value) -> String {
    hex(digest(&SHA256, message.to_string().as_bytes()).as_ref())
}

/// An id made of names, which no other names make.
fn named(parts: [&str; 3]) -> Uuid {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0_u8; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    ids::from_hash(&bytes)
}

fn text(event: &Value, pointers: &[&str]) -> Option<String> {
    pointers
        .iter()
        .find_map(|pointer| event.pointer(pointer)?.as_str())
        .filter(|text| {
            (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_snapshot_and_a_thin_event_name_their_object() {
        let snapshot =
            json!({"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {"id": "pi_1"}}});
        let thin = json!({"id": "evt_2", "object": "v2.core.event", "type": "v1.payment_intent.succeeded",
                          "context": "acct_1", "related_object": {"id": "pi_1"}});
        let snapshot = WebhookPayload::stripe(snapshot).unwrap();
        let thin = WebhookPayload::stripe(thin).unwrap();
        assert_eq!((snapshot.object_id.as_str(), snapshot.account.as_str()), ("pi_1", ""));
        assert_eq!((thin.object_id.as_str(), thin.account.as_str()), ("pi_1", "acct_1"));
    }

    #[test]
    fn an_easypost_event_has_its_type_in_the_description() {
        let event = json!({"id": "evt_1", "description": "tracker.updated", "result": {"id": "trk_1"}});
        let event = WebhookPayload::easypost(event).unwrap();
        assert_eq!((event.event_type.as_str(), event.object_id.as_str()), ("tracker.updated", "trk_1"));
    }

    #[test]
    fn one_event_is_one_job_and_two_accounts_are_two() {
        let event = |account: &str| {
            WebhookPayload::stripe(json!({"id": "evt_1", "type": "x", "account": account})).unwrap().job_id()
        };
        assert_eq!(event("acct_1"), event("acct_1"));
        assert_ne!(event("acct_1"), event("acct_2"));
    }

    #[test]
    fn an_event_without_an_id_is_none() {
        assert_eq!(WebhookPayload::stripe(json!({"type": "x"})), Err(NoEvent("id")));
        assert_eq!(WebhookPayload::stripe(json!({"id": "evt_1"})), Err(NoEvent("type")));
        assert_eq!(WebhookPayload::easypost(json!([])), Err(NoEvent("id")));
    }
}
