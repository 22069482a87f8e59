//! The routes of shipments: each is one change of the books.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::error::EasypostError;
use super::shipment::Shipment;
use super::tracker::Tracker;
use super::{address, parse, parts, stamp, trackers};
use crate::ids::random_bytes;
use crate::sandbox::books::{Books, State as Known};
use crate::sandbox::truth::Fact;
use crate::sandbox::world::{World, fresh_id};

type Answer = Result<Json<Value>, EasypostError>;

/// `POST /v2/shipments`: a new one every time, with its offers.
pub(super) async fn create(
    State(world): State<Arc<World>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), EasypostError> {
    let given = parse(&body)?;
    let given = &given["shipment"];
    if given.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(EasypostError::required("shipment"));
    }
    for field in ["to_address", "from_address", "parcel"] {
        if !given[field].is_object() {
            return Err(EasypostError::required(field));
        }
    }
    if given["parcel"]["weight"].as_f64().is_none_or(|weight| weight <= 0.0) {
        return Err(EasypostError::required("weight"));
    }
    world.change(|books, now| {
        let shipment = shape(books, given, now)?;
        books.record(now, Fact::Shipment(Box::new(shipment.clone())));
        Ok((StatusCode::CREATED, Json(shipment.body(None))))
    })
}

fn shape(books: &Books, given: &Value, now: DateTime<Utc>) -> Result<Shipment, EasypostError> {
    let at = stamp(now);
    let mut shipment = Shipment {
        id: fresh_id("shp_"),
        created_at: at.clone(),
        reference: given["reference"].as_str().map(str::to_owned),
        to: address::of_shipment(books, &given["to_address"], now)?,
        from: address::of_shipment(books, &given["from_address"], now)?,
        parcel: parts::parcel(&given["parcel"], &at),
        customs: parts::customs(&given["customs_info"], &at),
        options: parts::options(&given["options"]),
        rates: Vec::new(),
        messages: json!([]),
        purchase: None,
        refund: None,
    };
    shipment.rate(&at);
    Ok(shipment)
}

/// `GET /v2/shipments/{id}`. A carrier that was asked for a refund has answered by then.
pub(super) async fn retrieve(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    world.change(|books, now| {
        let mut shipment = find(&books.state, &id)?.clone();
        if shipment.answer_refund() {
            books.record(now, Fact::Shipment(Box::new(shipment.clone())));
        }
        Ok(Json(shipment.body(tracker_of(&books.state, &shipment))))
    })
}

/// `POST …/buy`: the label; its tracker follows at once.
pub(super) async fn buy(State(world): State<Arc<World>>, Path(id): Path<String>, body: Bytes) -> Answer {
    let given = parse(&body)?;
    let rate = given["rate"]["id"].as_str().ok_or_else(|| EasypostError::required("rate"))?;
    world.change(|books, now| {
        let mut shipment = find(&books.state, &id)?.clone();
        address::verify_for_label(&mut shipment.to);
        let insurance = given["insurance"].as_str();
        shipment.buy(rate, (fresh_id("pl_"), tracking_code()), insurance, &stamp(now))?;
        books.record(now, Fact::Shipment(Box::new(shipment.clone())));
        // The answer shows the tracker as it is before the carrier knows of the parcel; what follows comes by webhook.
        let tracker = trackers::follow(books, &shipment, now);
        Ok(Json(shipment.body(tracker.as_ref())))
    })
}

/// `POST …/rerate`: new offers instead of the old.
pub(super) async fn rerate(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    world.change(|books, now| {
        let mut shipment = find(&books.state, &id)?.clone();
        shipment.rate(&stamp(now));
        books.record(now, Fact::Shipment(Box::new(shipment.clone())));
        Ok(Json(json!({"rates": shipment.rate_bodies()})))
    })
}

/// `POST …/refund` (the older clients GET it).
pub(super) async fn refund(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    world.change(|books, now| {
        let mut shipment = find(&books.state, &id)?.clone();
        shipment.ask_refund()?;
        books.record(now, Fact::Shipment(Box::new(shipment.clone())));
        Ok(Json(shipment.body(tracker_of(&books.state, &shipment))))
    })
}

fn find<'a>(known: &'a Known, id: &str) -> Result<&'a Shipment, EasypostError> {
    known.shipments.get(id).ok_or_else(EasypostError::missing)
}

fn tracker_of<'a>(known: &'a Known, shipment: &Shipment) -> Option<&'a Tracker> {
    let code = &shipment.purchase.as_ref()?.tracking_code;
    known.trackers.get(known.tracker_of.get(code)?)
}

/// A number as USPS makes them: 94001 and 17 digits.
fn tracking_code() -> String {
    let number = u64::from_le_bytes(random_bytes()) % 100_000_000_000_000_000;
    format!("94001{number:017}")
}
