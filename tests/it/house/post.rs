//! The post between the sandbox and the intake: passes webhooks on, byte for byte, and keeps a copy of each.
//!
//! Told to keep them, it answers 200 and passes nothing on: then the test decides which letter arrives when, how often,
//! and in which order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A webhook as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// `stripe` or `easypost`.
    pub(crate) provider: String,
    /// Its signature.
    pub(crate) signature: String,
    /// Its body.
    pub(crate) body: Bytes,
}

impl Letter {
    /// What it says.
    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Its type, in the provider's words.
    pub(crate) fn kind(&self) -> String {
        let event = self.event();
        event["type"].as_str().or(event["description"].as_str()).unwrap_or_default().to_owned()
    }
}

/// The post of one house.
pub(crate) struct Post {
    pub(super) url: String,
    intake: String,
    client: reqwest::Client,
    keeps: AtomicBool,
    letters: Mutex<Vec<Letter>>,
}

impl Post {
    pub(super) async fn open(
        client: reqwest::Client,
        intake: String,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this =
            Arc::new(Self { url, intake, client, keeps: AtomicBool::new(false), letters: Mutex::default() });
        let routes = Router::new().route("/webhooks/{provider}", post(take)).with_state(Arc::clone(&this));
        tasks.spawn(async move {
            axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await.unwrap();
        });
        this
    }

    /// From now on nothing is passed on.
    pub(crate) fn keep(&self) {
        self.keeps.store(true, Ordering::SeqCst);
    }

    /// From now on letters are passed on; those that were kept stay here.
    pub(crate) fn pass_on(&self) {
        self.keeps.store(false, Ordering::SeqCst);
    }

    /// Every letter so far, in the order in which they came.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }

    /// Hands a letter to the intake; the status of its answer.
    pub(crate) async fn deliver(&self, letter: &Letter) -> StatusCode {
        let header = if letter.provider == "stripe" { "stripe-signature" } else { "x-hmac-signature" };
        let request = self.client.post(format!("{}/webhooks/{}", self.intake, letter.provider));
        let request = request.header("content-type", "application/json").header(header, &letter.signature);
        request.body(letter.body.clone()).send().await.unwrap().status()
    }
}

async fn take(
    State(post): State<Arc<Post>>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let signature = headers.get("stripe-signature").or(headers.get("x-hmac-signature")).unwrap();
    let letter = Letter { provider, signature: signature.to_str().unwrap().to_owned(), body };
    post.letters.lock().unwrap().push(letter.clone());
    if post.keeps.load(Ordering::SeqCst) { StatusCode::OK } else { post.deliver(&letter).await }
}
