//! A provider for tests: gives prepared answers on a port of its own and keeps what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// An answer: status, headers, body.
pub(super) type Prepared = (u16, Vec<(&'static str, &'static str)>, String);

/// What a client asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: String,
}

/// The provider; it lives as long as the test's runtime.
#[derive(Clone)]
pub(super) struct Replay {
    pub(super) base: String,
    answers: Arc<Mutex<VecDeque<Prepared>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Replay {
    /// Serves these answers, in this order, then 599.
    pub(super) async fn of(answers: impl IntoIterator<Item = Prepared>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let replay = Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            asked: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(replay.clone());
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        replay
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(replay): State<Replay>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let line = format!("{} {}", head.method, head.uri);
    replay.asked.lock().unwrap().push(Asked { line, headers: head.headers, body });
    let prepared = replay.answers.lock().unwrap().pop_front();
    let (status, headers, body) = prepared.unwrap_or((599, Vec::new(), String::new()));
    let mut response = body.into_response();
    *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
