//! What the sandbox knows that it did, as `GET /_sandbox/truth` tells it, cut down to what is compared.
//!
//! It is handed in by whoever can ask over HTTP; this room can't. Addresses and subjects of mails are never read.

use serde::{Deserialize, Serialize};

/// The sandbox's facts: payments, refunds, disputes, labels and mails.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Truth {
    payments: Vec<Payment>,
    refunds: Vec<Refund>,
    disputes: Vec<Dispute>,
    labels: Vec<Label>,
    mails: Vec<Mail>,
}

/// Something that is not the sandbox's truth.
#[derive(Debug, thiserror::Error)]
#[error("this is not the sandbox's truth: {0}")]
pub struct TruthError(#[from] serde_json::Error);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    id: String,
    /// In the currency's smallest unit, as the provider counts.
    amount: i64,
    /// The same of what came in.
    amount_received: i64,
    currency: String,
    status: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Metadata {
    payment_id: Option<String>,
    refund_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Refund {
    id: String,
    payment_id: String,
    /// In the currency's smallest unit, as the provider counts.
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Dispute {
    id: String,
    payment_id: String,
    /// In the currency's smallest unit, as the provider counts.
    amount: i64,
    currency: String,
    status: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Label {
    tracking_code: String,
    reference: Option<String>,
    amount_cents: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mail {
    message_id: Option<String>,
}

impl Truth {
    /// Reads what the sandbox answered. A shape that is not known is an error, never an empty truth.
    pub fn read(json: &[u8]) -> Result<Self, TruthError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// As the statements take it.
    pub(super) fn rows(&self) -> String {
        serde_json::json!(self).to_string()
    }
}
