//! One order, one trace: from the HTTP request that wished for it to its mails, through retries and replays.
//!
//! A collector of our own takes what intake and workers export, read by the code of OpenTelemetry's own definitions. Providers
//! fail now and then, so that one order in ten is tried again, and refuse one in a hundred for good, which an operator
//! replays. An order counts where its spans are one tree under the one request, with everything in it that must be.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Said;
use opentelemetry_proto::tonic::trace::v1::Span;
use orderfleet::telemetry::TraceContext;
use prost::Message;
use serde_json::{Value, json};
use stage::fleet::{Fleet, Setup, answer, free};
use stage::process::{Process, until, with};
use stage::report::{Op, Report};
use tokio::net::TcpListener;
use tokio::time::{Duration, sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::plan::Plan;

/// The request under which all of an order stands.
const ROOT: &str = "POST /v1/order-intents";
/// Attempts that every order has, to the end of its mails.
const KINDS: [&str; 5] = ["order-intent", "payment-open", "payment-confirmation", "shipping-label", "email"];
/// Of a hundred orders so many are to be tried again, and so many replayed.
const RETRIED: u64 = 10;
const REPLAYED: u64 = 1;
/// What no span and no line may hold: buyers of the demonstration have such addresses and this street.
const PERSONAL: [&str; 2] = ["@example.com", "Townsend"];
/// What a line names of a job; its order is not known yet of a webhook that was not loaded.
const NAMES: [&str; 3] = ["job", "trace", "order"];
const BROUGHT: [&str; 2] = ["payment-confirmation", "tracking"];
const LOOK: Duration = Duration::from_millis(200);

/// Lets orders live, and looks at what was exported of them.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let orders: u64 = plan.sized_for_gate(20, 100, 1_000);
    let collector = Collector::start().await;
    let endpoint = format!("http://{}", collector.address);
    let mut fleet = Fleet::set_up(Setup::default().set("telemetry.otlp_endpoint", endpoint)).await;
    // Of each provider's calls; more of a few, so that chance leaves one in ten.
    let share = plan.sized_for_gate(0.25, 0.1, 0.1);
    fleet.break_outside(faults(orders, share, plan.seed)).await;
    let mut worker = fleet.working(&[]).await;
    let mut customers = fleet.demo(orders);
    let replayed = replay(&fleet, &mut customers, report).await;
    report.bar("ended_well", f64::from(u8::from(customers.ended().await.success())), Op::Is, 1.0);
    until("an empty queue", async || {
        let open = "select count(*) from jobs where run_at < now() + interval '10 s'";
        (fleet.count(open).await == 0).then_some(())
    })
    .await;
    let traces: String =
        fleet.select("select coalesce(string_agg(coalesce(traceparent, ''), ' '), '') from orders").await;
    let folder = fleet.folder.path().to_owned();
    worker.signal("TERM");
    assert!(worker.ended().await.success(), "the worker did not end well");
    let worker_log = worker.log();
    let intake_log = std::fs::read_to_string(folder.join("intake.log")).unwrap();
    fleet.end().await;
    let spans = collector.spans.lock().unwrap().clone();
    judge(report, orders, &traces, &spans);
    report.count("letters_replayed", replayed);
    logs(report, &[worker_log, intake_log]);
}

/// What goes wrong outside: now and then each of three providers, and some labels and mails for good.
fn faults(orders: u64, share: f64, seed: u64) -> Value {
    let labels = (orders * REPLAYED).div_ceil(100);
    json!([
        {"at": "stripe.create", "what": {"fail": {"status": 500}}, "rate": share, "seed": seed},
        {"at": "easypost.buy", "what": {"fail": {"status": 500}}, "rate": share, "seed": seed},
        {"at": "smtp.data", "what": {"fail": {"status": 451}}, "rate": share / 2.0, "seed": seed},
        {"at": "easypost.create", "what": {"fail": {"status": 400}}, "next": labels},
        {"at": "smtp.rcpt", "what": {"fail": {"status": 550}}, "next": labels},
    ])
}

/// As an operator does: replays what was given up, until every customer has what they want. How many letters.
async fn replay(fleet: &Fleet, customers: &mut Process, report: &Report) -> i64 {
    let mut replayed = 0;
    while !customers.has_ended() {
        sleep(LOOK).await;
        let open = "select count(*) from dead_letters where replayed_at is null and dropped_at is null";
        if fleet.count(open).await > 0 {
            let told = answer(&mut with(fleet.command(), ["dead", "replay", "--all", "--json"]));
            let told: Value = serde_json::from_str(&told).unwrap();
            replayed += told["replayed"].as_i64().unwrap_or_default();
            report.progress(format_args!("{replayed} dead letters replayed"));
        }
    }
    replayed
}

