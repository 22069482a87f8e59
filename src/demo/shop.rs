//! The demonstration's web tier: the HTTP calls of a shop and of its customers' browsers.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::ids::{OrderId, jitter};
use crate::roles::CommandError;
use crate::time::Stopwatch;

/// The longest answer: above the longest `Prefer: wait`.
const ANSWER: Duration = Duration::from_secs(40);
/// How long an answer is asked to be held.
const HOLD: &str = "wait=20";
/// The shortest pause before something is asked again.
const AGAIN: Duration = Duration::from_millis(150);
/// A new article is known at the door after one refresh of its snapshot; this many looks are plenty.
const KNOWN_LOOKS: usize = 60;

/// What became of one customer's wish.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// `paid`, `reserved`, or the code of a refusal.
    pub(super) status: String,
    /// The order, where there is one.
    pub(super) order: Option<OrderId>,
    /// From the first POST to `reserved` with its secret.
    pub(super) reserved_after: Option<Duration>,
}

/// The web tier.
pub(super) struct Shop {
    client: Client,
    intents: String,
    key: String,
    sandbox: Url,
}

impl Shop {
    pub(super) fn new(intake: &str, key: &str, sandbox: Url) -> Result<Self, CommandError> {
        let client = Client::builder().timeout(ANSWER).no_proxy().build();
        Ok(Self {
            client: client.map_err(|error| CommandError::Refused(error.to_string()))?,
            intents: format!("{}/v1/order-intents", intake.trim_end_matches('/')),
            key: key.to_owned(),
            sandbox,
        })
    }

    /// One customer, from the first click to `paid`.
    pub(super) async fn buy_and_pay(
        &self,
        run: &str,
        number: usize,
        sku: &str,
        patience: Duration,
    ) -> Outcome {
        let watch = Stopwatch::start();
        let (state, mut outcome) = self.wish(run, number, sku, &watch, patience).await;
        let (Some(payment), Some(secret)) =
            (state["payment_intent_id"].as_str(), state["client_secret"].as_str())
        else {
            return outcome;
        };
        while watch.elapsed() < patience {
            if self.pay(payment, secret).await {
                break;
            }
            sleep(AGAIN).await;
        }
        let intent = state["intent_id"].as_str().unwrap_or_default().to_owned();
        while watch.elapsed() < patience {
            let state = self.state(&intent).await.unwrap_or_default();
            if state["status"] == "paid" {
                "paid".clone_into(&mut outcome.status);
                break;
            }
            sleep(AGAIN.mul_f64(1.0 + jitter())).await;
        }
        outcome
    }

    /// One buyer of a flash sale, who never pays.
    pub(super) async fn buy(&self, run: &str, number: usize, sku: &str, patience: Duration) -> Outcome {
        self.wish(run, number, sku, &Stopwatch::start(), patience).await.1
    }

    /// Posts a wish until it is answered, and follows it until it is reserved with its secret, or refused.
    async fn wish(
        &self,
        run: &str,
        number: usize,
        sku: &str,
        watch: &Stopwatch,
        patience: Duration,
    ) -> (Value, Outcome) {
        let body = body(run, number, sku);
        let key = format!("demo-{run}-{number}");
        let mut outcome = Outcome { status: "unanswered".to_owned(), ..Outcome::default() };
        let mut state = Value::Null;
        while watch.elapsed() < patience {
            state = match self.post(&key, &body).await {
                Ok(state) => state,
                Err(after) => {
                    sleep(after.mul_f64(1.0 + jitter() / 4.0)).await;
                    continue;
                }
            };
            let status = state["status"].as_str().unwrap_or_default();
            outcome.order = state["order_id"].as_str().and_then(|id| id.parse().ok()).or(outcome.order);
            match status {
                "reserved" if state["client_secret"].is_string() => {
                    outcome.status = status.to_owned();
                    outcome.reserved_after = Some(watch.elapsed());
                    break;
                }
                "queued" | "reserved" => sleep(AGAIN).await,
                "rejected" | "failed" => {
                    outcome.status = state["error"].as_str().unwrap_or(status).to_owned();
                    break;
                }
                other => {
                    outcome.status = other.to_owned();
                    break;
                }
            }
        }
        (state, outcome)
    }

