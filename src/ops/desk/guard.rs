//! Who asks, and whether they may.
//!
//! Keys are looked up in Postgres each time, so that a revoked one opens nothing from that moment on; operators are few, and
//! those who guess are counted ([`super::tries`]).
//! Where Postgres is away nobody is let in: the commands on the machines themselves need no key.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Desk;
use super::problem::{Code, Problem};
use crate::auth::{self, Action, Reach, Role};
use crate::ids::ApiKeyId;
use crate::store::access::StoredKey;

/// Somebody of the staff.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    /// What their key is called.
    pub(super) name: String,
    /// What they may do.
    pub(super) role: Role,
    /// Their key.
    pub(super) key: ApiKeyId,
    /// Whose staff.
    pub(super) tenant: String,
}

impl Operator {
    /// Who does it, as the record keeps it: the role and the key.
    pub(super) fn actor(&self) -> String {
        format!("{}:{}", self.role, self.key)
    }

    /// Whether they may do this everywhere.
    pub(super) fn may(&self, action: Action) -> bool {
        self.role.reach(action) == Reach::All
    }

    /// Refuses them without the right.
    pub(super) fn require(&self, action: Action) -> Result<(), Problem> {
        if self.may(action) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, format!("the role {} may not do this", self.role)))
    }
}

impl Desk {
    /// Lets a key's holder in, where it is one of the staff that operates the fleet.
    pub(super) fn admit(&self, key: StoredKey) -> Result<Operator, Problem> {
        let StoredKey { id, tenant, name, role, .. } = key;
        let operator = Operator { name, role, key: id, tenant };
        operator.require(Action::ReadFleet)?;
        if operator.tenant != self.settings.ops.tenant {
            let detail =
                "this key is of another shop than the one whose staff operates the fleet (ops.tenant)";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        Ok(operator)
    }
}

impl FromRequestParts<Arc<Desk>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let hash = header.and_then(auth::bearer).ok_or_else(|| {
            Problem::new(Code::Unauthenticated, "send Authorization: Bearer and an API key of the staff")
        })?;
        let ConnectInfo(peer) = ConnectInfo::<SocketAddr>::from_request_parts(parts, desk)
            .await
            .map_err(|_| Problem::new(Code::Internal, "nobody knows where this request comes from"))?;
        let address = desk.comes_from(peer, &parts.headers);
        desk.admit(desk.shown(address, Some(hash)).await?)
    }
}
