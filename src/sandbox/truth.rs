//! The append-only truth: what the outside world really did, in the order it did it.
//!
//! Every state that the sandbox keeps is a fold of these facts (see [`books`](super::books)), so that a restarted sandbox
//! that reads its file back goes on where it was. A fact is written to the file before anybody gets an answer that
//! depends on it. Nothing here changes or removes a line: even a reset is a fact.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::easypost::shipment::Shipment;
use super::easypost::tracker::Tracker;
use super::smtp::mail::Mail;
use super::stripe::disputes::Dispute;
use super::stripe::intent::Intent;
use super::stripe::refunds::Refund;
use super::wallet::WalletPayment;
use super::webhooks::Event;

/// One line of the truth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// When it happened.
    pub(crate) at: DateTime<Utc>,
    /// What happened.
    pub(crate) fact: Fact,
}

/// Something that happened at a provider. Objects are written whole, as they are after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fact {
    /// A raw request, before any de-duplication.
    Request(Asked),
    /// A payment was created or moved.
    Payment(Intent),
    /// Money was given back.
    Refund(Refund),
    /// A bank wants money back, or has judged.
    Dispute(Dispute),
    /// A customer was at the wallet's page.
    Wallet(WalletPayment),
    /// Stripe's answer under an idempotency key.
    Answer(Answer),
    /// An address was stored.
    Address {
        /// `adr_…`.
        id: String,
        /// As EasyPost shows it.
        body: Value,
    },
    /// A shipment was created, rated again, bought or refunded.
    Shipment(Box<Shipment>),
    /// A tracker was created or moved.
    Tracker(Tracker),
    /// A mail was accepted.
    Mail(Mail),
    /// An event came up, and its webhook is owed.
    Event(Event),
    /// A webhook was answered with 2xx.
    Delivered(Delivered),
    /// Everything before this line no longer counts.
    Reset,
}

/// One raw request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// `stripe`, `easypost`, `wallet` or `smtp`.
    pub(crate) provider: String,
    /// The HTTP method, or the SMTP command.
    pub(crate) method: String,
    /// The route, with `{id}` for ids.
    pub(crate) pattern: String,
    /// The path as it came.
    pub(crate) path: String,
    /// The `Idempotency-Key`, where one came.
    pub(crate) key: Option<String>,
}

/// What was answered under an idempotency key, to be replayed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The idempotency key.
    pub(crate) key: String,
    /// Hash of the path and the parameters.
    pub(crate) fingerprint: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body, byte for byte.
    pub(crate) body: String,
}

/// One webhook that arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delivered {
    /// `evt_…`.
    pub(crate) event: String,
    /// The event's type.
    pub(crate) kind: String,
    /// The id of what it is about.
    pub(crate) object: String,
    /// Posts that it took, this one included.
    pub(crate) tries: u32,
}

/// The truth could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The file can't be opened, read or cut.
    #[error("the truth file {path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A line in the middle is not ours.
    #[error("line {line} of the truth file {path} is not a fact: {source}; move the file away to begin anew")]
    Line {
        /// Its path.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What was wrong.
        source: serde_json::Error,
    },
}

/// Where facts are appended: a file of JSON lines, or nowhere (the fold in memory is then all there is).
#[derive(Debug)]
pub(crate) struct Truth(Option<File>);

impl Truth {
    /// Opens the file at `path` and returns what it already says; an empty path keeps nothing.
    pub(crate) fn open(path: &str) -> Result<(Self, Vec<Line>), TruthError> {
        if path.is_empty() {
            return Ok((Self(None), Vec::new()));
        }
        let fault = |source| TruthError::File { path: path.to_owned(), source };
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(fault)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fault)?;
        // A killed process may have left half a line: nobody got an answer that depended on it.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(u64::try_from(whole).unwrap_or(u64::MAX)).map_err(fault)?;
        file.seek(SeekFrom::End(0)).map_err(fault)?;
        let lines = text[..whole]
            .lines()
            .enumerate()
            .map(|(n, line)| {
                serde_json::from_str(line).map_err(|source| TruthError::Line {
                    path: path.to_owned(),
                    line: n + 1,
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok((Self(Some(file)), lines))
    }

    /// Appends one line with one write: a kill after it loses nothing (a power cut may).
    pub(crate) fn append(&mut self, line: &Line) -> io::Result<()> {
        let Some(file) = &mut self.0 else { return Ok(()) };
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        file.write_all(&text)
    }
}
