//! The bodies of what people ask of an order that is there: read whole, or every fault of them named.

use serde_json::Value;

use super::fault::{Fault, FaultCode, Faults, Fields};
use super::money::Currency;
use super::order::{CancelReason, Status, Vocabulary};

/// An amount that no sum of an order's payments overflows.
const MAX_AMOUNT: i64 = 1_000_000_000_000;
/// A sentence for the books; it is no letter.
const MAX_REASON: usize = 500;
/// What a list of mails shows of a subject, twice over.
const MAX_SUBJECT: usize = 150;
/// Some pages of a letter.
const MAX_MESSAGE: usize = 10_000;

/// What a refund is asked for with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefundBody {
    /// How much, in minor units; nothing said is all that is left.
    pub amount_minor: Option<i64>,
    /// Why, in the asker's words.
    pub reason: Option<String>,
}

impl RefundBody {
    /// Reads a body, or names every fault of it.
    pub fn read(value: &Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let mut body = Self::default();
        if let Some(mut fields) = Fields::open(value, "", &mut faults) {
            if let Some(amount) = fields.nullable("amount") {
                faults.whole(amount, "amount", &(1..=MAX_AMOUNT));
                body.amount_minor = amount.as_i64();
            }
            if let Some(reason) = fields.nullable("reason") {
                body.reason = faults.text(reason, "reason", MAX_REASON).map(str::to_owned);
            }
            fields.close(&mut faults);
        }
        told(body, faults)
    }
}

/// Money that somebody found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentBody {
    /// How much, in minor units.
    pub amount_minor: i64,
    /// Of which currency; nothing said is the one that was asked for.
    pub currency: Option<Currency>,
    /// What tells it at the bank or in the till.
    pub note: Option<String>,
}

impl PaymentBody {
    /// Reads a body, or names every fault of it.
    pub fn read(value: &Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let (mut amount_minor, mut currency, mut note) = (0, None, None);
        if let Some(mut fields) = Fields::open(value, "", &mut faults) {
            if let Some(amount) = fields.required("amount", &mut faults) {
                faults.whole(amount, "amount", &(1..=MAX_AMOUNT));
                amount_minor = amount.as_i64().unwrap_or_default();
            }
            if let Some(code) = fields.nullable("currency") {
                currency = code.as_str().and_then(|code| code.parse().ok());
                if currency.is_none() {
                    faults.note("currency", FaultCode::UnknownCurrency, "must be an ISO 4217 code");
                }
            }
            if let Some(text) = fields.nullable("note") {
                note = faults.text(text, "note", MAX_REASON).map(str::to_owned);
            }
            fields.close(&mut faults);
        }
        told(Self { amount_minor, currency, note }, faults)
    }
}

/// A letter to a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailBody {
    /// One line.
    pub subject: String,
    /// The text.
    pub message: String,
}

impl MailBody {
    /// Reads a body, or names every fault of it.
    pub fn read(value: &Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let mut body = Self::default();
        if let Some(mut fields) = Fields::open(value, "", &mut faults) {
            if let Some(text) = fields.required("subject", &mut faults) {
                body.subject =
                    faults.text(text, "subject", MAX_SUBJECT).map(str::to_owned).unwrap_or_default();
            }
            if let Some(text) = fields.required("message", &mut faults) {
                body.message =
                    faults.lines(text, "message", MAX_MESSAGE).map(str::to_owned).unwrap_or_default();
            }
            fields.close(&mut faults);
        }
        told(body, faults)
    }
}

/// What a cancellation is asked for with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CancelBody {
    /// Why; nothing said is the usual reason of who asks.
    pub reason: Option<CancelReason>,
}

impl CancelBody {
    /// Reads a body, or names every fault of it.
    pub fn read(value: &Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let mut body = Self::default();
        if let Some(mut fields) = Fields::open(value, "", &mut faults) {
            if let Some(reason) = fields.nullable("reason") {
                body.reason = reason.as_str().and_then(CancelReason::named);
                if body.reason.is_none() {
                    let names = CancelReason::ALL.map(CancelReason::name).join(", ");
                    faults.note("reason", FaultCode::UnknownValue, format!("must be one of {names}"));
                }
            }
            fields.close(&mut faults);
        }
        told(body, faults)
    }
}

