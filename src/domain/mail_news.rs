//! What a mail service tells of mails that it took: they arrived, came back, or their reader complained.
//!
//! Read by JSON pointers, as the settings of the service say. An address is hashed here, before it is anywhere: neither the
//! queue nor the database needs to know it.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::hex;
use crate::config::MailReadingSettings;

/// Events in one message, at most: services send up to a thousand, and a job carries them all.
const MOST: usize = 1_000;
/// The longest Message-ID that is believed (RFC 5322 lines end at 998).
const LONGEST: usize = 998;

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is tried again.
    Deferred,
    /// The reader's server has it.
    Delivered,
    /// It came back for good.
    Bounced,
    /// The reader said that it is spam.
    Complained,
}

impl Outcome {
    /// The gravest last: a later word of less weight changes nothing.
    pub const BY_GRAVITY: [Self; 4] = [Self::Deferred, Self::Delivered, Self::Bounced, Self::Complained];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Delivered => "delivered",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
        }
    }

    /// Whether the address gets no mail from now on.
    #[must_use]
    pub fn ends_mail(self) -> bool {
        self >= Self::Bounced
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailNews {
    /// What became of the mail.
    pub outcome: Outcome,
    /// Which mail, by its Message-ID without brackets, where it is told.
    pub message_id: Option<String>,
    /// To whom it went, as [`recipient_hash`] in hex, where it is told.
    pub recipient: Option<String>,
}

/// Where a service's messages say what.
#[derive(Clone, Debug)]
pub struct MailReading(MailReadingSettings);

impl MailReading {
    /// Reads as these settings say.
    #[must_use]
    pub fn new(settings: &MailReadingSettings) -> Self {
        Self(settings.clone())
    }

    /// The message's own id, where the service gives it one.
    #[must_use]
    pub fn event_id(&self, message: &Value) -> Option<String> {
        said(message, &self.0.id)
            .filter(|id| id.len() <= 255 && id.bytes().all(|byte| byte.is_ascii_graphic()))
    }

    /// What a message tells. Events of other kinds, and those that name neither a mail nor an address, are left out.
    #[must_use]
    pub fn read(&self, message: &Value) -> Vec<MailNews> {
        let list = if self.0.list.is_empty() { Some(message) } else { message.pointer(&self.0.list) };
        match list {
            Some(Value::Array(events)) => {
                events.iter().take(MOST).filter_map(|event| self.one(event)).collect()
            }
            Some(event) => self.one(event).into_iter().collect(),
            None => Vec::new(),
        }
    }

    fn one(&self, event: &Value) -> Option<MailNews> {
        let word = said(event, &self.0.kind)?;
        let words = [
            (&self.0.deferred, Outcome::Deferred),
            (&self.0.delivered, Outcome::Delivered),
            (&self.0.bounced, Outcome::Bounced),
            (&self.0.complained, Outcome::Complained),
        ];
        let outcome =
            words.into_iter().find(|(words, _)| words.contains(&word)).map(|(_, outcome)| outcome)?;
        let message_id = said(event, &self.0.message_id)
            .map(|id| id.trim_start_matches('<').trim_end_matches('>').to_owned())
            .filter(|id| (1..=LONGEST).contains(&id.len()));
        let recipient = said(event, &self.0.recipient).map(|address| hex(&recipient_hash(&address)));
        (message_id.is_some() || recipient.is_some()).then_some(MailNews { outcome, message_id, recipient })
    }
}

/// An address as rows and queues hold it: the SHA-256 of its small letters.
#[must_use]
pub fn recipient_hash(address: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, address.trim().to_lowercase().as_bytes()).as_ref());
    bytes
}

fn said(event: &Value, pointer: &str) -> Option<String> {
    let text = event.pointer(pointer).filter(|_| !pointer.is_empty())?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn reading(list: &str) -> MailReading {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        MailReading(MailReadingSettings {
            id: "/id".to_owned(),
            list: list.to_owned(),
            kind: "/event".to_owned(),
            delivered: words(&["delivered"]),
            deferred: words(&["deferred"]),
            bounced: words(&["bounce", "dropped"]),
            complained: words(&["spamreport"]),
            message_id: "/smtp-id".to_owned(),
            recipient: "/email".to_owned(),
        })
    }

    #[test]
    fn one_event_or_a_list_of_them_is_read_and_other_kinds_are_left_out() {
        let bounce =
            json!({"event": "bounce", "smtp-id": "<msg_1@orders.example.com>", "email": " A@Example.com "});
        let opened = json!({"event": "open", "smtp-id": "<msg_2@orders.example.com>"});
        let nobody = json!({"event": "bounce"});
        let news = reading("").read(&json!([bounce, opened, nobody]));
        assert_eq!(
            news,
            [MailNews {
                outcome: Outcome::Bounced,
                message_id: Some("msg_1@orders.example.com".to_owned()),
                recipient: Some(hex(&recipient_hash("a@example.com"))),
            }]
        );
        assert_eq!(reading("").read(&bounce), news);
        assert_eq!(reading("/data/events").read(&json!({"data": {"events": [bounce]}})), news);
        assert_eq!(reading("/data/events").read(&bounce), []);
        let kept = serde_json::to_string(&news).unwrap().to_lowercase();
        assert!(!kept.contains("a@example"), "no address goes on: {kept}");
    }

    #[test]
    fn only_what_came_back_for_good_and_complaints_end_mail() {
        let ends: Vec<bool> = Outcome::BY_GRAVITY.into_iter().map(Outcome::ends_mail).collect();
        assert_eq!(ends, [false, false, true, true]);
    }

    proptest! {
        #[test]
        fn no_message_is_too_odd(text in ".{0,200}") {
            let message: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            prop_assert!(reading("").read(&message).len() <= MOST);
            let _id = reading("").event_id(&message);
        }
    }
}
