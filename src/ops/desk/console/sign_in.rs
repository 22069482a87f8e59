//! Signing in with an API key, and out again, both written down. Failures are counted (see `desk/tries.rs`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::session::{self, Posted, Session};
use crate::auth::{self, KeyHash};
use crate::ops::desk::Desk;
use crate::ops::desk::guard::Operator;
use crate::ops::desk::problem::{Code, Problem};
use crate::store::{StoreError, access, actions};

#[derive(Deserialize)]
pub(super) struct Wanted {
    to: Option<String>,
}

pub(super) async fn page(State(desk): State<Arc<Desk>>, Query(Wanted { to }): Query<Wanted>) -> Html<String> {
    desk.sign_in_page(&own(to.as_deref()), "")
}

pub(super) async fn enter(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let address = desk.comes_from(peer, request.headers());
    let fields = session::form(request, &desk).await?;
    let field =
        |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let to = own(field("to"));
    let hash = auth::bearer(&format!("Bearer {}", field("key").unwrap_or_default().trim()));
    match desk.entered(address, hash).await {
        Ok(operator) => {
            let actor = operator.actor();
            desk.store.within(desk.store.note(&actor, "sign_in", &json!({}))).await?;
            tracing::info!(actor, "signed in");
            let cookie = desk.cookie(Some(&Session::begin(operator.key)));
            Ok(([(SET_COOKIE, cookie)], Redirect::to(&to)).into_response())
        }
        Err(problem) if problem.status().is_server_error() => Err(problem),
        Err(problem) => {
            let why = format!("Not signed in: {}.", problem.detail);
            let is_barred = problem.code == Code::TooManyTries;
            let status = if is_barred { problem.status() } else { StatusCode::UNAUTHORIZED };
            Ok((status, desk.sign_in_page(&to, &why)).into_response())
        }
    }
}

/// Ends the session everywhere, not in this browser alone.
pub(super) async fn leave(State(desk): State<Arc<Desk>>, posted: Posted) -> Result<Response, Problem> {
    let (actor, session) = (posted.visitor.operator.actor(), &posted.visitor.session);
    let ended = async {
        let mut tx = desk.store.begin().await?;
        access::end_session(&mut tx, session.name(), session.until()).await?;
        actions::note(&mut tx, &actor, "sign_out", &json!({})).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(())
    };
    desk.store.within(ended).await?;
    tracing::info!(actor, "signed out");
    Ok(([(SET_COOKIE, desk.cookie(None))], Redirect::to("/sign-in")).into_response())
}

impl Desk {
    /// Whom this key lets in. Whoever it does not is counted, also where the key is one of ours.
    async fn entered(&self, address: IpAddr, key: Option<KeyHash>) -> Result<Operator, Problem> {
        let key = self.shown(address, key).await?;
        match self.admit(key) {
            Ok(operator) => Ok(operator),
            Err(problem) => Err(self.failed(address, problem).await),
        }
    }

    fn sign_in_page(&self, to: &str, why: &str) -> Html<String> {
        self.pages.render("sign_in.html", &json!({ "page": "sign_in", "to": to, "why": why })).1
    }
}

/// A page of ours to go on to: a path, and nothing that a browser takes for another host.
fn own(to: Option<&str>) -> String {
    let is_own = |to: &&str| {
        to.starts_with('/')
            && !to[1..].starts_with(['/', '\\'])
            && to.chars().all(|letter| letter.is_ascii_graphic())
    };
    to.filter(is_own).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_a_page_of_ours_or_to_the_first() {
        assert_eq!(own(Some("/dead/list?fingerprint=a%3Ab")), "/dead/list?fingerprint=a%3Ab");
        for elsewhere in
            ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "", "/a b", "/a\n"]
        {
            assert_eq!(own(Some(elsewhere)), "/", "{elsewhere:?}");
        }
    }
}
