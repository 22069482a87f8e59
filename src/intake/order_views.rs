//! `GET /v1/orders` and `GET /v1/orders/{id}`: a customer sees their own orders, a vendor its own lines, staff all of the
//! shop's. What one may not see does not exist for them.
//!
//! A customer is not told who of the staff did what and why, a vendor neither who bought it nor what was paid, staff that only
//! looks not who bought it. What a new field shows to whom is decided where it is written.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Door;
use super::problem::{Code, Problem};
use crate::auth::{Action, Principal, Reach, Role};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::order::Vocabulary;
use crate::domain::order::search::{self, Search};
use crate::ids::OrderId;
use crate::store::StoreError;
use crate::store::order_details::{Details, Event, Item, Shipment};
use crate::store::order_pages::{Head, Visible};

/// What somebody reads in an order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Staff,
    Customer,
    Vendor,
}

/// A caller, and which orders are theirs to see.
struct Asked {
    reader: Reader,
    visible: Visible,
}

impl Door {
    fn reader(&self, headers: &HeaderMap) -> Result<Asked, Problem> {
        let caller = self.authenticate(headers)?;
        let reach = super::require(&caller, Action::ReadOrder)?;
        let Principal { tenant, role, subject, .. } = caller;
        let nobody = || Problem::new(Code::Forbidden, "this credential does not say for whom it acts");
        let (reader, customer, vendor) = match (reach, role) {
            (Reach::All, _) => (Reader::Staff, None, None),
            (_, Role::Vendor) => (Reader::Vendor, None, Some(subject.ok_or_else(nobody)?)),
            (..) => (Reader::Customer, Some(subject.ok_or_else(nobody)?), None),
        };
        let persons = role.may(Action::ReadPerson);
        Ok(Asked { reader, visible: Visible { tenant, customer, vendor, persons } })
    }
}

/// `GET /v1/orders`.
pub(super) async fn list(
    State(door): State<Arc<Door>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = door.reader(&headers)?;
    let search = Search::read(&pairs(query.as_deref()));
    let after = cursor(&search);
    let (search, after) = both(search, after).map_err(Problem::faults)?;
    let read = async {
        let page = door.store.order_page(&asked.visible, &search, after).await?;
        let ids: Vec<OrderId> = page.heads.iter().map(|head| head.id).collect();
        let items = door.store.order_items(&ids).await?;
        Ok::<_, StoreError>((page, items))
    };
    let (page, mut items) = door.store.within(read).await?;
    let orders = page.heads.iter().map(|head| {
        let of_order = items.extract_if(.., |item| item.order == head.id.uuid()).collect();
        summary(&asked, head, of_order, search.vocabulary)
    });
    let orders: Vec<Value> = orders.collect();
    let next = page.next.map(|order| URL_SAFE_NO_PAD.encode(order.uuid()));
    Ok(fresh(json!({ "orders": orders, "next_cursor": next })))
}

/// `GET /v1/orders/{id}`.
pub(super) async fn show(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = door.reader(&headers)?;
    let unknown = |detail| Problem::new(Code::UnknownOrder, detail);
    let order: OrderId = id
        .ok()
        .and_then(|Path(id)| id.parse().ok())
        .ok_or_else(|| unknown("an order's id is ord_ and 26 letters or digits"))?;
    let vocabulary = search::vocabulary(&pairs(query.as_deref())).map_err(Problem::faults)?;
    let found = door.store.within(door.store.order_details(&asked.visible, order)).await?;
    let details = found.ok_or_else(|| unknown("there is no such order, or none that you may see"))?;
    let version = format!("\"{}\"", details.head.version);
    Ok(([(ETAG, version)], fresh(whole(&asked, details, vocabulary))).into_response())
}

/// An answer that is true now and belongs to one caller.
fn fresh(body: Value) -> Response {
    ([(CACHE_CONTROL, "private, no-store")], Json(body)).into_response()
}

pub(super) fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// Where the last page ended.
fn cursor(search: &Result<Search, Vec<Fault>>) -> Result<Option<OrderId>, Vec<Fault>> {
    let Some(text) = search.as_ref().ok().and_then(|search| search.cursor.as_ref()) else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let order = bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok()).map(OrderId::from);
    order.map(Some).ok_or_else(|| {
        let detail = "must be the next_cursor of an answer, as it was".to_owned();
        vec![Fault { field: "cursor".to_owned(), code: FaultCode::UnknownValue, detail }]
    })
}

/// What a list tells of an order.
fn summary(asked: &Asked, head: &Head, items: Vec<Item>, vocabulary: Vocabulary) -> Value {
    let mut shown = json!({
        "order_id": head.id, "order_number": head.number, "status": vocabulary.word(head.status, head.resumes),
        "fulfilment_status": head.fulfilment, "priority": head.priority, "currency": head.currency,
        "created_at": head.created_at, "updated_at": head.updated_at, "version": head.version,
        "items": lines(asked, items),
    });
    if asked.reader == Reader::Vendor {
        return shown;
    }
    shown["intent_id"] = json!(head.intent);
    shown["cart_id"] = json!(head.cart);
    shown["customer_id"] = json!(head.customer_id);
    shown["payment_status"] = json!(head.payment);
    shown["resume_to"] = json!(head.resumes.map(|status| vocabulary.word(status, None)));
    shown["cancel_reason"] = json!(head.cancel_reason);
    shown["cancel_requested"] = json!(head.cancel_requested);
    shown["payable_until"] = json!(head.payable_until);
    shown["totals"] = json!(head.money);
    shown
}

/// A vendor's lines are its own.
fn lines(asked: &Asked, items: Vec<Item>) -> Vec<Item> {
    let theirs = |item: &Item| asked.visible.vendor.as_ref().is_none_or(|vendor| item.vendor == *vendor);
    items.into_iter().filter(theirs).collect()
}

fn whole(asked: &Asked, details: Details, vocabulary: Vocabulary) -> Value {
    let mut shown = summary(asked, &details.head, details.items, vocabulary);
    let is_staff = asked.reader == Reader::Staff;
    let public = |event: Event| if is_staff { event } else { Event { actor: None, cause: None, ..event } };
    shown["events"] = details.events.into_iter().map(public).map(|event| json!(event)).collect();
    if asked.reader == Reader::Vendor {
        return shown;
    }
    shown["shipping_method"] = json!(details.person.shipping_method);
    if asked.visible.persons {
        shown["customer"] = details.person.customer;
        shown["shipping_address"] = details.person.shipping_address;
        shown["billing_address"] = json!(details.person.billing_address);
        shown["metadata"] = details.person.metadata;
    }
    shown["payments"] = json!(details.payments);
    shown["refunds"] = json!(details.refunds);
    // A label's picture shows the address.
    let prints = is_staff && asked.visible.persons;
    let printed = |parcel: Shipment| if prints { parcel } else { Shipment { label_url: None, ..parcel } };
    shown["shipments"] = details.shipments.into_iter().map(printed).map(|parcel| json!(parcel)).collect();
    shown["mails"] = json!(details.mails);
    if is_staff {
        shown["disputes"] = json!(details.disputes);
        shown["exceptions"] = json!(details.exceptions);
        shown["timeline"] = json!(details.timeline);
        shown["open"] = json!(details.open);
    }
    shown
}

/// Both, or the faults of both.
fn both<A, B>(one: Result<A, Vec<Fault>>, other: Result<B, Vec<Fault>>) -> Result<(A, B), Vec<Fault>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(faults), Ok(_)) | (Ok(_), Err(faults)) => Err(faults),
        (Err(one), Err(other)) => Err([one, other].concat()),
    }
}
