//! `/healthz`, `/readyz` and `/metrics`, the same for every role.
//!
//! Healthy is a process that answers. Ready is one that makes progress: each role says what stands in the way, so that
//! traffic goes elsewhere and a person reads the reason. Metrics are never served on a public port.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Says whether a role makes progress.
pub trait Readiness: Send + Sync + 'static {
    /// Its name, for the metric.
    fn role(&self) -> &'static str;

    /// What stands in the way, as codes; nothing where the role is ready.
    fn obstacles(&self) -> Vec<&'static str>;

    /// Brings the gauges up to date, before somebody reads them.
    fn refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Between two clearings of what the histograms gathered: without them a process that nobody watches would keep every
/// sample.
const UPKEEP: Duration = Duration::from_secs(5);

/// Keeps the memory of the metrics flat, until `stop`.
pub async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        metrics.run_upkeep();
    }
}

/// `/healthz` and `/readyz`, for a public port.
pub fn public<S>(ready: Arc<dyn Readiness>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Router::new().route("/healthz", get(healthy)).route("/readyz", get(readiness)).with_state(ready)
}

/// All three, for the health port, which is on loopback.
pub fn router(ready: Arc<dyn Readiness>, metrics: PrometheusHandle) -> Router {
    let shown = Router::new().route("/metrics", get(render)).with_state((Arc::clone(&ready), metrics));
    public(ready).merge(shown)
}

async fn healthy() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

async fn readiness(State(ready): State<Arc<dyn Readiness>>) -> Response {
    let obstacles = ready.obstacles();
    if obstacles.is_empty() {
        return Json(json!({ "status": "ready" })).into_response();
    }
    let body = Json(json!({ "status": "not_ready", "obstacles": obstacles }));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn render(State((ready, metrics)): State<(Arc<dyn Readiness>, PrometheusHandle)>) -> Response {
    ready.refresh().await;
    let is_ready = ready.obstacles().is_empty();
    metrics::gauge!("orderfleet_ready", "role" => ready.role()).set(f64::from(u8::from(is_ready)));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}
