//! Mail services that tell what became of mails, known by their settings alone: how they sign, and what their messages say.

use serde::Deserialize;

use super::SignatureSettings;

/// One service.
#[derive(Clone, Debug, Deserialize)]
pub struct MailProviderSettings {
    /// How its webhooks prove themselves.
    pub signature: SignatureSettings,
    /// What they say.
    pub event: MailReadingSettings,
}

/// What a message says, by JSON pointers.
#[derive(Clone, Debug, Deserialize)]
pub struct MailReadingSettings {
    /// The message's own id; empty where the message itself is its name.
    pub id: String,
    /// Where its events are; empty where the message is one, or a list of them. The pointers below lead on from an event.
    pub list: String,
    /// The word that tells what happened.
    pub kind: String,
    /// Words for: the reader's server has it.
    pub delivered: Vec<String>,
    /// Words for: it is tried again.
    pub deferred: Vec<String>,
    /// Words for: it came back for good.
    pub bounced: Vec<String>,
    /// Words for: the reader says that it is spam.
    pub complained: Vec<String>,
    /// The Message-ID.
    pub message_id: String,
    /// The address that it went to.
    pub recipient: String,
}
