//! The intake's other door: signed webhooks, verified over their raw bytes and made durable, while Postgres is away.
//!
//! A real event of Stripe's, under ever new ids, each signed as Stripe signs: in a closed loop for the most that the intake
//! takes in, in an open one at the wanted pace for the latency. Signing is the driver's work on the same cores, so its
//! ceiling is measured with it. Then twenty copies of each of a few payments' events, before anybody works: when Postgres
//! and a worker are back, each of the payments has counted once.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use futures::future::join_all;
use orderfleet::time::Clock;
use reqwest::Client;
use ring::hmac;
use serde_json::Value;
use stage::driver::{self, Line, Request, Sign};
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report, quantile};

use crate::beside;
use crate::plan::Plan;
use crate::rig::float;

/// Verified and durable webhooks a second.
const WANTED: f64 = 5_000.0;
/// Milliseconds from the intended moment, for ninety-nine of a hundred, at the wanted pace.
const LATENCY: f64 = 10.0;
const ROUNDS: usize = 3;
/// Connections of the driver: as many as the bench of the other door has.
const LINES: usize = 256;
/// Payments whose events come again and again, and how often each comes.
const PAYMENTS: usize = 20;
const COPIES: usize = 20;
/// What Stripe and the fleet share (see the fleet's configuration).
const SECRET: &[u8] = b"whsec_faults";
const STRIPE_KEY: &str = "sk_test_faults";
const PATH: &str = "/webhooks/stripe";
/// Far longer than any answer of the sandbox takes.
const ANSWER: Duration = Duration::from_secs(20);

/// The bars are about Redis as it comes; what it costs to wait for the disk each time is shown beside it.
const DEFAULT: &str = "everysec";

/// From which size Redis rewrites its file whenever that has doubled, in bytes.
const SELDOM: &str = "4294967296";

/// Measures it, with each of the settings that make an acknowledged push durable.
pub(crate) async fn run(plan: Plan, report: &mut Report) {
    let time = Duration::from_millis(plan.sized(1_500, 5_000));
    let mut fleet = Fleet::set_up(Setup::default()).await;
    // Redis rewrites its file as seldom as that of a server that has worked for a while.
    fleet.redis(&["CONFIG", "SET", "auto-aof-rewrite-min-size", SELDOM]).await;
    let events = paid_but_untold(&mut fleet).await;
    fleet.servers.kill_postgres().await.unwrap();
    let (floor, floor_address) = beside::start("webhooks-floor", &fleet).await;
    let letter = letter(&events[0]);
    let nothing = Request::post("/nothing", "", "", &template(&events[0]), "200").signed(signer());
    for appendfsync in ["always", DEFAULT] {
        fleet.redis(&["CONFIG", "SET", "appendfsync", appendfsync]).await;
        let (mut ours, mut ceilings) = (Vec::new(), Vec::new());
        for number in 0..ROUNDS {
            let round = format!("{appendfsync}_{number}");
            ceilings.push(driver::closed(floor_address, &nothing, LINES, time / 3, &round).await.per_second);
            ours.push(driver::closed(fleet.address, &letter, LINES, time, &round).await.per_second);
            fleet.redis(&["FLUSHALL"]).await;
        }
        let (pace, round) = ((LINES, WANTED), format!("{appendfsync}_open"));
        let mut waits = driver::open(fleet.address, &letter, pace, time * 2, &round).await;
        fleet.redis(&["FLUSHALL"]).await;
        let (most, latency) = (quantile(&mut ours, 0.5), quantile(&mut waits, 0.99));
        let mut name = |what: &str, value: f64| report.figure(&format!("{appendfsync}_{what}"), value);
        name("driver_ceiling_per_second", quantile(&mut ceilings, 0.5));
        name("webhooks_per_second", most);
        name("p50_ms", quantile(&mut waits, 0.5));
        name("p99_ms", latency);
        if appendfsync == DEFAULT {
            report.bar("webhooks_per_second", most, Op::AtLeast, WANTED);
            report.bar("latency_p99_ms", latency, Op::AtMost, LATENCY);
        }
    }
    drop(floor);
    again_and_again(&mut fleet, &events, report).await;
    fleet.end().await;
}

