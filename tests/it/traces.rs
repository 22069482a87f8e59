//! An order is one trace: whatever causes its jobs, they belong to the trace of the request that wished for it.

use orderfleet::ops::dead_letters as letters;
use orderfleet::store::dead_letters::Selection;
use orderfleet::telemetry::TraceContext;
use serde_json::json;

use crate::house::{self, bought, wish};

/// A caller's own trace.
const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Keeps every job row that is ever written: those that are done are gone.
const KEEP: &str = "
    create table jobs_ever (kind text, caused_by text, traceparent text);
    create function keep_job() returns trigger language plpgsql as
      'begin insert into jobs_ever values (new.kind, new.caused_by, new.traceparent); return new; end';
    create trigger keep after insert on jobs for each row execute function keep_job()";

#[tokio::test]
async fn every_job_of_an_order_is_in_the_trace_of_its_request_through_webhook_burial_and_replay() {
    let house = house::open().await;
    house.execute(KEEP).await.unwrap();
    house.fault("easypost.buy", json!({"fail": {"status": 400}})).await;
    let answer = house.place_in(GIVEN, &wish("traced", "SUIT", 1), "traced").await;
    let bought = bought(&answer.body);
    let traceparent = house.value("select traceparent from orders").await;
    let (given, own): (TraceContext, TraceContext) =
        (GIVEN.parse().unwrap(), traceparent.as_str().unwrap().parse().unwrap());
    assert_eq!(own.trace_id(), given.trace_id(), "the caller's trace is continued");
    assert_ne!(own.span_id(), given.span_id(), "by a span of the request's own");
    let timeline = house.timeline(bought.order).await;
    assert_eq!(timeline.trace_id, Some(given.trace_id().to_string()));

    house.pay(&bought).await;
    house.until_order(bought.order, "exception").await;
    house.settled().await;
    assert_eq!(house.value("select traceparent from dead_letters").await, traceparent);
    let all = Selection::default();
    assert_eq!(letters::replay(&house.store, &all, "operator test", |_| ()).await.unwrap().replayed, 1);
    house.until_order(bought.order, "shipped").await;
    house.settled().await;

    // A webhook's own job comes with its own trace, and joins the order's when it is loaded.
    let of_orders = "from jobs_ever where caused_by <> 'intake'";
    let traces = house.rows(&format!("select distinct traceparent {of_orders}")).await;
    assert_eq!(
        traces,
        [json!({"traceparent": traceparent})],
        "the webhook brought another trace, and they are in the order's"
    );
    let kinds = house.rows(&format!("select distinct kind {of_orders} order by kind")).await;
    let kinds: Vec<&str> = kinds.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["email", "payment-open", "payment-sync", "reservation-expiry", "shipping-label"]);
    house.end_with_dead(&["shipping-label"]).await;
}
