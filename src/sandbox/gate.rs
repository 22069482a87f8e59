//! What every provider request passes: it is counted, then the planned faults happen to it.
//!
//! It is counted before anything else looks at it, so that the truth knows of requests that were dropped, refused or
//! replayed. The work runs as a task of its own: a caller that hangs up does not stop a provider. Here, too, stands the
//! gateway, which may show a page of its own: the provider within knows nothing of it, and keeps its own answer under the key.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::faults::{Failing, Plan, Point};
use super::truth::{Asked, Fact};
use super::wire::Switch;
use super::world::{World, fresh_id};
use super::{easypost, stripe};

/// One provider request: what it is and what shall happen to it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Which one.
    pub(crate) point: Point,
    /// Its id at the provider.
    pub(crate) request: String,
    /// The `Idempotency-Key`, where one came.
    pub(crate) key: Option<String>,
    plan: Arc<Plan>,
}

fn point(method: &Method, route: &str) -> Option<Point> {
    Some(match (method.as_str(), route) {
        ("POST", "/v1/payment_intents") => Point::StripeCreate,
        ("GET", "/v1/payment_intents") => Point::StripeList,
        ("GET", "/v1/payment_intents/{id}" | "/v1/disputes/{id}") => Point::StripeRetrieve,
        ("POST", "/v1/payment_intents/{id}/confirm") => Point::StripeConfirm,
        ("POST", "/v1/payment_intents/{id}/capture") => Point::StripeCapture,
        ("POST", "/v1/payment_intents/{id}/cancel") => Point::StripeCancel,
        (_, "/v1/refunds" | "/v1/refunds/{id}") => Point::StripeRefund,
        (_, "/v1/events" | "/v1/events/{id}") => Point::StripeEvents,
        (_, "/v1/account" | "/v1/balance") => Point::StripeAccount,
        (_, route) if route.starts_with("/v2/addresses") => Point::EasypostAddress,
        ("POST", "/v2/shipments") => Point::EasypostCreate,
        ("GET", "/v2/shipments/{id}") => Point::EasypostRetrieve,
        ("POST", "/v2/shipments/{id}/buy") => Point::EasypostBuy,
        ("POST", "/v2/shipments/{id}/rerate") => Point::EasypostRerate,
        ("POST" | "GET", "/v2/shipments/{id}/refund") => Point::EasypostRefund,
        (_, route) if route.starts_with("/v2/trackers") => Point::EasypostTracker,
        (_, "/v2/users") => Point::EasypostAccount,
        (_, "/wallet/pay") => Point::WalletPage,
        (_, "/wallet/status/{reference}") => Point::WalletStatus,
        _ => return None,
    })
}

/// Counts the request and lets happen to it what was planned.
pub(crate) async fn pass(
    State(world): State<Arc<World>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    route: MatchedPath,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(point) = point(request.method(), route.as_str()) else {
        return next.run(request).await;
    };
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    count(&world, point, route.as_str(), &request, key.clone());
    let plan = Arc::new(world.faults.plan(point));
    if plan.drop_before {
        switch.cut();
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    request.extensions_mut().insert(Call { point, request: fresh_id("req_"), key, plan: Arc::clone(&plan) });
    let stop = world.stop.clone();
    let work = world.tasks.spawn(async move {
        let response = match plan.page() {
            None => next.run(request).await,
            Some(page) => {
                if page.after {
                    let _done = next.run(request).await;
                } else {
                    pause(&stop, plan.before).await;
                }
                gateway(page)
            }
        };
        if plan.drop_after {
            switch.cut();
        }
        response
    });
    work.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Innermost: the work, as late and as wrong as planned. It is inside the idempotency of its provider, so that a late
/// call holds its key. A failure that comes after the work hides that it was done.
pub(crate) async fn work(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let Some(call) = request.extensions().get::<Call>().cloned() else {
        return next.run(request).await;
    };
    pause(&world.stop, call.plan.before).await;
    let response = match call.plan.refusal() {
        None => next.run(request).await,
        Some(failing) => {
            if failing.after {
                let _done = next.run(request).await;
            }
            failure(call.point, failing)
        }
    };
    pause(&world.stop, call.plan.after).await;
    response
}

/// What a gateway says where it can not, or does not, pass on: a page for people.
fn gateway(failing: &Failing) -> Response {
    let status = status(failing);
    let page =
        format!("<html>\n<head><title>{status}</title></head>\n<body><h1>{status}</h1></body>\n</html>\n");
    (status, Html(page)).into_response()
}

fn failure(point: Point, failing: &Failing) -> Response {
    if point.provider() == "stripe" {
        stripe::error::planned(status(failing), failing)
    } else {
        easypost::error::planned(status(failing), failing.code.as_deref()).into_response()
    }
}

fn status(failing: &Failing) -> StatusCode {
    StatusCode::from_u16(failing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn count(world: &Arc<World>, point: Point, route: &str, request: &Request, key: Option<String>) {
    let asked = Asked {
        provider: point.provider().to_owned(),
        method: request.method().to_string(),
        pattern: route.to_owned(),
        path: request.uri().path().to_owned(),
        key,
    };
    world.change(|books, now| books.record(now, Fact::Request(asked)));
}

/// Waits, but no longer than the sandbox runs.
async fn pause(stop: &tokio_util::sync::CancellationToken, pause: Duration) {
    if !pause.is_zero() {
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