/// Orders that are paid, of which nobody was told: the events of their payments, as Stripe lists them.
async fn paid_but_untold(fleet: &mut Fleet) -> Vec<Value> {
    let client = Client::builder().timeout(ANSWER).no_proxy().build().unwrap();
    let outside = fleet.outside();
    let ask = async |path: &str, form: &str| -> Value {
        let request = client.post(format!("http://{outside}{path}")).basic_auth(STRIPE_KEY, None::<&str>);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(form.to_owned()).send().await.unwrap().json().await.unwrap_or_default()
    };
    let list = async |path: &str| -> Value {
        let request = client.get(format!("http://{outside}{path}")).basic_auth(STRIPE_KEY, None::<&str>);
        request.send().await.unwrap().json().await.unwrap()
    };
    let mut worker = fleet.working(&[]).await;
    for number in 0..PAYMENTS {
        fleet.reserved(&format!("again-{number}")).await;
    }
    worker.signal("TERM");
    worker.ended().await;
    ask("/_sandbox/webhooks/hold", "").await;
    for payment in list("/_sandbox/truth?kind=payments").await.as_array().unwrap() {
        let path = format!("/v1/payment_intents/{}/confirm", payment["id"].as_str().unwrap());
        let paid = ask(&path, "payment_method=pm_card_visa").await;
        assert_eq!(paid["status"], "succeeded", "{paid}");
    }
    let told = list("/v1/events?type=payment_intent.succeeded&limit=100").await;
    let events = told["data"].as_array().unwrap().clone();
    assert_eq!(events.len(), PAYMENTS);
    events
}

/// An event of which nothing follows, as long as a real one.
fn template(event: &Value) -> String {
    let mut event = event.clone();
    event["id"] = "evt_{key}".into();
    event["type"] = "of.no.consequence".into();
    event.to_string()
}

fn letter(event: &Value) -> Request {
    Request::post(PATH, "", "", &template(event), "200").signed(signer())
}

/// Signs as Stripe does: the moment and the body, under the endpoint's secret.
fn signer() -> Sign {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    Arc::new(move |body| {
        let at = Clock::real().unix_seconds();
        let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
        let hex = tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        format!("stripe-signature: t={at},v1={hex}\r\n")
    })
}

/// Each event as often as Stripe would at the worst, all at once; then Postgres and a worker are back.
async fn again_and_again(fleet: &mut Fleet, events: &[Value], report: &mut Report) {
    let letters = events.iter().map(|event| Request::post(PATH, "", "", &event.to_string(), "200"));
    let letters: Vec<Request> = letters.map(|letter| letter.signed(signer())).collect();
    let address = fleet.address;
    let sent = join_all((0..COPIES).map(async |_| {
        let mut line = Line::open(address).await;
        let mut taken = 0;
        for letter in &letters {
            taken += usize::from(line.ask(letter, "", 0).await.starts_with("HTTP/1.1 200"));
        }
        taken
    }))
    .await;
    fleet.servers.start_postgres().await.unwrap();
    let mut worker = fleet.working(&[]).await;
    let payments = i64::try_from(PAYMENTS).unwrap();
    fleet.paid(payments).await;
    let kept =
        "select count(*) from inbox where type = 'payment_intent.succeeded' and resolved_at is not null";
    until("all events done", async || (fleet.count(kept).await >= payments).then_some(())).await;
    let settled = "select count(*) from order_events where to_status = 'payment_confirmed'";
    report.bar("copies_taken_in", float(sent.into_iter().sum()), Op::Is, float(PAYMENTS * COPIES));
    report.exactly("events_kept", fleet.count(kept).await, payments);
    report.exactly("times_an_order_was_confirmed", fleet.count(settled).await, payments);
    report.exactly("violations", i64::from(!fleet.audit_holds()), 0);
    worker.signal("TERM");
    worker.ended().await;
}

/// The floor: somebody who reads and answers.
pub(crate) async fn serve_floor(_plan: Plan, _report: &mut Report) {
    let nothing = post(async |_: axum::body::Bytes| (StatusCode::OK, ""));
    beside::serve(Router::new().route("/nothing", nothing)).await;
}
