//! The web console: pages for the person on call, rendered here, with a few lines of script of their own.
//!
//! A page shows what the JSON shows and a form does what it does, by the same functions of the desk. Everything that a
//! browser needs is in the binary, and the policy that goes with each answer lets it load nothing else. Without script the
//! pages still work; only the overview no longer moves by itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::problem::{Code, Problem};
use crate::auth::Action;
use pages::Page;
pub(super) use pages::Pages;
use session::Visitor;

mod actions;
mod fleet;
mod letters;
mod live;
mod orders;
mod pages;
mod remedies;
mod session;
mod sign_in;

/// What a browser may load and do here: our own files, forms to ourselves, nothing inline, no frame around us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The pages' routes.
pub(super) fn router(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    Router::new()
        .route("/", get(fleet::overview))
        .route("/live", get(live::stream))
        .route("/lanes/{lane}", get(fleet::lane).post(fleet::change_lane))
        .route("/workers/drain", post(fleet::drain))
        .route("/jobs/{job}", get(fleet::job))
        .route("/doctor", get(fleet::doctor))
        .route("/settings", get(fleet::settings))
        .route("/dead", get(letters::groups))
        .route("/dead/list", get(letters::list))
        .route("/dead/act", post(letters::act))
        .route("/dead/{id}", get(letters::show).post(letters::edit))
        .route("/orders", get(orders::list))
        .route("/orders/{id}", get(orders::show))
        .route("/orders/{id}/act", post(remedies::act))
        .route("/stuck", get(orders::stuck))
        .route("/actions", get(actions::list))
        .route("/find", get(find))
        .route("/sign-in", get(sign_in::page).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/assets/console.css", get(async || asset("text/css", include_str!("console/console.css"))))
        .route(
            "/assets/console.js",
            get(async || asset("text/javascript", include_str!("console/console.js"))),
        )
        .route("/assets/icon.svg", get(async || asset("image/svg+xml", include_str!("console/icon.svg"))))
        .layer(axum::middleware::from_fn_with_state(desk.clone(), guarded))
}

/// A file of the binary. Its address carries the version, so that a day is not too long to keep it.
fn asset(kind: &'static str, text: &'static str) -> Response {
    let kind = format!("{kind}; charset=utf-8");
    ([(CONTENT_TYPE, kind.as_str()), (CACHE_CONTROL, "public, max-age=86400")], text).into_response()
}

/// Writes the policy on every answer, and shows a problem as a page.
async fn guarded(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let told = json!({ "page": "problem", "title": problem.title(), "detail": problem.detail });
        let (_, page) = desk.pages.render("problem.html", &told);
        response = (problem.status(), page).into_response();
    }
    let headers = response.headers_mut();
    let is_kept = headers.contains_key(CACHE_CONTROL);
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !is_kept {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

impl Desk {
    /// A page for a visitor: what every page knows, and these facts.
    fn page(&self, name: &str, visitor: &Visitor, facts: Value) -> Page {
        let operator = &visitor.operator;
        let mut all = json!({
            "page": name.trim_end_matches(".html"),
            "csrf": visitor.session.token(),
            "operator": {
                "name": operator.name, "role": operator.role.name(),
                "may_replay": operator.may(Action::ReplayDeadLetter), "may_drop": operator.may(Action::DropDeadLetter),
                "may_configure": operator.may(Action::Configure), "sees_persons": operator.may(Action::ReadPerson),
                "may_read_actions": operator.may(Action::ReadActions), "may_cancel": operator.may(Action::CancelOrder),
                "may_refund": operator.may(Action::Refund), "may_relabel": operator.may(Action::MoveOrder),
            },
        });
        if let (Some(all), Value::Object(facts)) = (all.as_object_mut(), facts) {
            all.extend(facts);
        }
        self.pages.render(name, &all)
    }
}

/// The same list, after this one of it.
fn following(query: Option<&str>, after: impl std::fmt::Display) -> String {
    let kept =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(|(name, _)| name != "after");
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("after", &after.to_string())
        .finish()
}

#[derive(Deserialize)]
struct Sought {
    #[serde(default)]
    id: String,
}

/// Leads from an id to its page.
async fn find(_visitor: Visitor, Query(Sought { id }): Query<Sought>) -> Result<Redirect, Problem> {
    let id = id.trim();
    let page = match id.split_once(['_', '-']).map(|(kind, _)| kind) {
        Some("ord" | "int" | "OF") => "orders",
        Some("job") => "jobs",
        Some("dead") => "dead",
        Some(_) | None => {
            let detail = "an order is found by ord_…, int_… or OF-…, a job by job_…, a dead letter by dead_…";
            return Err(Problem::new(Code::NotFound, detail));
        }
    };
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
    Ok(Redirect::to(&format!("/{page}/{id}")))
}
