//! What an order may take: times, policies, and how long personal data is kept.

use serde::Deserialize;

/// What an order may take.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderSettings {
    /// How long stock is held for an unpaid order.
    pub reservation_seconds: u64,
    /// The longest that extensions may make it.
    pub max_hold_seconds: u64,
    /// How often a hold may be extended.
    pub max_extensions: i32,
    /// How long a hold whose time is over waits for the answer of a provider that is away.
    pub settlement_grace_seconds: u64,
    /// How long a hold waits for money that its provider says is on its way, at a bank; 0 is no longer than for a card.
    pub settling_seconds: u64,
    /// What becomes of money that came when the pieces were gone.
    pub late_payment: LatePayment,
    /// How long an unpaid order can be taken up again.
    pub order_ttl_seconds: u64,
    /// When an open payment is first looked at, counted from its opening; then after five and fifteen times as long.
    pub payment_sync_seconds: u64,
    /// From when on a paid order that has no label counts as stuck.
    pub late_label_seconds: u64,
    /// How old Stripe's events are when they are compared with those that came; the same time passes between two comparisons.
    pub event_sync_seconds: u64,
    /// How long nobody may have said anything of a parcel that is under way, until its carrier is asked.
    pub parcel_silence_seconds: u64,
    /// Whether a paid order goes on to its label by itself.
    pub auto_fulfil: bool,
    /// Whether staff may record money that they find, such as a bank transfer, for orders that ask for it.
    pub manual_payment: bool,
    /// Whether an order may go on to the customer's door before it is paid.
    pub cash_on_delivery: bool,
    /// What follows when a card is declined.
    pub declined: Declined,
    /// What becomes of money that is not the order's amount or currency.
    pub mismatch: Mismatch,
    /// Kinds of mail that are sent beside those that every shop sends.
    pub more_mails: Vec<String>,
    /// How long after a parcel's arrival its buyer is asked how it was.
    pub survey_days: u64,
    /// How long after an order's arrival it is completed; 0 leaves that to staff.
    pub complete_days: u64,
}

/// How many days personal data is kept; 0 is for ever. Orders keep theirs until their customer is erased, or they leave.
#[derive(Clone, Debug, Deserialize)]
pub struct RetentionSettings {
    /// What dead letters hold of persons, from when they were replayed or dropped.
    pub dead_letters_days: u64,
    /// What operators did.
    pub actions_days: u64,
    /// What outside events said, from when they came.
    pub inbox_days: u64,
    /// To whom mails went, and what they said.
    pub communications_days: u64,
    /// What intents wished.
    pub intents_days: u64,
    /// Orders that have ended, with everything that hangs on them, from their last change.
    pub orders_days: u64,
}

/// What becomes of money that is not the order's amount or currency. An exception shows it either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Mismatch {
    /// It goes back at once.
    Refund,
    /// It stays until a person has decided.
    Hold,
}

impl TryFrom<String> for Mismatch {
    type Error = &'static str;

    /// Derived, the error would quote what was given, which may have been meant for another setting.
    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "refund" => Ok(Self::Refund),
            "hold" => Ok(Self::Hold),
            _ => Err("must be refund or hold"),
        }
    }
}

/// What becomes of late money, where the order's pieces can not be held again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LatePayment {
    /// It goes back by itself, and a person is told.
    ReserveOrRefund,
    /// A person decides: the pieces may be had elsewhere.
    HoldForOps,
}

impl TryFrom<String> for LatePayment {
    type Error = &'static str;

    /// Derived, the error would quote what was given, which may have been meant for another setting.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "reserve_or_refund" => Ok(Self::ReserveOrRefund),
            "hold_for_ops" => Ok(Self::HoldForOps),
            _ => Err("must be reserve_or_refund or hold_for_ops"),
        }
    }
}

/// What follows when a payment is declined. A provider lets the same payment be tried again, with another card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Declined {
    /// The hold lasts as long as it would have, and the customer tries again.
    Keep,
    /// The payment is cancelled and the hold ends: the customer begins anew, if pieces are left.
    Release,
    /// The order is called off.
    Cancel,
}

impl TryFrom<String> for Declined {
    type Error = &'static str;

    /// Derived, the error would quote what was given, which may have been meant for another setting.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "keep" => Ok(Self::Keep),
            "release" => Ok(Self::Release),
            "cancel" => Ok(Self::Cancel),
            _ => Err("must be keep, release or cancel"),
        }
    }
}

impl OrderSettings {
    /// Whether the shop also sends this kind of mail.
    #[must_use]
    pub fn also_mails(&self, kind: &str) -> bool {
        self.more_mails.iter().any(|wanted| wanted == kind)
    }
}
