//! What a mail may tell: the names that templates know.

use serde::{Deserialize, Serialize};

/// What a mail may tell. What is not known is left out, and a template can ask for that with `if`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoticeFacts {
    /// The shop's name.
    pub shop_name: String,
    /// The order's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_number: Option<String>,
    /// Where the customer can look at their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_url: Option<String>,
    /// The customer's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_name: Option<String>,
    /// The order's total, written out: `USD 129.00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// What a coupon took off, written out with its minus: `-USD 12.90`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount: Option<String>,
    /// What the way costs, written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipping: Option<String>,
    /// What the state takes, written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax: Option<String>,
    /// What came in, written out: `USD 129.00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<String>,
    /// What is to be paid at the door, written out: `USD 129.00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// What went back, written out: `USD 12.90`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded: Option<String>,
    /// What was ordered.
    pub lines: Vec<NoticeLine>,
    /// Who carries the parcel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// The carrier's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_code: Option<String>,
    /// Where the parcel can be followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_url: Option<String>,
    /// Why it happened, in words for whoever reads the mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far the order is in the house: `processing`, `in_production`, `quality_check`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// A person's own subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// A person's own words, with blank lines between paragraphs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the people on call should know, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
}

/// One line of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeLine {
    /// What.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// For how much together, written out: `USD 129.00`.
    pub total: String,
}

impl NoticeFacts {
    /// Facts of which none is missing, to try templates with.
    pub(super) fn every() -> Self {
        let some = || Some("x".to_owned());
        Self {
            shop_name: "x".to_owned(),
            order_number: some(),
            order_url: some(),
            customer_name: some(),
            total: some(),
            discount: some(),
            shipping: some(),
            tax: some(),
            paid: some(),
            due: some(),
            refunded: some(),
            lines: vec![NoticeLine { name: "x".to_owned(), quantity: 1, total: "x".to_owned() }],
            carrier: some(),
            tracking_code: some(),
            tracking_url: some(),
            reason: some(),
            stage: some(),
            subject: some(),
            message: some(),
            alert: some(),
        }
    }
}
