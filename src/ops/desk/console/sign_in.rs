//! Signing in with an API key, and out again. Tries from one address are counted, for all processes together.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::session::{self, Posted, Session};
use crate::auth;
use crate::ops::desk::Desk;
use crate::ops::desk::problem::Problem;
use crate::queue::Allowance;

/// Tries a minute from one address: nobody guesses 256 bits, and nobody types a key more often.
const TRIES: Allowance = Allowance { a_minute: 10 };
/// Bits of an IPv6 address that tell one site from another; the rest is theirs to choose.
const SITE_BITS: u32 = 64;

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
    let fields = session::form(request, &desk).await?;
    let field =
        |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let to = own(field("to"));
    let refused = |status: StatusCode, why: &str| Ok((status, desk.sign_in_page(&to, why)).into_response());
    // Not knowing (Redis is away) lets in: that is when somebody has to look.
    if let Ok(Some(wait)) = desk.queue.visit(&format!("ops-sign-in:{}", site(peer.ip())), TRIES, 0).await {
        let seconds = wait.as_secs() + 1;
        return refused(
            StatusCode::TOO_MANY_REQUESTS,
            &format!("Too many tries: come again in {seconds} s."),
        );
    }
    let hash = auth::bearer(&format!("Bearer {}", field("key").unwrap_or_default().trim()));
    let key = match hash {
        Some(hash) => desk.store.within(desk.store.live_key(hash)).await?,
        None => None,
    };
    match desk.admit(key) {
        Ok(operator) => {
            tracing::info!(actor = operator.actor(), "signed in");
            let cookie = desk.cookie(Some(&Session::begin(operator.key)));
            Ok(([(SET_COOKIE, cookie)], Redirect::to(&to)).into_response())
        }
        Err(problem) => {
            tracing::warn!(address = %peer.ip(), "a sign-in was refused");
            refused(StatusCode::UNAUTHORIZED, &format!("Not signed in: {}.", problem.detail))
        }
    }
}

pub(super) async fn leave(State(desk): State<Arc<Desk>>, posted: Posted) -> Response {
    tracing::info!(actor = posted.visitor.operator.actor(), "signed out");
    ([(SET_COOKIE, desk.cookie(None))], Redirect::to("/sign-in")).into_response()
}

impl Desk {
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

/// The network that counts as one.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> SITE_BITS << SITE_BITS).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
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
