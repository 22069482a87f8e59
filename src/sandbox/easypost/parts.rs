//! What a shipment is made of besides its addresses: the parcel, the customs papers, the options, with EasyPost's own
//! fields beside the caller's.

use serde_json::{Value, json};

use crate::sandbox::world::fresh_id;

/// The parcel as EasyPost shows it.
pub(super) fn parcel(given: &Value, at: &str) -> Value {
    let empty = json!({"length": null, "width": null, "height": null, "predefined_package": null});
    part("prcl_", "Parcel", empty, given, at)
}

/// The customs papers, or null where none were given.
pub(super) fn customs(given: &Value, at: &str) -> Value {
    if !given.is_object() {
        return Value::Null;
    }
    let empty = json!({"declaration": null, "restriction_comments": null, "restriction_type": "none", "eel_pfc": null});
    let mut papers = part("cstinfo_", "CustomsInfo", empty, given, at);
    let items = given["customs_items"].as_array().cloned().unwrap_or_default();
    papers["customs_items"] = items.iter().map(|item| customs_item(item, at)).collect();
    papers
}

fn customs_item(given: &Value, at: &str) -> Value {
    let empty = json!({
        "code": null, "currency": null, "eccn": null, "manufacturer": null, "printed_commodity_identifier": null,
    });
    let mut item = part("cstitem_", "CustomsItem", empty, given, at);
    // EasyPost shows money as a string, however it came.
    if let Some(value) = given["value"].as_number() {
        item["value"] = json!(value.to_string());
    }
    item
}

/// The options, with those that EasyPost adds.
pub(super) fn options(given: &Value) -> Value {
    let mut options = json!({"currency": "USD", "payment": {"type": "SENDER"}, "date_advance": 0});
    overlay(&mut options, given);
    options
}

/// `empty` with what the caller gave over it, and what EasyPost gives every object over both.
fn part(prefix: &str, object: &str, mut empty: Value, given: &Value, at: &str) -> Value {
    overlay(&mut empty, given);
    let own = json!({
        "id": fresh_id(prefix), "object": object, "mode": "test", "created_at": at, "updated_at": at,
    });
    overlay(&mut empty, &own);
    empty
}

fn overlay(under: &mut Value, over: &Value) {
    for (name, value) in over.as_object().into_iter().flatten() {
        under[name] = value.clone();
    }
}
