//! The front door, as a web tier meets it: wishes under a key, repeated until they are answered.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

/// The longest answer of the intake here: nobody asks it to wait.
const ANSWER: Duration = Duration::from_secs(20);
/// Between two tries of one client.
const AGAIN: Duration = Duration::from_millis(150);
/// Tries of one client until the proof is given up: minutes.
const TRIES: u32 = 1_000;

/// One shop's client of an intake; clones share its connections.
#[derive(Clone)]
pub struct Door {
    client: Client,
    address: SocketAddr,
    key: String,
}

impl Door {
    /// A client with an API key.
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        let client = Client::builder().timeout(ANSWER).no_proxy().build().unwrap();
        Self { client, address, key: key.to_owned() }
    }

    /// The same client at another intake.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Tells a sandbox what shall go wrong.
    pub(crate) async fn break_outside(&self, sandbox: SocketAddr, rules: &Value) {
        let request = self.client.post(format!("http://{sandbox}/_sandbox/faults"));
        assert!(request.json(rules).send().await.unwrap().status().is_success());
    }

    /// Whether the intake says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let asked = self.client.get(format!("http://{}/readyz", self.address)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// Sends a wish of its own, under this key, to an intake that may be dead.
    pub async fn wish(&self, key: &str) -> reqwest::Result<reqwest::Response> {
        let body = wish(key, "SUIT-42R");
        let request = self.client.post(format!("http://{}/v1/order-intents", self.address));
        request.bearer_auth(&self.key).header("Idempotency-Key", key).json(&body).send().await
    }

    /// Sends a wish until it is accepted, as a web tier must: 503 and a broken line mean "unknown". Answers its key.
    pub async fn accepted(&self, key: String) -> String {
        for _ in 0..TRIES {
            match self.wish(&key).await.map(|answer| answer.status()) {
                Ok(StatusCode::ACCEPTED | StatusCode::OK | StatusCode::CREATED) => return key,
                Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(_) => sleep(AGAIN).await,
                Ok(other) => panic!("{key} was answered {other}"),
            }
        }
        panic!("{key} was never answered");
    }
}

/// A wish for one piece of an article, in a cart and by a customer of its own.
pub fn wish(key: &str, article: &str) -> Value {
    json!({
        "cart_id": key,
        "customer": { "id": key, "email": "buyer@example.com", "name": "A Buyer", "phone": "+14155550123" },
        "currency": "USD",
        "lines": [{ "sku": article, "quantity": 1 }],
        "shipping_address": { "name": "A Buyer", "phone": "+14155550123", "address_line1": "388 Townsend St",
                              "city": "San Francisco", "state": "CA", "postal_code": "94107", "country": "US" },
    })
}
