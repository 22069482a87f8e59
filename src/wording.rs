//! The words of the mails: templates in `config/emails`, one for each language and kind, rendered with the facts of a
//! notice, once as text and once, in the shop's frame, as HTML.
//!
//! Templates are part of the binary, are all parsed and tried when the process starts, and may only name facts that exist:
//! a bad one stops the start with its name and line, instead of the first mail weeks later. A fact that a mail needs and
//! that is missing is an error, never an empty gap. Whatever a customer typed into their name, a subject is one line.
//! Only English has every kind: what another language lacks is told in English. Nothing here may decide who is told what
//! (that is the domain's), and no template is written in HTML: the frame is made of the text ([`html`]), so that the two
//! parts can not tell different things.

mod facts;
mod html;

use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

pub use facts::{NoticeFacts, NoticeLine};
pub use html::Brand;

/// The language that every kind is written in, and that is used for any other.
const FALLBACK_LOCALE: &str = "en";
/// What the first line of a template begins with.
const SUBJECT: &str = "Subject: ";
/// What stands between a line's words and its amount: a space in the text, a column in HTML.
const COLUMN: &str = "\t";
/// Letters of a subject, at most: mail programs show about half of it.
const LONGEST_SUBJECT: usize = 150;

macro_rules! templates {
    ($($locale:literal: $($kind:literal)*;)*) => {
        &[$($(($kind, $locale, include_str!(concat!("../config/emails/", $locale, "/", $kind, ".txt"))),)*)*]
    };
}

/// Every template: kind, language, words.
const TEMPLATES: &[(&str, &str, &str)] = templates! {
    "en": "order_received" "order_confirmation" "payment_confirmation" "payment_failed" "reservation_expired"
        "processing_update" "shipping_notification" "out_for_delivery" "delivery_confirmation" "delay_or_exception"
        "cancellation" "refund_confirmation" "satisfaction_survey" "manual" "ops_alert";
    "ne": "order_received" "order_confirmation" "payment_confirmation" "payment_failed" "reservation_expired"
        "processing_update" "shipping_notification" "out_for_delivery" "delivery_confirmation" "delay_or_exception"
        "cancellation" "refund_confirmation" "satisfaction_survey";
    "am": "order_received" "order_confirmation" "payment_confirmation" "payment_failed" "reservation_expired"
        "processing_update" "shipping_notification" "out_for_delivery" "delivery_confirmation" "delay_or_exception"
        "cancellation" "refund_confirmation" "satisfaction_survey";
};

/// A mail's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line, not empty.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same in HTML.
    pub html: String,
    /// The language that it is in.
    pub language: String,
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
    brand: Brand,
}

impl Wording {
    /// Parses and tries every template.
    pub fn new(brand: Brand) -> Result<Self, WordingError> {
        Self::of(TEMPLATES, brand)
    }

    fn of(sources: &[(&str, &str, &str)], brand: Brand) -> Result<Self, WordingError> {
        let mut templates = Environment::new();
        // Strict where a fact is shown, lenient where a template asks whether there is one.
        templates.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        templates.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        templates.add_filter("column", column);
        html::frame(&mut templates)?;
        let mut wording = Self { templates, brand };
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
        self.render(kind, locale, &NoticeFacts::every()).map(drop)
    }

    /// Strictness finds a misspelt fact only where it is shown; behind an `if` it would be silent for ever.
    fn know_all_facts(&self, template: &str) -> Result<(), WordingError> {
        let facts = Value::from(Serde(NoticeFacts::every()));
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
        // A line break in a name would begin a paragraph, and a tab a column.
        let facts =
            &NoticeFacts { customer_name: facts.customer_name.as_deref().map(one_line), ..facts.clone() };
        let part = |part: &str| {
            let template = name(kind, language, part);
            let parsed = self.templates.get_template(&template);
            let parsed = parsed.map_err(|_| WordingError::UnknownKind(kind.to_owned()))?;
            parsed
                .render(Serde(facts))
                .map_err(|error| WordingError::MissingFact { template, fault: told(&error) })
        };
        let (subject, text) = (one_line(&part("subject")?), part("text")?);
        let links = [&facts.order_url, &facts.tracking_url].into_iter().flatten().map(String::as_str);
        let html =
            html::of(&self.templates, &self.brand, (language, &subject, &text), &links.collect::<Vec<_>>())
                .map_err(|error| WordingError::Malformed {
                template: html::FRAME.to_owned(),
                fault: told(&error),
            })?;
        Ok(Rendered { subject, text: text.replace(COLUMN, " "), html, language: language.to_owned() })
    }
}

fn name(kind: &str, locale: &str, part: &str) -> String {
    format!("{kind}.{locale}.{part}")
}

/// The amount of a line: what is known stands in a column of its own, and what is not is missed.
fn column(amount: &Value) -> Result<String, Error> {
    if amount.is_undefined() || amount.is_none() {
        return Err(Error::new(ErrorKind::UndefinedError, "an amount is missing"));
    }
    Ok(format!("{COLUMN}{amount}"))
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

#[cfg(test)]
mod tests;