/// Counts the orders that are one trace.
fn judge(report: &mut Report, orders: u64, traces: &str, spans: &[Span]) {
    let mut by_trace: HashMap<&[u8], Vec<&Span>> = HashMap::new();
    for span in spans {
        by_trace.entry(&span.trace_id).or_default().push(span);
    }
    let (mut connected, mut retried, mut replayed, mut brought) = (0_u64, 0_u64, 0_u64, 0_u64);
    let requests: HashSet<&[u8]> = spans
        .iter()
        .filter(|span| span.name.starts_with("POST /webhooks"))
        .map(|span| &span.span_id[..])
        .collect();
    for trace in traces.split(' ') {
        let context: Option<TraceContext> = trace.parse().ok();
        let trace = context.map(|context| context.trace_id().bytes());
        let own = trace.and_then(|trace| by_trace.get(&trace[..])).map(Vec::as_slice).unwrap_or_default();
        match missing(own) {
            None => connected += 1,
            Some(what) => report.note(format!("{context:?} with {} spans: {what}", own.len())),
        }
        let ended = |how: &str| own.iter().any(|span| said(span, "orderfleet.outcome") == Some(how));
        retried += u64::from(ended("retried"));
        replayed += u64::from(ended("buried"));
        let told = own.iter().filter(|span| span.name == "payment-confirmation");
        let mut links = told.flat_map(|span| &span.links);
        brought += u64::from(links.any(|link| requests.contains(&link.span_id[..])));
    }
    report.count("orders", orders);
    report.count("spans", spans.len());
    let exactly = |count: u64| i64::try_from(count).unwrap();
    report.exactly("orders_that_are_one_trace", exactly(connected), exactly(orders));
    report.exactly("orders_linked_with_their_webhook", exactly(brought), exactly(orders));
    report.bar("orders_retried", number(retried), Op::AtLeast, number(orders * RETRIED / 100));
    report.bar("orders_replayed", number(replayed), Op::AtLeast, number((orders * REPLAYED / 100).max(1)));
    let personal = spans.iter().filter(|span| PERSONAL.iter().any(|word| format!("{span:?}").contains(word)));
    report.exactly("spans_with_personal_data", i64::try_from(personal.count()).unwrap(), 0);
}

/// What an order's spans lack to be one trace of a whole order.
fn missing(spans: &[&Span]) -> Option<String> {
    let ids: HashSet<&[u8]> = spans.iter().map(|span| &span.span_id[..]).collect();
    if ids.len() != spans.len() {
        return Some("a span came twice".to_owned());
    }
    let is_root = |span: &&&Span| !ids.contains(&span.parent_span_id[..]);
    let roots: Vec<&str> = spans.iter().filter(is_root).map(|span| span.name.as_str()).collect();
    if roots != [ROOT] {
        return Some(format!("roots {roots:?}"));
    }
    for kind in KINDS {
        let done = |span: &&&Span| span.name == kind && said(span, "orderfleet.outcome") == Some("finished");
        if !spans.iter().any(|span| done(&span)) {
            return Some(format!("no {kind} that finished"));
        }
    }
    (!has_mail(spans)).then(|| "no mail under its attempt".to_owned())
}

/// Whether a mail went out: under its call, which is under its job's attempt.
fn has_mail(spans: &[&Span]) -> bool {
    let by_id: HashMap<&[u8], &Span> = spans.iter().map(|span| (&span.span_id[..], *span)).collect();
    let mut sent = spans.iter().filter(|span| span.name == "send mail" && span.status.is_none());
    sent.any(|mail| {
        let call = by_id.get(&mail.parent_span_id[..]);
        let attempt = call.and_then(|call| by_id.get(&call.parent_span_id[..]));
        attempt.is_some_and(|attempt| attempt.name == "email")
    })
}

fn said<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    let pair = span.attributes.iter().find(|pair| pair.key == name)?;
    if let Said::StringValue(text) = pair.value.as_ref()?.value.as_ref()? { Some(text) } else { None }
}

/// Lines of the logs: every retry and burial names its job, its trace and its order, and nobody's address.
fn logs(report: &mut Report, logs: &[String]) {
    let lines = || logs.iter().flat_map(|log| log.lines());
    let (mut told, mut nameless) = (0, 0);
    for line in lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let fields = &line["fields"];
        if matches!(fields["message"].as_str(), Some("tried again later" | "job buried")) {
            told += 1;
            let kind = fields["kind"].as_str().unwrap_or_default();
            let names = if BROUGHT.contains(&kind) { &NAMES[..2] } else { &NAMES[..] };
            nameless += i64::from(names.iter().any(|name| !fields[*name].is_string()));
        }
    }
    report.bar("lines_of_retries_and_burials", f64::from(told), Op::AtLeast, 1.0);
    report.exactly("lines_without_their_ids", nameless, 0);
    let personal = lines().filter(|line| PERSONAL.iter().any(|word| line.contains(word))).count();
    report.exactly("lines_with_personal_data", i64::try_from(personal).unwrap(), 0);
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Takes what is exported.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    async fn start() -> Self {
        let (address, spans) = (free(), Arc::<Mutex<Vec<Span>>>::default());
        let listener = TcpListener::bind(address).await.unwrap();
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .layer(DefaultBodyLimit::max(16 * 1024 * 1024))
            .with_state(Arc::clone(&spans));
        let serving = TaskTracker::new().spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, spans, _serving: AbortOnDropHandle::new(serving) }
    }
}

async fn take(State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let scopes = request.resource_spans.into_iter().flat_map(|batch| batch.scope_spans);
    spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
    StatusCode::OK
}
