//! The intake beside its floor: what bare axum does with the same body, parsed and judged by the same code, without keys,
//! without Redis, without durability.
//!
//! Both are processes of their own, driven by the same driver over loopback, in turn. Closed loop for the most that each
//! can do and what a request costs its process; then an open loop at half of that, for the latency, twice: Redis rewrites
//! its file more often the younger that is.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use orderfleet::domain::intent::{Known, OrderIntentBody};
use orderfleet::ids::IntentId;
use serde_json::{Value, json};
use stage::driver::{self, Request};
use stage::fleet::{Fleet, Setup};
use stage::process::Process;
use stage::report::{Op, Report, quantile};

use crate::beside;
use crate::plan::Plan;

/// The share of the floor's requests a second that is to be reached …
const SHARE: f64 = 0.6;
/// … or else at most so many times its CPU time a request: with Redis beside it on the same cores, fewer are left to it.
const COST: f64 = 1.7;
/// Milliseconds from the intended moment, for ninety-nine of a hundred, at half of the most.
const LATENCY: f64 = 10.0;
/// What each came to is summed over many short turns, seconds apart: on a machine that others use, a core's speed drifts by
/// more than a tenth from one half minute to the next.
const ROUNDS: usize = 40;
/// The driver's own ceiling is looked at in every so many of them.
const CEILING_EVERY: usize = 8;
/// Turns that the open loop lasts: a hundredth of its requests must be many.
const HALF_LOAD: u32 = 10;
/// The bars are about Redis as it comes; what it costs to wait for the disk each time is shown beside it.
const DEFAULT: &str = "everysec";
/// Connections of the driver: twice what the intake has on its way to Redis at once. With fewer, a Redis that waits for its
/// disk would be measured by how few ask.
const LINES: usize = 256;
/// From which size Redis rewrites its file whenever that has doubled, in bytes. A file of nothing, as it is here after each
/// round, doubles every other second and is rewritten by a process that takes one of the two cores for a tenth of a second;
/// that of a server that has worked for a while, in minutes. The bar is on the second, the first is shown beside it.
const OFTEN: &str = "67108864";
const SELDOM: &str = "4294967296";
/// Linux counts a process's time in hundredths of a second, whatever the kernel's own clock is.
const TICKS: f64 = 100.0;
const PATH: &str = "/v1/order-intents";

