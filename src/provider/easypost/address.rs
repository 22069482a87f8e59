//! What EasyPost says of an address that was to be verified.
//!
//! Its faults are objects with a code and a field, or plain sentences. A sentence may quote the address, which must stand in
//! no log and no exception: one that does is told as withheld.

use serde_json::Value;

use super::{Address, text};
use crate::provider::{Cause, Said};

/// A word of an address that is shorter than this is found in any sentence.
const SHORTEST_WORD: usize = 4;

/// What is wrong with an address, by this answer; nothing where it can be delivered to, or where nobody says.
pub(super) fn faults(address: &Address, body: &[u8]) -> Result<Vec<Said>, Cause> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| Cause::Unreadable("not JSON".to_owned()))?;
    let Some(verdict) = answer.pointer("/verifications/delivery") else { return Ok(Vec::new()) };
    if verdict.get("success").and_then(Value::as_bool) != Some(false) {
        return Ok(Vec::new());
    }
    let errors = verdict.get("errors").and_then(Value::as_array).into_iter().flatten();
    let mut faults: Vec<Said> = errors.map(|error| fault(address, error)).collect();
    if faults.is_empty() {
        faults.push("no reason given".to_owned().into());
    }
    Ok(faults)
}

fn fault(address: &Address, error: &Value) -> Said {
    if let Some(sentence) = error.as_str() {
        return told(address, sentence).into();
    }
    let field = text(error, "/field").unwrap_or("address");
    match text(error, "/code") {
        Some(code) => Said::coded(code, format!("{field}: {code}")),
        None => format!("{field}: {}", told(address, text(error, "/message").unwrap_or_default())).into(),
    }
}

/// A sentence, unless it quotes the address.
fn told(address: &Address, sentence: &str) -> String {
    let parts = [Some(&address.name), Some(&address.street1), address.street2.as_ref(), Some(&address.city)];
    let parts = parts.into_iter().chain([address.zip.as_ref(), address.phone.as_ref()]).flatten();
    let lower = sentence.to_lowercase();
    let quotes = parts
        .flat_map(|part| part.split_whitespace())
        .filter(|word| word.len() >= SHORTEST_WORD)
        .any(|word| lower.contains(&word.to_lowercase()));
    if quotes { "withheld, it quotes the address".to_owned() } else { sentence.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn address() -> Address {
        Address {
            name: "Elizabeth Swan".into(),
            street1: "179 N Harbor Dr".into(),
            street2: None,
            city: "Redondo Beach".into(),
            state: Some("CA".into()),
            zip: Some("90277".into()),
            country: "US".into(),
            phone: None,
            email: None,
        }
    }

    fn read(verdict: &Value) -> Vec<String> {
        let body = json!({"id": "adr_1", "verifications": {"delivery": verdict}}).to_string();
        let said = faults(&address(), body.as_bytes()).unwrap();
        said.into_iter().map(|fault| fault.text).collect()
    }

    #[test]
    fn s05_faults_are_read_as_objects_and_as_sentences() {
        let objects = json!([{"code": "E.ADDRESS.NOT_FOUND", "field": "address", "message": "Address not found"},
                             {"field": "street1", "message": "House number is missing"}]);
        assert_eq!(
            read(&json!({"success": false, "errors": objects})),
            ["address: E.ADDRESS.NOT_FOUND", "street1: House number is missing"]
        );
        let sentences = json!(["Address not found", "No house 179 in Harbor Dr, 90277"]);
        assert_eq!(
            read(&json!({"success": false, "errors": sentences})),
            ["Address not found", "withheld, it quotes the address"]
        );
        assert_eq!(read(&json!({"success": false})), ["no reason given"]);
    }

    #[test]
    fn an_address_of_which_nothing_bad_is_said_is_taken() {
        assert!(read(&json!({"success": true, "errors": []})).is_empty());
        assert!(read(&Value::Null).is_empty());
        assert!(faults(&address(), b"<html>").is_err());
    }
}
