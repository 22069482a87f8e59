//! A signed-in browser: a sealed cookie that names a key, and the token that its forms carry.
//!
//! The process remembers nobody: the cookie holds the key's id, an end and a random name, sealed under a key derived from
//! the installation's secret, so that any process of the role reads it and a restart signs nobody out. The API key itself
//! is in no cookie. Each request looks the key up again: revoked, it opens nothing. Signing out takes the cookie from the
//! browser and ends the session by its name, so that a copy of the cookie opens nothing either.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ring::digest::{SHA256, digest};
use uuid::Uuid;

use crate::ids::{ApiKeyId, random_bytes};
use crate::ops::desk::Desk;
use crate::ops::desk::guard::Operator;
use crate::ops::desk::problem::{Code, Problem};
use crate::time::Clock;

/// Seconds that a sign-in holds: a shift.
const SHIFT: i64 = 8 * 3_600;
/// Bytes of a session's random name.
const NAME: usize = 16;

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    name: [u8; NAME],
    key: ApiKeyId,
    until: i64,
}

impl Session {
    /// A new one for the holder of this key.
    pub(super) fn begin(key: ApiKeyId) -> Self {
        Self { name: random_bytes::<NAME>(), key, until: Clock::real().unix_seconds() + SHIFT }
    }

    fn bytes(&self) -> Vec<u8> {
        [self.name.as_slice(), self.key.uuid().as_bytes(), &self.until.to_be_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (name, rest) = bytes.split_first_chunk::<NAME>()?;
        let (key, until) = rest.split_first_chunk::<16>()?;
        let until = i64::from_be_bytes(until.try_into().ok()?);
        Some(Self { name: *name, key: Uuid::from_bytes(*key).into(), until })
    }

    /// What it is known by where it was ended.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// When it ends by itself.
    pub(super) fn until(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.until, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// What forms of this session carry: nobody else can know it, because its name is in the sealed cookie alone.
    pub(super) fn token(&self) -> String {
        let hashed = digest(&SHA256, &[b"csrf".as_slice(), &self.name].concat());
        URL_SAFE_NO_PAD.encode(hashed)
    }
}

impl Desk {
    fn cookie_name(&self) -> &'static str {
        // With this prefix browsers take it from TLS alone, and from this host alone.
        if self.settings.ops.tls_in_front { "__Host-orderfleet" } else { "orderfleet" }
    }

    /// The header that signs a browser in, or out where there is no session.
    pub(super) fn cookie(&self, session: Option<&Session>) -> HeaderValue {
        let (name, secure) =
            (self.cookie_name(), if self.settings.ops.tls_in_front { "; Secure" } else { "" });
        let value = session.map(|session| URL_SAFE_NO_PAD.encode(self.seal.seal(&session.bytes())));
        let age = if session.is_some() { SHIFT } else { 0 };
        let value = value.unwrap_or_default();
        let cookie = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
    }

    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == self.cookie_name())?;
        let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        let session = Session::read(&self.seal.open(&sealed).ok()?)?;
        (Clock::real().unix_seconds() < session.until).then_some(session)
    }
}

/// Somebody of the staff, in a browser.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) operator: Operator,
    pub(super) session: Session,
}

impl FromRequestParts<Arc<Desk>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Response> {
        let signs_in = || {
            let to = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            // A form that was posted can not be posted again by a link.
            let to = if parts.method == Method::GET { to } else { "/" };
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
            Redirect::to(&format!("/sign-in?{query}")).into_response()
        };
        let session = desk.session(&parts.headers).ok_or_else(signs_in)?;
        let key = desk.store.within(desk.store.live_key_of(session.key, session.name())).await;
        let key = key.map_err(|error| Problem::from(error).into_response())?.ok_or_else(signs_in)?;
        let operator = desk.admit(key).map_err(IntoResponse::into_response)?;
        Ok(Self { operator, session })
    }
}

/// A form that a page of ours posted.
pub(super) struct Posted {
    pub(super) visitor: Visitor,
    fields: Vec<(String, String)>,
}

impl Posted {
    /// The first value of a field; an empty one is none.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, value)| field == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a field.
    pub(super) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

impl FromRequest<Arc<Desk>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, desk: &Arc<Desk>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, desk).await?;
        let fields =
            form(Request::from_parts(parts, body), desk).await.map_err(IntoResponse::into_response)?;
        let posted = Self { visitor, fields };
        if posted.field("csrf") != Some(posted.visitor.session.token().as_str()) {
            let detail =
                "the form is not of this sign-in: load its page again, and repeat it. Nothing was changed";
            return Err(Problem::new(Code::Forbidden, detail).into_response());
        }
        Ok(posted)
    }
}

/// The fields of a form that a page of this very host posted.
pub(super) async fn form(request: Request, desk: &Arc<Desk>) -> Result<Vec<(String, String)>, Problem> {
    if !is_own(request.headers()) {
        let detail = "another site posted this form. Nothing was changed";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let body = Bytes::from_request(request, desk).await?;
    Ok(form_urlencoded::parse(&body).into_owned().collect())
}

/// Whether a browser says that a page of this host sent it. A browser that says nothing is stopped by the token.
fn is_own(headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    if let Some(site) = headers.get("sec-fetch-site").map(text) {
        return matches!(site.as_str(), "same-origin" | "none");
    }
    let (origin, host) = (headers.get(ORIGIN).map(text), headers.get(HOST).map(text).unwrap_or_default());
    origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, at)| at == host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_as_it_was_begun_and_its_token_is_its_own() {
        let (one, other) = (Session::begin(ApiKeyId::new()), Session::begin(ApiKeyId::new()));
        assert_eq!(Session::read(&one.bytes()), Some(one.clone()));
        assert_ne!(one.token(), other.token());
        assert_eq!(Session::read(&one.bytes()[..39]), None);
    }

    #[test]
    fn a_form_of_another_site_is_told_by_what_browsers_say() {
        let own = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            is_own(&headers.collect())
        };
        assert!(own(&[("sec-fetch-site", "same-origin")]) && own(&[]));
        assert!(own(&[("host", "ops.shop:9090"), ("origin", "https://ops.shop:9090")]));
        for other in [
            [("sec-fetch-site", "cross-site"), ("host", "ops.shop")],
            [("sec-fetch-site", "same-site"), ("host", "ops.shop")],
            [("origin", "https://evil.example"), ("host", "ops.shop")],
            [("origin", "null"), ("host", "ops.shop")],
        ] {
            assert!(!own(&other), "{other:?}");
        }
    }
}
