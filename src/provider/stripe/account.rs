//! What `doctor` asks of Stripe: whose key it is, where its events go, in which version, and what its clock says.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Stripe, refusal};
use crate::job::Dependency;
use crate::provider::{Call, CallError, Cause};

/// Endpoints that are looked at: Stripe allows sixteen for an account.
const MOST_ENDPOINTS: &str = "100";

/// What Stripe says of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `acct_…`.
    pub id: String,
    /// Whether it may take money.
    pub takes_money: bool,
    /// The API version in which it answered us.
    pub version: String,
    /// Its clock, to the second, where it told it.
    pub date: Option<DateTime<Utc>>,
}

/// Where Stripe sends events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// The address.
    pub url: String,
    /// The version of its snapshots; none is the account's own.
    pub api_version: Option<String>,
    /// `enabled`, or `disabled` by a person or after days of failures.
    pub status: String,
    /// The types that it gets; `*` is all.
    pub enabled_events: Vec<String>,
}

#[derive(Deserialize)]
struct AccountBody {
    id: String,
    #[serde(default)]
    charges_enabled: bool,
}

#[derive(Deserialize)]
struct EndpointList {
    data: Vec<Endpoint>,
}

impl Stripe {
    /// The API version that we ask for.
    #[must_use]
    pub fn version() -> String {
        stripe_client_core::VERSION.as_str().to_owned()
    }

    /// Whose key it is. A restricted key may not ask that, and is good all the same.
    pub async fn account(&self) -> Result<Account, CallError> {
        let (body, version, date) = self.look(["v1", "account"], &[]).await.map_err(failed)?;
        let account: AccountBody = read(&body).map_err(failed)?;
        Ok(Account { id: account.id, takes_money: account.charges_enabled, version, date })
    }

    /// Where its events go.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, CallError> {
        let page = [("limit", MOST_ENDPOINTS)];
        let (body, ..) = self.look(["v1", "webhook_endpoints"], &page).await.map_err(failed)?;
        let list: EndpointList = read(&body).map_err(failed)?;
        Ok(list.data)
    }

    async fn look(
        &self,
        path: [&str; 2],
        query: &[(&str, &str)],
    ) -> Result<(bytes::Bytes, String, Option<DateTime<Utc>>), Cause> {
        let wire = &self.wire;
        let mut url = wire.http.below(path);
        url.query_pairs_mut().extend_pairs(query);
        let request = wire
            .http
            .client()
            .get(url)
            .header("authorization", &wire.bearer)
            .header("stripe-version", &wire.version);
        let answer = wire.http.send(request).await?;
        if !answer.is_success() {
            return Err(refusal(&answer));
        }
        Ok((answer.body, answer.version.unwrap_or_default(), answer.date))
    }
}

fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Cause> {
    serde_json::from_slice(body).map_err(|error| Cause::Unreadable(error.to_string()))
}

fn failed(cause: Cause) -> CallError {
    CallError { to: Dependency::Stripe, call: Call::Look, cause }
}