    /// The state of the intent under this key, or how long to wait before the same key is sent again. A refusal comes
    /// back as a rejected state.
    async fn post(&self, key: &str, body: &Value) -> Result<Value, Duration> {
        let request = self.client.post(&self.intents).bearer_auth(&self.key).json(body);
        let request = request.header("Idempotency-Key", key).header("Prefer", HOLD);
        // A lost answer: the same key tells.
        let response = request.send().await.map_err(|_| AGAIN)?;
        let status = response.status();
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let answer: Value = response.json().await.map_err(|_| AGAIN)?;
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(after.map_or(AGAIN, Duration::from_secs));
        }
        if status.is_client_error() {
            return Ok(json!({ "status": "rejected", "error": answer["code"] }));
        }
        if status.is_server_error() {
            return Err(AGAIN);
        }
        Ok(answer)
    }

    async fn state(&self, intent: &str) -> Option<Value> {
        let url = format!("{}/{intent}", self.intents);
        self.client.get(url).bearer_auth(&self.key).send().await.ok()?.json().await.ok()
    }

    /// What a customer's browser does with the secret. A second try of a payment that went through is refused by the
    /// provider, which is as good.
    async fn pay(&self, payment: &str, secret: &str) -> bool {
        let Ok(url) = self.sandbox.join(&format!("v1/payment_intents/{payment}/confirm")) else {
            return false;
        };
        let form = format!("client_secret={secret}&payment_method=pm_card_visa");
        let request = self.client.post(url).basic_auth("pk_test_demo", None::<&str>).body(form);
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        match request.send().await {
            Ok(response) => response.status().is_success() || response.status() == StatusCode::BAD_REQUEST,
            Err(_) => false,
        }
    }

    /// Waits until the door knows an article that was just imported.
    pub(super) async fn until_known(&self, run: &str, sku: &str) {
        // A wish that is priced wrong on purpose: it is rejected by the worker once the door knows the article.
        let mut body = body(run, usize::MAX, sku);
        body["expected_total"] = json!(1);
        for look in 0..KNOWN_LOOKS {
            let answer = self.post(&format!("demo-{run}-known-{look}"), &body).await;
            if answer.is_ok_and(|answer| answer["error"] == "total_changed") {
                return;
            }
            sleep(AGAIN).await;
        }
    }

    /// How many mails the sandbox accepted for this run's customers, and how many of them are a second copy.
    pub(super) async fn mails_of(&self, run: &str) -> (usize, usize) {
        let Ok(url) = self.sandbox.join("_sandbox/truth?kind=mails") else { return (0, 0) };
        let answer = match self.client.get(url).send().await {
            Ok(response) => response.json().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        };
        let ours = format!("+{run}-");
        let mut copies: HashMap<String, usize> = HashMap::new();
        for mail in answer.as_array().into_iter().flatten() {
            if mail["to"].to_string().contains(&ours) {
                *copies.entry(mail["message_id"].to_string()).or_default() += 1;
            }
        }
        let all: usize = copies.values().sum();
        (all, all - copies.len())
    }
}

fn body(run: &str, number: usize, sku: &str) -> Value {
    json!({
        "cart_id": format!("demo-{run}-{number}"),
        "customer": { "id": format!("demo-{run}-{number}"), "email": format!("buyer+{run}-{number}@example.com"),
                      "name": "Demo Buyer", "phone": "+14155550123", "locale": "en" },
        "currency": "USD",
        "lines": [{ "sku": sku, "quantity": 1 }],
        "shipping_address": { "name": "Demo Buyer", "phone": "+14155550123", "address_line1": "388 Townsend St",
                              "city": "San Francisco", "state": "CA", "postal_code": "94107", "country": "US" },
        "shipping_method": "standard",
        "metadata": { "source": "demo" },
    })
}