/// What one of both came to, over all of its turns.
#[derive(Default)]
struct Came {
    requests: f64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Came {
    fn per_second(&self) -> f64 {
        self.requests / self.seconds
    }

    fn cpu_us(&self) -> f64 {
        self.cpu_seconds / self.requests * 1e6
    }
}

/// Measures it, with each of the settings that make an acknowledged push durable.
pub(crate) async fn run(plan: Plan, report: &mut Report) {
    let time = Duration::from_millis(plan.sized(250, 1_000));
    // Nobody works here: the lane may be as deep as it becomes.
    let fleet = Fleet::set_up(Setup::default().set("lanes.intents.max_depth", 1_000_000_000)).await;
    let (floor, floor_address) = beside::start("intake-floor", &fleet).await;
    let wish = Request::post(PATH, fleet.key(), "", &wish().to_string(), "202");
    let nothing = Request::post("/nothing", "", "", "", "202");
    for appendfsync in ["always", DEFAULT] {
        fleet.redis(&["CONFIG", "SET", "appendfsync", appendfsync]).await;
        rewrites(&fleet, SELDOM).await;
        let (mut theirs, mut ours, mut ceilings) = (Came::default(), Came::default(), Vec::new());
        for number in 0..ROUNDS {
            let round = format!("{appendfsync}-{number}");
            if number % CEILING_EVERY == 0 {
                ceilings.push(driver::closed(floor_address, &nothing, LINES, time, &round).await.per_second);
            }
            measure(&mut theirs, &floor, floor_address, &wish, time, &round).await;
            measure(&mut ours, &fleet.intake, fleet.address, &wish, time, &round).await;
            fleet.redis(&["FLUSHALL"]).await;
        }
        let most = ours.per_second();
        let share = most / theirs.per_second();
        let cost = ours.cpu_us() / theirs.cpu_us();
        let half = async |when: &str| {
            let round = format!("{appendfsync}-{when}");
            let waits =
                driver::open(fleet.address, &wish, (LINES, most / 2.0), time * HALF_LOAD, &round).await;
            fleet.redis(&["FLUSHALL"]).await;
            waits
        };
        rewrites(&fleet, OFTEN).await;
        let mut while_young = half("young").await;
        rewrites(&fleet, SELDOM).await;
        let mut waits = half("open").await;
        let mut name = |what: &str, value: f64| report.figure(&format!("{appendfsync}_{what}"), value);
        name("driver_ceiling_per_second", quantile(&mut ceilings, 0.5));
        name("floor_per_second", theirs.per_second());
        name("intake_per_second", most);
        name("floor_cpu_us_a_request", theirs.cpu_us());
        name("intake_cpu_us_a_request", ours.cpu_us());
        name("share_of_floor", share);
        name("times_the_floor_s_cpu", cost);
        name("half_load_p50_ms", quantile(&mut waits, 0.5));
        name("half_load_p99_ms_while_the_file_is_young", quantile(&mut while_young, 0.99));
        name("half_load_p99_ms", quantile(&mut waits, 0.99));
        if appendfsync != DEFAULT {
            continue;
        }
        // One of both is enough: above 1 is met.
        report.bar("share_or_cpu", (share / SHARE).max(COST / cost), Op::AtLeast, 1.0);
        report.bar("latency_p99_ms", quantile(&mut waits, 0.99), Op::AtMost, LATENCY);
    }
    drop(floor);
    fleet.end().await;
}

async fn rewrites(fleet: &Fleet, from: &str) {
    fleet.redis(&["CONFIG", "SET", "auto-aof-rewrite-min-size", from]).await;
}

async fn measure(
    came: &mut Came,
    server: &Process,
    to: SocketAddr,
    wish: &Request,
    time: Duration,
    round: &str,
) {
    let before = cpu_seconds(server);
    let per_second = driver::closed(to, wish, LINES, time, round).await.per_second;
    came.cpu_seconds += cpu_seconds(server) - before;
    came.requests += per_second * time.as_secs_f64();
    came.seconds += time.as_secs_f64();
}

/// What the process has used of the machine's cores, in user and system mode.
fn cpu_seconds(process: &Process) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    // After the name, which may hold anything: the 14th and 15th field of the whole.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS
}

/// The floor: the same body read and judged, and nothing kept.
pub(crate) async fn serve_floor(_plan: Plan, _report: &mut Report) {
    let set = |name: &str| HashSet::from([name.to_owned()]);
    let known: &'static _ = Box::leak(Box::new((set("SUIT-42R"), set("USD"), set("standard"))));
    let place = move |body: Bytes| async move {
        let (skus, currencies, methods) = known;
        let known = Known {
            skus: Some(skus),
            currencies: Some(currencies),
            shipping_methods: Some(methods),
            payment_providers: None,
        };
        let read = serde_json::from_slice(&body).ok().map(|body| OrderIntentBody::read(body, known));
        match read {
            Some(Ok(_)) => {
                (StatusCode::ACCEPTED, Json(json!({ "intent_id": IntentId::new(), "status": "queued" })))
            }
            Some(Err(_)) | None => (StatusCode::UNPROCESSABLE_ENTITY, Json(Value::Null)),
        }
    };
    let router =
        Router::new().route(PATH, post(place)).route("/nothing", post(async || (StatusCode::ACCEPTED, "")));
    beside::serve(router).await;
}

/// A wish of two lines, as a shop sends it.
fn wish() -> Value {
    json!({
        "cart_id": "cart_8f14e45fceea167a",
        "customer": { "id": "{key}", "email": "buyer@example.com", "name": "A Buyer", "phone": "+14155550123" },
        "currency": "USD",
        "lines": [{ "sku": "SUIT-42R", "quantity": 1, "attributes": { "sleeve_cm": 64 } },
                  { "sku": "SUIT-42R", "quantity": 2 }],
        "shipping_address": { "name": "A Buyer", "phone": "+14155550123", "address_line1": "388 Townsend St",
                              "city": "San Francisco", "state": "CA", "postal_code": "94107", "country": "US" },
        "expected_total": 38_700,
        "metadata": { "campaign": "autumn" },
    })
}
