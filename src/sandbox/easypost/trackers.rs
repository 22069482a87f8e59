//! The routes of trackers, and how a parcel moves: after a purchase at once, later on the control's word.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::error::EasypostError;
use super::parse;
use super::shipment::Shipment;
use super::tracker::Tracker;
use crate::sandbox::books::Books;
use crate::sandbox::truth::Fact;
use crate::sandbox::webhooks::{About, Event};
use crate::sandbox::world::{World, fresh_id};

/// EasyPost's own page.
const PAGE: usize = 30;

type Answer = Result<Json<Value>, EasypostError>;

/// EasyPost's test codes, by their first digit after `EZ`.
const TEST_CODES: &[(&str, &str)] = &[
    ("EZ1000000001", "pre_transit"),
    ("EZ2000000002", "in_transit"),
    ("EZ3000000003", "out_for_delivery"),
    ("EZ4000000004", "delivered"),
    ("EZ5000000005", "return_to_sender"),
    ("EZ6000000006", "failure"),
    ("EZ7000000007", "unknown"),
];

/// `POST /v2/trackers`: a known code returns the tracker that there is.
pub(super) async fn create(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    let given = parse(&body)?;
    let given = &given["tracker"];
    let code = given["tracking_code"].as_str().ok_or_else(|| EasypostError::required("tracking_code"))?;
    let carrier = given["carrier"].as_str().unwrap_or("USPS");
    world.change(|books, now| {
        if let Some(known) = by_code(books, code) {
            return Ok(Json(known.body()));
        }
        let mut tracker = Tracker::new(code.to_owned(), carrier.to_owned(), None, now);
        let status =
            TEST_CODES.iter().find(|(known, _)| *known == code).map_or("unknown", |(_, status)| status);
        tracker.step(status, now);
        write(books, now, &tracker, None);
        Ok(Json(tracker.body()))
    })
}

/// `GET /v2/trackers/{id}`, by id or by tracking code.
pub(super) async fn retrieve(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    let books = world.books();
    let tracker = books.state.trackers.get(&id).or_else(|| by_code(&books, &id));
    tracker.map(|tracker| Json(tracker.body())).ok_or_else(EasypostError::missing)
}

/// `GET /v2/trackers`: newest first, or the one of `tracking_code`.
pub(super) async fn list(State(world): State<Arc<World>>, RawQuery(query): RawQuery) -> Json<Value> {
    let query = query.unwrap_or_default();
    let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "tracking_code");
    let books = world.books();
    let found: Vec<Value> = match code {
        Some((_, code)) => by_code(&books, &code).into_iter().map(Tracker::body).collect(),
        None => books.state.trackers.iter().rev().take(PAGE).map(Tracker::body).collect(),
    };
    let more = found.len() == PAGE;
    Json(json!({"trackers": found, "has_more": more}))
}

/// A label was bought: the tracker of its parcel, which the carrier knows at once and soon moves. Returns it as it is
/// at the purchase.
pub(super) fn follow(books: &mut Books, shipment: &Shipment, now: DateTime<Utc>) -> Option<Tracker> {
    let purchase = shipment.purchase.as_ref()?;
    let (code, carrier) = (purchase.tracking_code.clone(), purchase.rate.carrier.clone());
    let mut tracker = Tracker::new(code, carrier, Some(shipment.id.clone()), now);
    let bought = tracker.clone();
    tracker.step("pre_transit", now);
    write(books, now, &tracker, None);
    advance(books, now, &mut tracker, "in_transit");
    Some(bought)
}

/// Moves the parcel with this tracking code, on the control's word.
pub(crate) fn push(world: &Arc<World>, code: &str, status: &str) -> Answer {
    if !Tracker::knows(status) {
        return Err(EasypostError::unprocessable("TRACKER.STATUS.UNKNOWN", "EasyPost has no such status."));
    }
    world.change(|books, now| {
        let mut tracker = by_code(books, code).ok_or_else(EasypostError::missing)?.clone();
        advance(books, now, &mut tracker, status);
        Ok(Json(tracker.body()))
    })
}

fn by_code<'a>(books: &'a Books, code: &str) -> Option<&'a Tracker> {
    books.state.trackers.get(books.state.tracker_of.get(code)?)
}

fn advance(books: &mut Books, now: DateTime<Utc>, tracker: &mut Tracker, status: &str) {
    let before = tracker.status().to_owned();
    tracker.step(status, now);
    write(books, now, tracker, Some(before));
}

fn write(books: &mut Books, now: DateTime<Utc>, tracker: &Tracker, before: Option<String>) {
    books.record(now, Fact::Tracker(tracker.clone()));
    let kind = if before.is_some() { "tracker.updated" } else { "tracker.created" };
    books.notify(
        now,
        Event {
            id: fresh_id("evt_"),
            kind: kind.to_owned(),
            at: now,
            request: None,
            about: About::Tracker(Box::new(tracker.clone()), before),
        },
    );
}
