//! What of a payload anybody may read: ids, codes, amounts and times. Everything else may be about a person.
//!
//! It is a list of what stays, not of what goes: a field that nobody thought of is masked until somebody did.

use serde_json::Value;

/// What stands where a text was.
const MASK: &str = "…";
/// Texts of these names say nothing of a person.
const PLAIN: &[&str] = &[
    "account",
    "billing_reason",
    "cart_id",
    "client_key",
    "communication",
    "country",
    "currency",
    "description",
    "discount_code",
    "event_id",
    "event_type",
    "expected_total",
    "fingerprint",
    "id",
    "intent_id",
    "kind",
    "label",
    "mode",
    "object",
    "object_id",
    "on_shortage",
    "order",
    "payment",
    "payment_provider",
    "priority",
    "provider",
    "refund",
    "shipping_method",
    "sku",
    "status",
    "tenant",
    "type",
];
/// These say nothing of a person, and lead to one.
const LEADS: &[&str] = &["cart_id", "client_key", "customer"];
/// Whatever stands below these is the shop's own, or the customer's.
const SEALED: &[&str] = &["metadata", "attributes"];

/// The same, without what may be personal.
#[must_use]
pub fn masked(payload: &Value) -> Value {
    below("", payload)
}

/// The same, without what leads to a person: for what is kept longer than the job, and shown to whoever looks at another's.
#[must_use]
pub fn anonymous(payload: &Value) -> Value {
    aloof("", &masked(payload))
}

fn aloof(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let inherited = |own: &str| if LEADS.contains(&name) { name.to_owned() } else { own.to_owned() };
            fields.iter().map(|(own, value)| (own.clone(), aloof(&inherited(own), value))).collect()
        }
        Value::Array(values) => values.iter().map(|value| aloof(name, value)).collect(),
        Value::String(_) if LEADS.contains(&name) => MASK.into(),
        plain @ (Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null) => plain.clone(),
    }
}

fn below(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(_) if SEALED.contains(&name) => MASK.into(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), below(name, value))).collect()
        }
        Value::Array(values) => values.iter().map(|value| below(name, value)).collect(),
        Value::String(_) if !PLAIN.contains(&name) => MASK.into(),
        plain @ (Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null) => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_and_numbers_stay_and_whatever_may_be_a_person_goes() {
        let wish = json!({
            "intent_id": "int_1", "body": {
                "customer": { "id": "cus_7", "email": "a@example.com", "name": "A. Buyer", "locale": "en" },
                "lines": [{ "sku": "SUIT", "quantity": 2, "attributes": { "engraving": "for A." } }],
                "shipping_address": { "address_line1": "123 Main St", "country": "NP" },
                "metadata": { "id": "a@example.com" }, "discount_code": null }
        });
        let expected = json!({
            "intent_id": "int_1", "body": {
                "customer": { "id": "cus_7", "email": "…", "name": "…", "locale": "…" },
                "lines": [{ "sku": "SUIT", "quantity": 2, "attributes": "…" }],
                "shipping_address": { "address_line1": "…", "country": "NP" },
                "metadata": "…", "discount_code": null }
        });
        assert_eq!(masked(&wish), expected);
    }

    #[test]
    fn what_outlives_the_job_leads_to_nobody() {
        let wish = json!({ "client_key": "k", "body": { "cart_id": "c", "customer": { "id": "cus_7", "age": 7 }, "currency": "USD" } });
        let expected = json!({ "client_key": "…", "body": { "cart_id": "…", "customer": { "id": "…", "age": 7 }, "currency": "USD" } });
        assert_eq!(anonymous(&wish), expected);
        assert_eq!(anonymous(&expected), expected);
    }

    #[test]
    fn a_body_that_nobody_could_read_is_masked_whole() {
        assert_eq!(masked(&json!("{\"email\": \"a@example.com\"")), json!("…"));
    }
}
