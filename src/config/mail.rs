//! How mails go out, what they say of the shop, and the services that tell what became of them: those are known by their
//! settings alone.

use secrecy::SecretString;
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

/// The mail server.
#[derive(Clone, Debug, Deserialize)]
pub struct SmtpSettings {
    /// `smtp://user:password@host:587?tls=required`, `smtps://…:465`, `smtp://127.0.0.1:2525` for a local sink.
    pub url: SecretString,
    /// PEM of an authority that is trusted beside the public ones; empty is none.
    pub ca_file: String,
    /// Connections kept open, at most.
    pub pool: u32,
    /// The longest command.
    pub timeout_ms: u64,
}

/// What mails say of the shop.
#[derive(Clone, Debug, Deserialize)]
pub struct ShopSettings {
    /// Its name.
    pub name: String,
    /// The sender of its mails: `Name <address>`.
    pub mail_from: String,
    /// The right side of every Message-ID.
    pub mail_domain: String,
    /// Where a customer can look at their order; `{order}` is its number.
    pub order_url: String,
    /// `CARRIER=URL`: where a parcel can be followed; `{code}` is its number.
    pub tracking_urls: Vec<String>,
    /// `#rrggbb` of its mails.
    pub color: String,
    /// The picture above its mails; empty shows its name.
    pub logo_url: String,
    /// A line below its mails; empty shows none.
    pub footer: String,
}

/// Who is on call, and what they are written to about.
#[derive(Clone, Debug, Deserialize)]
pub struct AlertSettings {
    /// Their addresses; with none, nobody is written to.
    pub mail_to: Vec<String>,
    /// A rule tells at most once in so many minutes.
    pub window_minutes: i32,
    /// Pieces that can still be sold, at most, of an article that runs out.
    pub stock_low: i64,
    /// Webhooks that were not believed, from which on that is told.
    pub refused_webhooks: i64,
}

impl ShopSettings {
    /// Where a parcel of this carrier can be followed, where the shop says so.
    #[must_use]
    pub fn tracking_url(&self, carrier: &str, code: &str) -> Option<String> {
        let of = |line: &String| {
            let (name, url) = line.split_once('=')?;
            let letters = |name: &str| name.to_ascii_lowercase().replace([' ', '-', '_'], "");
            (letters(name) == letters(carrier)).then(|| url.replace("{code}", code))
        };
        self.tracking_urls.iter().find_map(of)
    }
}
