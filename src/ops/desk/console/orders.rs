//! The pages of orders: looked for by the page, one with its money, stock, parcels, mails and jobs, and what is stuck.
//!
//! Who bought it is shown to those who pack and ship, which is written down, and to nobody else: nor do others find an order by
//! that.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::pages::Page;
use super::session::Visitor;
use crate::auth::Action;
use crate::domain::order::search::Search;
use crate::domain::order::{FulfilmentStatus, PaymentStatus, Status};
use crate::ids::OrderId;
use crate::ops::desk::Desk;
use crate::ops::desk::problem::{Code, Problem};
use crate::store::StoreError;
use crate::store::dead_letters::{Selection, State as Became};
use crate::store::order_details::Details;
use crate::store::order_pages::{Head, Visible};
use crate::store::timeline::OrderName;

/// Dead letters of one order that its page names: more have one cause.
const LETTERS: i64 = 20;

/// What the form asks for.
const SOUGHT: [&str; 6] =
    ["text", "status", "payment_status", "fulfilment_status", "created_from", "created_until"];

impl Visitor {
    fn visible(&self) -> Visible {
        let persons = self.operator.may(Action::ReadPerson);
        Visible { tenant: self.operator.tenant.clone(), customer: None, vendor: None, persons }
    }
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Page, Problem> {
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let mut sought: Value = SOUGHT.iter().map(|name| (*name, json!(""))).collect();
    for (name, value) in &pairs {
        sought[name] = json!(value);
    }
    let mut facts = json!({
        "sought": sought, "statuses": Status::ALL.map(Status::name),
        "payments": PaymentStatus::ALL.iter().map(|each| each.name()).collect::<Vec<_>>(),
        "fulfilments": FulfilmentStatus::ALL.iter().map(|each| each.name()).collect::<Vec<_>>(),
    });
    match Search::read(&pairs) {
        Ok(search) => {
            let after = search.cursor.as_deref().map(cursor).transpose()?;
            let page = desk.store.within(desk.store.order_page(&visitor.visible(), &search, after)).await?;
            facts["orders"] = page.heads.iter().map(head).collect();
            facts["next"] = json!(page.next.map(|order| following(&pairs, order)));
        }
        Err(faults) => facts["faults"] = json!(faults),
    }
    Ok(desk.page("orders.html", &visitor, facts))
}

fn cursor(text: &str) -> Result<OrderId, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let order = bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok()).map(OrderId::from);
    order.ok_or_else(|| Problem::new(Code::InvalidQuery, "the cursor is not one that a page of ours told"))
}

/// The same search, after this order.
fn following(pairs: &[(String, String)], after: OrderId) -> String {
    let kept = pairs.iter().filter(|(name, value)| name != "cursor" && !value.is_empty());
    let cursor = URL_SAFE_NO_PAD.encode(after.uuid());
    form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).append_pair("cursor", &cursor).finish()
}

fn head(head: &Head) -> Value {
    json!({
        "id": head.id, "number": head.number, "status": head.status.name(), "payment": head.payment,
        "fulfilment": head.fulfilment, "customer_id": head.customer_id, "currency": head.currency, "priority": head.priority,
        "money": head.money, "created_at": head.created_at, "intent": head.intent, "cancel_reason": head.cancel_reason,
        "resumes": head.resumes.map(Status::name), "payable_until": head.payable_until,
    })
}

/// What is stuck, by its reasons.
pub(super) async fn stuck(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Result<Page, Problem> {
    visitor.operator.require(Action::ReadOrder)?;
    let found = desk.stuck_soon().await?;
    let (seconds, is_old) = (found.since.elapsed().as_secs(), found.is_old());
    let reasons: Vec<Value> = found
        .what
        .chunk_by(|one, next| one.stuck.reason == next.stuck.reason)
        .filter_map(|lines| Some((lines, &lines.first()?.stuck)))
        .map(|(lines, first)| json!({ "name": first.reason, "of": first.of, "lines": lines }))
        .collect();
    let shown = json!({ "reasons": reasons, "seconds": seconds, "looks_again": is_old && seconds > 0 });
    Ok(desk.page("stuck.html", &visitor, shown))
}

pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Page, Problem> {
    let unknown =
        || Problem::new(Code::UnknownOrder, format!("there is no order {id}, or none of this shop"));
    let sees = visitor.operator.may(Action::ReadPerson);
    let read = async {
        let order = match OrderName::read(&id) {
            OrderName::Id(order) => Some(order),
            name @ (OrderName::Intent(_) | OrderName::Number(_)) => {
                desk.store.timeline(&name, Some(&visitor.operator.tenant)).await?.map(|found| found.order_id)
            }
        };
        let Some(order) = order else { return Ok(None) };
        let Some(details) = desk.store.order_details(&visitor.visible(), order).await? else {
            return Ok(None);
        };
        let of_order = Selection { order: Some(order), state: Became::Any, ..Selection::default() };
        let letters = desk.store.dead_letters(&of_order, None, LETTERS).await?;
        if sees {
            desk.store.note(&visitor.operator.actor(), "orders.show", &json!({ "order": order })).await?;
        }
        Ok::<_, StoreError>(Some((details, letters)))
    };
    let (details, letters) = desk.store.within(read).await?.ok_or_else(unknown)?;
    let Details {
        person,
        items,
        payments,
        refunds,
        disputes,
        shipments,
        mails,
        exceptions,
        timeline,
        open,
        trace_id,
        ..
    } = &details;
    let person = sees.then_some(person);
    let facts = json!({
        "order": head(&details.head), "items": items, "payments": payments, "refunds": refunds, "disputes": disputes,
        "shipments": shipments, "mails": mails, "exceptions": exceptions, "timeline": timeline, "open": open, "trace_id": trace_id,
        "person": person, "letters": letters,
    });
    Ok(desk.page("order.html", &visitor, facts))
}