/// Where an order is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusBody {
    /// The status.
    pub status: Status,
}

impl StatusBody {
    /// Reads a body in somebody's words, or names every fault of it. A word that tells several states means the first of
    /// them in an order's life: from there on the order goes its own way.
    pub fn read(value: &Value, words: Vocabulary) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let mut status = None;
        if let Some(mut fields) = Fields::open(value, "", &mut faults) {
            if let Some(wanted) = fields.required("status", &mut faults) {
                status = wanted.as_str().and_then(|word| words.states(word).into_iter().next());
                if status.is_none() {
                    let names = words.words().join(", ");
                    faults.note("status", FaultCode::UnknownValue, format!("must be one of {names}"));
                }
            }
            fields.close(&mut faults);
        }
        let read = status.map(|status| Self { status });
        told(read, faults)?.ok_or_else(Vec::new)
    }
}

fn told<T>(body: T, faults: Faults) -> Result<T, Vec<Fault>> {
    let faults = faults.list();
    if faults.is_empty() { Ok(body) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_letter_has_one_line_and_then_many() {
        let read =
            MailBody::read(&json!({"subject": "Your suit", "message": "Dear A.,\n\nit fits."})).unwrap();
        assert_eq!((read.subject.as_str(), read.message.as_str()), ("Your suit", "Dear A.,\n\nit fits."));
        let two_lines =
            MailBody::read(&json!({"subject": "Your\nBcc: all", "message": "a\u{0}b"})).unwrap_err();
        let places: Vec<&str> = two_lines.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(places, ["subject", "message"]);
        assert_eq!(MailBody::read(&json!({})).unwrap_err().len(), 2);
    }

    #[test]
    fn a_body_says_how_much_and_why_or_nothing() {
        assert_eq!(RefundBody::read(&json!({})), Ok(RefundBody::default()));
        let read = RefundBody::read(&json!({"amount": 700, "reason": "a stain"})).unwrap();
        assert_eq!((read.amount_minor, read.reason.as_deref()), (Some(700), Some("a stain")));
        let fraud = CancelBody::read(&json!({"reason": "fraud"})).unwrap();
        assert_eq!(fraud.reason, Some(CancelReason::Fraud));
    }

    #[test]
    fn every_fault_is_named() {
        let faults = RefundBody::read(&json!({"amount": 0, "reason": "", "all": true})).unwrap_err();
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["amount", "reason", "all"]);
        for amount in [json!(-1), json!(1.5), json!("7"), json!(true)] {
            assert!(RefundBody::read(&json!({"amount": amount})).is_err(), "{amount}");
        }
        assert!(CancelBody::read(&json!({"reason": "bored"})).is_err());
        assert!(CancelBody::read(&json!([])).is_err());
    }

    #[test]
    fn a_status_is_one_of_ours() {
        let status =
            |word: &str, words| StatusBody::read(&json!({ "status": word }), words).map(|body| body.status);
        assert_eq!(status("on_hold", Vocabulary::Canonical), Ok(Status::OnHold));
        assert_eq!(status("paid", Vocabulary::Shop), Ok(Status::PaymentConfirmed));
        assert_eq!(status("processing", Vocabulary::Shop), Ok(Status::Processing), "the first that it tells");
        let faults = status("paid", Vocabulary::Canonical).unwrap_err();
        assert!(faults[0].detail.contains("payment_confirmed"), "{faults:?}");
        for wrong in [
            json!({}),
            json!({"status": "lost"}),
            json!({"status": 7}),
            json!({"status": "on_hold", "why": 1}),
        ] {
            assert_eq!(StatusBody::read(&wrong, Vocabulary::Canonical).unwrap_err().len(), 1, "{wrong}");
        }
    }
}
