//! Addresses: stored as they come, verified by what their street says.
//!
//! A street that contains `UNDELIVERABLE`, or none at all, cannot be verified, nor one that contains `NOWHERE`, of which the
//! faults are sentences and no objects; every other can.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::error::EasypostError;
use super::{parse, stamp};
use crate::sandbox::books::Books;
use crate::sandbox::truth::Fact;
use crate::sandbox::world::{World, fresh_id};

/// What an address may say; the rest of the shape is ours.
const FIELDS: &[&str] = &[
    "name",
    "company",
    "street1",
    "street2",
    "city",
    "state",
    "zip",
    "phone",
    "email",
    "federal_tax_id",
    "state_tax_id",
];

/// `POST /v2/addresses`: `verify` checks softly, `verify_strict` refuses what can't be verified.
pub(super) async fn create(
    State(world): State<Arc<World>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), EasypostError> {
    let given = parse(&body)?;
    let wants = |flag: &str| {
        [&given, &given["address"]].iter().any(|part| !matches!(part[flag], Value::Null | Value::Bool(false)))
    };
    let address = given.get("address").filter(|address| address.is_object());
    let address = address.ok_or_else(|| EasypostError::required("address"))?;
    let (soft, strict) = (wants("verify"), wants("verify_strict"));
    if strict && let Some(errors) = faults(address) {
        return Err(EasypostError::undeliverable(errors));
    }
    let body = store(&world, address, soft || strict);
    Ok((StatusCode::CREATED, Json(body)))
}

/// `POST /v2/addresses/create_and_verify`.
pub(super) async fn create_and_verify(
    State(world): State<Arc<World>>,
    body: Bytes,
) -> Result<Json<Value>, EasypostError> {
    let given = parse(&body)?;
    let address = &given["address"];
    if let Some(errors) = faults(address) {
        return Err(EasypostError::undeliverable(errors));
    }
    Ok(Json(json!({"address": store(&world, address, true)})))
}

/// `GET /v2/addresses/{id}`.
pub(super) async fn retrieve(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, EasypostError> {
    world.books().state.addresses.get(&id).cloned().map(Json).ok_or_else(EasypostError::missing)
}

/// `GET /v2/addresses/{id}/verify`.
pub(super) async fn verify(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, EasypostError> {
    let mut address = world.books().state.addresses.get(&id).cloned().ok_or_else(EasypostError::missing)?;
    if let Some(errors) = faults(&address) {
        return Err(EasypostError::undeliverable(errors));
    }
    address["verifications"] = verifications(&address);
    Ok(Json(json!({"address": address})))
}

fn store(world: &Arc<World>, given: &Value, verified: bool) -> Value {
    world.change(|books, now| {
        let mut body = shape(given, now);
        if verified {
            body["verifications"] = verifications(given);
        }
        let id = body["id"].as_str().unwrap_or_default().to_owned();
        books.record(now, Fact::Address { id, body: body.clone() });
        body
    })
}

/// The address that a shipment names: a stored one by id, or a new one.
pub(super) fn of_shipment(books: &Books, given: &Value, now: DateTime<Utc>) -> Result<Value, EasypostError> {
    match given["id"].as_str() {
        Some(id) => books.state.addresses.get(id).cloned().ok_or_else(EasypostError::missing),
        None => Ok(shape(given, now)),
    }
}

/// Buying a label verifies where it goes.
pub(super) fn verify_for_label(address: &mut Value) {
    address["verifications"] = verifications(address);
    address["residential"] = json!(false);
}

fn shape(given: &Value, now: DateTime<Utc>) -> Value {
    let mut body = json!({
        "id": fresh_id("adr_"), "object": "Address", "mode": "test", "created_at": stamp(now), "updated_at": stamp(now),
        "country": given["country"].as_str().unwrap_or("US"), "carrier_facility": null, "residential": null,
        "verifications": {},
    });
    for field in FIELDS {
        body[*field] = given[*field].clone();
    }
    body
}

fn faults(address: &Value) -> Option<Value> {
    let street = address["street1"].as_str().unwrap_or_default();
    if street.to_uppercase().contains("NOWHERE") {
        return Some(json!(["Address not found"]));
    }
    (street.is_empty() || street.to_uppercase().contains("UNDELIVERABLE")).then(|| {
        json!([
            {"code": "E.ADDRESS.NOT_FOUND", "field": "address", "message": "Address not found", "suggestion": null},
            {"code": "E.HOUSE_NUMBER.MISSING", "field": "street1", "message": "House number is missing", "suggestion": null},
        ])
    })
}

fn verifications(address: &Value) -> Value {
    let verdict = match faults(address) {
        Some(errors) => json!({"success": false, "errors": errors, "details": {}}),
        // Nobody here knows where on earth it is.
        None => json!({
            "success": true, "errors": [], "details": {"latitude": null, "longitude": null, "time_zone": null},
        }),
    };
    json!({"zip4": verdict, "delivery": verdict})
}
