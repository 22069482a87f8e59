//! The operators' side of a house: asked with a key of the staff.

use metrics_exporter_prometheus::PrometheusBuilder;
use orderfleet::auth::{self, Role};
use orderfleet::roles;
use orderfleet::store::access::KeyToStore;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::House;

/// A running desk of a house.
pub(crate) struct Desk {
    client: reqwest::Client,
    pub(crate) url: String,
    /// Where its health and metrics are.
    pub(crate) health: String,
}

impl House {
    /// Opens the operators' side; it ends with the house.
    pub(crate) async fn open_desk(&self) -> Desk {
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let running =
            roles::start_ops(&self.settings, self.queue.clone(), Some(metrics), self.outside.clone())
                .await
                .unwrap();
        let url = format!("http://{}", running.address);
        let health = format!("http://{}", running.health_address.unwrap());
        self.tasks.spawn(running.finished());
        Desk { client: self.client.clone(), url, health }
    }

    /// A key of this role, of this tenant.
    pub(crate) async fn staff(&self, role: Role, tenant: &str) -> String {
        let key = auth::new_key();
        let (tenant, name) = (tenant.to_owned(), role.name().to_owned());
        let stored = KeyToStore { tenant, name, role, hash: key.hash, expires_at: None };
        self.store.create_key(&stored).await.unwrap();
        key.key.expose_secret().to_owned()
    }
}

impl Desk {
    /// What a holder of this key is told.
    pub(crate) async fn get(&self, who: &str, path: &str) -> (u16, Value) {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(who);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// What a holder of this key is told whom a proxy says to come from this address.
    pub(crate) async fn get_from(&self, who: &str, path: &str, address: &str) -> (u16, Value) {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(who);
        let answer = request.header("x-forwarded-for", address).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// What becomes of it when a holder of this key asks for it.
    pub(crate) async fn ask(&self, who: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let answer = request.bearer_auth(who).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}
