//! The sandbox over real sockets: what a caller meets, and what the truth says of it afterwards.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::ids::JobId;

mod faults;
mod mail;
mod payments;
mod restart;
mod shipping;

/// A webhook as it arrived.
type Arrived = (HeaderMap, String);

/// A sandbox on ports of its own, a client, and an endpoint for its webhooks.
struct House {
    sandbox: Option<Sandbox>,
    base: String,
    stop: CancellationToken,
    client: reqwest::Client,
    webhooks: mpsc::UnboundedReceiver<Arrived>,
    /// Webhooks that the endpoint refuses before it takes one.
    refuse: Arc<AtomicU32>,
}

type Endpoint = (mpsc::UnboundedSender<Arrived>, Arc<AtomicU32>);

fn secrets() -> SandboxSecrets {
    SandboxSecrets {
        stripe_key: "sk_test_house".into(),
        stripe_webhook: "whsec_house".into(),
        easypost_key: "EZTK_house".into(),
        easypost_webhook: "s\u{e9}cret".into(),
        wallet_webhook: "of a wallet".into(),
    }
}

fn client() -> reqwest::Client {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    // Every call on a connection of its own: a client must not repeat what was dropped on a connection kept open.
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

impl House {
    async fn new() -> Self {
        Self::with_truth("").await
    }

    async fn with_truth(file: &str) -> Self {
        let (arrived, webhooks) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let endpoint = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", endpoint.local_addr().unwrap());
        let settings = SandboxSettings {
            address: "127.0.0.1:0".parse().unwrap(),
            smtp_address: "127.0.0.1:0".parse().unwrap(),
            stripe_webhook_url: url.clone(),
            easypost_webhook_url: url.clone(),
            wallet_webhook_url: url,
            truth_file: file.to_owned(),
        };
        let sandbox = serve(&settings, secrets(), stop.clone()).await.unwrap();
        let refuse = Arc::new(AtomicU32::new(0));
        let routes = Router::new().route("/", post(take)).with_state((arrived, Arc::clone(&refuse)));
        let served = axum::serve(endpoint, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        sandbox.tasks.spawn(async move { served.await.unwrap() });
        Self {
            base: format!("http://{}", sandbox.address()),
            sandbox: Some(sandbox),
            stop,
            client: client(),
            webhooks,
            refuse,
        }
    }

    /// A call to its Stripe: form parameters, with an idempotency key or without (empty).
    async fn stripe(
        &self,
        method: Method,
        path: &str,
        key: &str,
        form: &[(&str, &str)],
    ) -> reqwest::Response {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self
            .client
            .request(method, format!("{}/v1/{path}", self.base))
            .bearer_auth("sk_test_house")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        request.send().await.unwrap()
    }

    /// A call to its EasyPost.
    async fn easypost(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Value), reqwest::Error> {
        let request = self.client.request(method, format!("{}/v2/{path}", self.base));
        let answer = request.basic_auth("EZTK_house", Some("")).json(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    async fn control(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, format!("{}/_sandbox/{path}", self.base));
        let answer = request.json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let text = answer.text().await.unwrap();
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    async fn truth(&self, kind: &str) -> Vec<Value> {
        let truth = self.control(Method::GET, &format!("truth?kind={kind}"), &json!({})).await;
        truth.as_array().unwrap().clone()
    }

    /// The next webhook: the bound is for a sandbox that is broken, not for a slow one.
    async fn webhook(&mut self) -> (HeaderMap, String, Value) {
        let arrived = tokio::time::timeout(Duration::from_secs(20), self.webhooks.recv());
        let (headers, body) = arrived.await.expect("a webhook").unwrap();
        let event = serde_json::from_str(&body).unwrap();
        (headers, body, event)
    }

    async fn close(mut self) {
        self.stop.cancel();
        self.sandbox.take().unwrap().join().await;
    }
}

async fn take(State((arrived, refuse)): State<Endpoint>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let taken = arrived.send((headers, String::from_utf8(body.to_vec()).unwrap()));
    if taken.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// A key that no other test uses.
fn fresh_key() -> String {
    JobId::new().to_string()
}
