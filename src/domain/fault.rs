//! Faults of a body: all of them at once, each with the field that it is in.
//!
//! serde stops at the first fault, so a caller would mend a body one answer at a time. Here the body is walked as plain
//! JSON and every fault is noted. Details name limits and fields, never the value: values may be personal data.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};

/// Faults that one answer names: five in each of a hundred lines fit, and a hostile body of 64 KiB can not make an answer
/// of megabytes.
const MAX_FAULTS: usize = 500;
/// Letters of an unknown field's name that are repeated in the answer.
const MAX_NAME: usize = 64;
/// Above this, a whole number may have been rounded before we saw it: it is out of every range of ours.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What is wrong with a field. The names are part of the API and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// The field is required.
    Missing,
    /// There is no such field.
    UnknownField,
    /// It has another JSON type.
    WrongType,
    /// It may not be empty or blank.
    Empty,
    /// The text has too many characters.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// Its JSON has too many bytes.
    TooLarge,
    /// The number is too small or too large.
    OutOfRange,
    /// It has control characters.
    BadCharacters,
    /// It is not an e-mail address.
    BadEmail,
    /// It is not a language tag.
    BadLocale,
    /// It is not one of the values that there are.
    UnknownValue,
    /// There is no such article, or it is not sold.
    UnknownSku,
    /// The shop does not sell in this currency.
    UnknownCurrency,
    /// It is not an ISO 3166 two-letter code.
    UnknownCountry,
    /// The value is kept for the fleet's own use.
    Reserved,
    /// There are more faults than one answer names.
    More,
}

impl FaultCode {
    /// Every code, for the document of the API.
    pub const ALL: [Self; 17] = [
        Self::Missing,
        Self::UnknownField,
        Self::WrongType,
        Self::Empty,
        Self::TooLong,
        Self::TooMany,
        Self::TooLarge,
        Self::OutOfRange,
        Self::BadCharacters,
        Self::BadEmail,
        Self::BadLocale,
        Self::UnknownValue,
        Self::UnknownSku,
        Self::UnknownCurrency,
        Self::UnknownCountry,
        Self::Reserved,
        Self::More,
    ];
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where it is: `lines[0].quantity`; empty for the body itself.
    pub field: String,
    /// What it is.
    pub code: FaultCode,
    /// What would be right.
    pub detail: String,
}

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault.
    pub fn note(&mut self, field: impl Into<String>, code: FaultCode, detail: impl Into<String>) {
        match self.0.len() {
            MAX_FAULTS => {
                self.0.push(Fault {
                    field: String::new(),
                    code: FaultCode::More,
                    detail: format!("there are more faults than the {MAX_FAULTS} that one answer names"),
                });
            }
            0..MAX_FAULTS => {
                self.0.push(Fault { field: field.into(), code, detail: detail.into() });
            }
            _ => {}
        }
    }

    /// All of them, in the order of the body's fields.
    #[must_use]
    pub fn list(self) -> Vec<Fault> {
        self.0
    }

    /// A text of 1 to `max` characters without control characters.
    pub fn text<'v>(&mut self, value: &'v Value, field: &str, max: usize) -> Option<&'v str> {
        self.text_with(value, field, max, "")
    }

    /// A text of several lines: 1 to `max` characters, without control characters but those that end a line.
    pub fn lines<'v>(&mut self, value: &'v Value, field: &str, max: usize) -> Option<&'v str> {
        self.text_with(value, field, max, "\r\n")
    }

    fn text_with<'v>(
        &mut self,
        value: &'v Value,
        field: &str,
        max: usize,
        controls: &str,
    ) -> Option<&'v str> {
        let Some(text) = value.as_str() else {
            self.note(field, FaultCode::WrongType, "must be a text");
            return None;
        };
        let before = self.0.len();
        if text.trim().is_empty() {
            self.note(field, FaultCode::Empty, format!("must have 1 to {max} characters"));
        }
        if text.chars().count() > max {
            self.note(field, FaultCode::TooLong, format!("must have at most {max} characters"));
        }
        if text.chars().any(|letter| letter.is_control() && !controls.contains(letter)) {
            self.note(field, FaultCode::BadCharacters, "must not have control characters");
        }
        (self.0.len() == before).then_some(text)
    }

    /// A whole number in a range.
    pub fn whole(&mut self, value: &Value, field: &str, range: &RangeInclusive<i64>) {
        let (low, high) = (range.start(), range.end());
        match (value.as_i64(), value.as_f64()) {
            (Some(number), _) if range.contains(&number) => {}
            (Some(_), _) => {
                self.note(field, FaultCode::OutOfRange, format!("must be {low} to {high}"));
            }
            (None, Some(number)) if number.abs() >= EXACT => {
                self.note(field, FaultCode::OutOfRange, format!("must be {low} to {high}"));
            }
            (None, _) => {
                self.note(field, FaultCode::WrongType, format!("must be a whole number, {low} to {high}"));
            }
        }
    }

    /// An object of the caller's own making: any JSON that Postgres can keep.
    pub fn free_form(&mut self, value: &Value, field: &str, max_bytes: usize) {
        if !value.is_object() {
            self.note(field, FaultCode::WrongType, "must be an object");
        }
        if has_nul(value) {
            self.note(field, FaultCode::BadCharacters, "must not have the character U+0000");
        }
        if value.to_string().len() > max_bytes {
            self.note(field, FaultCode::TooLarge, format!("must have at most {max_bytes} bytes as JSON"));
        }
    }
}

/// Postgres keeps every character but this one.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The fields of one object, taken by name; what nobody took is unknown.
pub struct Fields<'v> {
    path: String,
    map: &'v Map<String, Value>,
    taken: Vec<&'static str>,
}

impl<'v> Fields<'v> {
    /// Opens an object; anything else is a fault.
    pub fn open(value: &'v Value, path: &str, faults: &mut Faults) -> Option<Self> {
        let Some(map) = value.as_object() else {
            faults.note(path, FaultCode::WrongType, "must be an object");
            return None;
        };
        Some(Self { path: path.to_owned(), map, taken: Vec::new() })
    }

    /// Where a field of this object is.
    #[must_use]
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A field that must be there.
    pub fn required(&mut self, name: &'static str, faults: &mut Faults) -> Option<&'v Value> {
        let value = self.defaulted(name);
        if value.is_none() {
            faults.note(self.at(name), FaultCode::Missing, "is required");
        }
        value
    }

    /// A field that may be absent; null is the same.
    pub fn nullable(&mut self, name: &'static str) -> Option<&'v Value> {
        self.defaulted(name).filter(|value| !value.is_null())
    }

    /// A field that has a default where it is absent; null is a value like another.
    pub fn defaulted(&mut self, name: &'static str) -> Option<&'v Value> {
        self.taken.push(name);
        self.map.get(name)
    }

    /// Notes every field that nobody took.
    pub fn close(self, faults: &mut Faults) {
        for name in self.map.keys().filter(|name| !self.taken.contains(&name.as_str())) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
            faults.note(self.at(&shown), FaultCode::UnknownField, "there is no such field");
        }
    }
}
