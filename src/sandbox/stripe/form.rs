//! Stripe's parameters: form pairs whose names nest with brackets (`metadata[order]=7`).

use std::collections::BTreeMap;

use super::error::StripeError;

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a body or a query.
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// A parameter that is there and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A parameter that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, StripeError> {
        self.text(name).ok_or_else(|| {
            StripeError::invalid(&format!("Missing required param: {name}."))
                .code("parameter_missing")
                .param(name)
        })
    }

    /// A whole number.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, StripeError> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    StripeError::invalid(&format!("Invalid integer: {text}"))
                        .code("parameter_invalid_integer")
                        .param(name)
                })
            })
            .transpose()
    }

    /// Whether a flag is set.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The pairs of `name[key]`.
    pub(super) fn map(&self, name: &str) -> BTreeMap<String, String> {
        self.0
            .iter()
            .filter_map(|(key, value)| {
                let key = key.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
                Some((key.to_owned(), value.clone()))
            })
            .collect()
    }

    /// The pairs in one order, for comparing requests.
    pub(super) fn canonical(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}
