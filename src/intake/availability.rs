//! `GET /v1/availability`: how many pieces could be had a moment ago, for a page that shows articles.
//!
//! Advisory: nothing is held by asking, and whoever orders is judged by the stock itself. It reads rows by their key and
//! locks nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Door;
use super::order_views::pairs;
use super::problem::Problem;
use crate::auth::Action;
use crate::domain::fault::{Fault, FaultCode, Faults};

/// Articles of one question: a page of a shop shows fewer, and a cart has a hundred lines.
const MOST: usize = 100;
/// What a browser or proxy may show again: by the next second it may be wrong anyway.
const KEEP: &str = "private, max-age=1";

pub(super) async fn show(
    State(door): State<Arc<Door>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = door.authenticate(&headers)?;
    super::require(&caller, Action::ReadStock)?;
    let skus = read(&pairs(query.as_deref())).map_err(Problem::faults)?;
    let left = door.store.within(door.store.left(&skus)).await?;
    let sold = door.snapshots.catalogue();
    let item = |sku: &String| -> Value {
        let row = left.iter().find(|left| left.sku == *sku);
        // Not known yet what is sold: what there is.
        let is_sold = sold.as_ref().map_or(row.is_some(), |catalogue| catalogue.skus.contains(sku));
        let available = row.filter(|_| is_sold).map_or(0, |row| row.available.max(0));
        json!({ "sku": sku, "available": available, "is_sold": is_sold })
    };
    let items: Vec<Value> = skus.iter().map(item).collect();
    let body = json!({ "items": items, "as_of": door.clock.now() });
    Ok(([(CACHE_CONTROL, KEEP)], Json(body)).into_response())
}

/// The articles that are asked for, each once; or every fault.
fn read(pairs: &[(String, String)]) -> Result<Vec<String>, Vec<Fault>> {
    let mut faults = Faults::default();
    let mut skus = BTreeSet::new();
    for (name, value) in pairs {
        if name == "sku" {
            skus.extend(faults.text(&Value::from(value.as_str()), "sku", 64).map(str::to_owned));
        } else {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            faults.note(shown, FaultCode::UnknownField, "there is no such parameter");
        }
    }
    if !pairs.iter().any(|(name, _)| name == "sku") {
        faults.note("sku", FaultCode::Missing, "is required, once for each article");
    }
    if skus.len() > MOST {
        faults.note("sku", FaultCode::TooMany, format!("may be given {MOST} times"));
    }
    let faults = faults.list();
    if faults.is_empty() { Ok(skus.into_iter().collect()) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(query: &str) -> Vec<String> {
        let read = read(&pairs(Some(query)));
        read.err().unwrap_or_default().into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn articles_are_asked_for_once_each_and_every_fault_is_named() {
        assert_eq!(read(&pairs(Some("sku=B&sku=A&sku=B"))), Ok(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(faults(""), ["sku"]);
        assert_eq!(faults("sku=&colour=blue"), ["sku", "colour"]);
        let many = (0..=MOST).map(|at| format!("sku=S{at}")).collect::<Vec<_>>().join("&");
        assert_eq!(faults(&many), ["sku"]);
    }
}
