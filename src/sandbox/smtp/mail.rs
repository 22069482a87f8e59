//! A mail that was accepted: the envelope, the headers that identify it, and every byte of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// An accepted mail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mail {
    /// When it was accepted.
    pub(crate) at: DateTime<Utc>,
    /// The envelope's sender.
    pub(crate) from: String,
    /// The envelope's recipients.
    pub(crate) to: Vec<String>,
    /// `Message-ID`, without its angle brackets: what makes a second copy known.
    pub(crate) message_id: Option<String>,
    /// `Subject`, as it was written.
    pub(crate) subject: Option<String>,
    /// Headers that begin with `X-`, by their name in small letters: what the sender says of it for machines.
    pub(crate) headers: BTreeMap<String, String>,
    /// All of it, with the dots unstuffed.
    pub(crate) raw: String,
}

impl Mail {
    /// Reads the headers of what was sent.
    pub(super) fn read(at: DateTime<Utc>, from: String, to: Vec<String>, raw: String) -> Self {
        let mut all = headers(&raw);
        let message_id = all.remove("message-id").map(|id| id.trim_matches(['<', '>']).to_owned());
        let subject = all.remove("subject");
        all.retain(|name, _| name.starts_with("x-"));
        Self { at, from, to, message_id, subject, headers: all, raw }
    }
}

/// Headers by their name in small letters; folded lines are joined; the first of a name counts.
fn headers(raw: &str) -> BTreeMap<String, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in raw.lines().take_while(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = found.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            found.push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    found.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_headers_are_joined_and_the_body_is_no_header() {
        let raw = "Message-ID: <a@b>\r\nSubject: Your\r\n order\r\nX-Order: 7\r\n\r\nX-Body: no\r\n";
        let mail = Mail::read(DateTime::UNIX_EPOCH, String::new(), Vec::new(), raw.to_owned());
        assert_eq!(mail.message_id.as_deref(), Some("a@b"));
        assert_eq!(mail.subject.as_deref(), Some("Your order"));
        assert_eq!(mail.headers, BTreeMap::from([("x-order".to_owned(), "7".to_owned())]));
    }
}
