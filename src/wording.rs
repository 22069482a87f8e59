//! The words of the mails: templates in `config/emails`, rendered with the facts of a notice.
//!
//! Templates are part of the binary, are all parsed and tried when the process starts, and may only name facts that exist:
//! a bad one stops the start with its name and line, instead of the first mail weeks later. A fact that a mail needs and
//! that is missing is an error, never an empty gap. Whatever a customer typed into their name, a subject is one line.
//! Nothing here may decide who is told what (that is the domain's), or escape for HTML (these are texts).

use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};

/// The language that every kind is written in, and that is used for any other.
const FALLBACK_LOCALE: &str = "en";
/// What the first line of a template begins with.
const SUBJECT: &str = "Subject: ";
/// Letters of a subject, at most: mail programs show about half of it.
const LONGEST_SUBJECT: usize = 150;

/// Every template: kind, language, words.
const TEMPLATES: [(&str, &str, &str); 9] = [
    ("order_confirmation", "en", include_str!("../config/emails/order_confirmation.txt")),
    ("shipping_notification", "en", include_str!("../config/emails/shipping_notification.txt")),
    ("reservation_expired", "en", include_str!("../config/emails/reservation_expired.txt")),
    ("payment_failed", "en", include_str!("../config/emails/payment_failed.txt")),
    ("delay_or_exception", "en", include_str!("../config/emails/delay_or_exception.txt")),
    ("delivery_confirmation", "en", include_str!("../config/emails/delivery_confirmation.txt")),
    ("cancellation", "en", include_str!("../config/emails/cancellation.txt")),
    ("refund_confirmation", "en", include_str!("../config/emails/refund_confirmation.txt")),
    ("ops_alert", "en", include_str!("../config/emails/ops_alert.txt")),
];

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

/// A mail's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line, not empty.
    pub subject: String,
    /// The text.
    pub text: String,
}

/// Why there are no words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordingError {
    /// No template is called so.
    #[error("there is no mail called {0:?}")]
    UnknownKind(String),
    /// The first line of a template is not its subject, or no blank line follows.
    #[error("{0}: a template begins with `Subject: …` and a blank line")]
    NoSubject(String),
    /// A template does not follow the language of templates.
    #[error("{template}: {fault}")]
    Malformed {
        /// Which: kind, language, part.
        template: String,
        /// What is wrong, and where.
        fault: String,
    },
    /// A template names a fact that does not exist.
    #[error("{template}: there is no fact called {name:?}")]
    UnknownFact {
        /// Which: kind, language, part.
        template: String,
        /// The name.
        name: String,
    },
    /// The facts lack one that this mail needs.
    #[error("{template}: {fault}")]
    MissingFact {
        /// Which: kind, language, part.
        template: String,
        /// What is missing, and where.
        fault: String,
    },
}

/// The words of every mail.
#[derive(Debug)]
pub struct Wording {
    templates: Environment<'static>,
}

impl Wording {
    /// Parses and tries every template.
    pub fn new() -> Result<Self, WordingError> {
        Self::of(&TEMPLATES)
    }

    fn of(sources: &[(&str, &str, &str)]) -> Result<Self, WordingError> {
        let mut templates = Environment::new();
        // Strict where a fact is shown, lenient where a template asks whether there is one.
        templates.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        templates.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        let mut wording = Self { templates };
        for (kind, locale, source) in sources {
            wording.add(kind, locale, source)?;
        }
        Ok(wording)
    }

    fn add(&mut self, kind: &str, locale: &str, source: &str) -> Result<(), WordingError> {
        let (subject, text) = source
            .strip_prefix(SUBJECT)
            .and_then(|rest| rest.split_once("\n\n"))
            .filter(|(subject, _)| !subject.contains('\n'))
            .ok_or_else(|| WordingError::NoSubject(format!("{kind}.{locale}")))?;
        for (part, source) in [("subject", subject), ("text", text)] {
            let name = name(kind, locale, part);
            self.templates
                .add_template_owned(name.clone(), source.to_owned())
                .map_err(|error| WordingError::Malformed { template: name.clone(), fault: told(&error) })?;
            self.know_all_facts(&name)?;
        }
        self.render(kind, locale, &every_fact()).map(drop)
    }

    /// Strictness finds a misspelt fact only where it is shown; behind an `if` it would be silent for ever.
    fn know_all_facts(&self, template: &str) -> Result<(), WordingError> {
        let facts = Value::from(Serde(every_fact()));
        let named = self.templates.get_template(template).map(|parsed| parsed.undeclared_variables(false));
        let unknown = named
            .unwrap_or_default()
            .into_iter()
            .find(|name| facts.get_attr(name).is_ok_and(|value| value.is_undefined()));
        unknown.map_or(Ok(()), |name| Err(WordingError::UnknownFact { template: template.to_owned(), name }))
    }

    /// The words of a kind of mail with these facts, in this language or else in English.
    pub fn render(&self, kind: &str, locale: &str, facts: &NoticeFacts) -> Result<Rendered, WordingError> {
        // `en-GB` is served by `en`.
        let language = locale.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let known = self.templates.get_template(&name(kind, &language, "text")).is_ok();
        let language = if known { language.as_str() } else { FALLBACK_LOCALE };
        let part = |part: &str| {
            let template = name(kind, language, part);
            let parsed = self.templates.get_template(&template);
            let parsed = parsed.map_err(|_| WordingError::UnknownKind(kind.to_owned()))?;
            parsed
                .render(Serde(facts))
                .map_err(|error| WordingError::MissingFact { template, fault: told(&error) })
        };
        Ok(Rendered { subject: one_line(&part("subject")?), text: part("text")? })
    }
}

fn name(kind: &str, locale: &str, part: &str) -> String {
    format!("{kind}.{locale}.{part}")
}

/// What the template engine found, with its line.
fn told(error: &minijinja::Error) -> String {
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    format!("{}{line}", error.detail().unwrap_or(&error.kind().to_string()))
}

/// Whatever was typed, in one line: a line break in a header would begin another header.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|letter: char| letter.is_whitespace() || letter.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(LONGEST_SUBJECT).collect()
}

/// Facts of which none is missing, to try templates with.
fn every_fact() -> NoticeFacts {
    let some = || Some("x".to_owned());
    NoticeFacts {
        shop_name: "x".to_owned(),
        order_number: some(),
        order_url: some(),
        customer_name: some(),
        total: some(),
        due: some(),
        refunded: some(),
        lines: vec![NoticeLine { name: "x".to_owned(), quantity: 1, total: "x".to_owned() }],
        carrier: some(),
        tracking_code: some(),
        tracking_url: some(),
        reason: some(),
        alert: some(),
    }
}

#[cfg(test)]
mod tests;
