//! A flash sale: far more buyers than pieces, all within two seconds.
//!
//! Two driver processes send the wishes, each buyer with a connection, a cart and a key of its own, and hold on until they
//! are told. Exactly as many orders as pieces may come of it, everybody is answered soon, and Postgres is left in peace. Once
//! with the door's hint of what is sold out, and once without it, when a worker judges every single wish.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use orderfleet::ids::jitter;
use orderfleet::time::Stopwatch;
use serde_json::Value;
use stage::door;
use stage::driver::{Line, Request};
use stage::fleet::{Fleet, Setup};
use stage::process::{Process, until};
use stage::report::{Op, Report};
use tokio::sync::Mutex;

use crate::plan::{Plan, Scale};

const DRIVERS: u32 = 2;
/// Within this time they all arrive.
const ARRIVALS: Duration = Duration::from_secs(2);
/// The last one is told this soon after the last arrival, in seconds.
const TOLD_WITHIN: f64 = 5.0;
/// Connections to Postgres, of all processes together.
const CONNECTIONS: f64 = 20.0;
/// A buyer who is sent away comes back as told, so often.
const PATIENCE: u32 = 5;
/// What a driver calls its times.
const LAST_ARRIVAL: &str = "last_arrival_seconds";
const LAST_ANSWER: &str = "last_answer_seconds";
/// Between two looks at Postgres.
const LOOK: Duration = Duration::from_millis(100);

/// What one driver's buyers were told.
#[derive(Default)]
struct Told {
    /// Answers by what they said.
    answers: BTreeMap<String, f64>,
    /// Seconds from the beginning to the last arrival, and to the last answer.
    last_arrival: f64,
    last_answer: f64,
}

/// Proves it with the hint and without.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let buyers = if plan.scale == Scale::Full { 20_000 } else { 4_000 };
    let pieces = buyers / 200;
    report.count("buyers", buyers);
    for (name, gate) in [("gated", true), ("ungated", false)] {
        one(name, gate, (buyers, pieces), report).await;
    }
}

async fn one(name: &str, gate: bool, (buyers, pieces): (u32, u32), report: &mut Report) {
    let mut fleet = Fleet::set_up(Setup::default().set("intake.sold_out_gate", gate)).await;
    fleet.count(&article(pieces)).await;
    let early = Request::post("/v1/order-intents", fleet.key(), "", &body(), "202");
    let mut line = Line::open(fleet.address).await;
    // A wish that no worker takes in yet tells when the door knows the article.
    until("a door that knows the article", async || {
        let answer = line.ask(&early, "early", 0).await;
        answer.starts_with("HTTP/1.1 202").then_some(())
    })
    .await;
    drop(line);
    let mut worker = fleet.working(&[]).await;
    let drivers: Vec<Process> = (0..DRIVERS).map(|number| driver(&fleet, number, buyers / DRIVERS)).collect();
    let (told, connections) = tokio::join!(join_all(drivers.into_iter().map(heard)), peak(&fleet));
    let mut answers: BTreeMap<String, f64> = BTreeMap::new();
    let mut late: f64 = 0.0;
    for told in told {
        late = late.max(told.last_answer - told.last_arrival);
        for (answer, count) in told.answers {
            *answers.entry(answer).or_default() += count;
        }
    }
    report
        .progress(format_args!("{name}: {answers:?}, the last after {late:.2} s, {connections} connections"));
    let count = |answer: &str| answers.get(answer).copied().unwrap_or(0.0);
    let (reserved, refused) = (count("reserved"), count("sold_out") + count("insufficient_stock"));
    let (all, sold) = (f64::from(buyers), f64::from(pieces));
    // One piece is the early wish's.
    report.bar(&format!("{name}_reserved"), reserved + 1.0, Op::Is, sold);
    report.bar(&format!("{name}_told_that_it_is_gone"), refused, Op::Is, all - sold + 1.0);
    report.bar(&format!("{name}_other_answers"), all - reserved - refused, Op::Is, 0.0);
    report.figure(&format!("{name}_refused_at_the_door"), count("sold_out"));
    report.bar(&format!("{name}_last_answer_after_the_last_arrival_seconds"), late, Op::AtMost, TOLD_WITHIN);
    report.bar(&format!("{name}_postgres_connections_max"), connections, Op::AtMost, CONNECTIONS);
    let held = "select count(*) from reservations where sku = 'HERD' and state = 'active'";
    report.exactly(&format!("{name}_pieces_held"), fleet.count(held).await, i64::from(pieces));
    let oversold = "select count(*) from stock where sku = 'HERD' and reserved <> on_hand";
    report.exactly(&format!("{name}_stock_rows_off"), fleet.count(oversold).await, 0);
    until("an end of all work", async || (fleet.open_work().await == 0).then_some(())).await;
    report.exactly(&format!("{name}_audit_violations"), i64::from(!fleet.audit_holds()), 0);
    worker.signal("TERM");
    assert!(worker.ended().await.success(), "the worker did not end well");
    fleet.end().await;
}

/// The most connections that the fleet had while the drivers ran.
async fn peak(fleet: &Fleet) -> f64 {
    let since = Stopwatch::start();
    let mut most = 0;
    while since.elapsed() < ARRIVALS * 2 {
        let open = "select count(*) from pg_stat_activity where application_name like 'orderfleet%'";
        most = most.max(fleet.count(open).await);
        tokio::time::sleep(LOOK).await;
    }
    f64::from(u32::try_from(most).unwrap())
}

/// This program again, as one of the drivers.
fn driver(fleet: &Fleet, number: u32, buyers: u32) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("herd-driver").env("HERD_TO", fleet.address.to_string()).env("HERD_KEY", fleet.key());
    command.env("HERD_BUYERS", buyers.to_string()).env("HERD_NAME", format!("d{number}"));
    Process::start(&format!("herd-{number}"), fleet.folder.path(), command)
}

/// What it reported: a count for each answer, and its times.
async fn heard(mut driver: Process) -> Told {
    assert!(driver.ended().await.success(), "a driver did not end well");
    let report: Value = serde_json::from_str(driver.out().lines().last().unwrap()).unwrap();
    let mut told = Told::default();
    for (name, figure) in report["figures"].as_object().unwrap() {
        let figure = figure.as_f64().unwrap();
        match name.as_str() {
            LAST_ARRIVAL => told.last_arrival = figure,
            LAST_ANSWER => told.last_answer = figure,
            answer => drop(told.answers.insert(answer.to_owned(), figure)),
        }
    }
    told
}

/// A driver process: sends its buyers' wishes, and reports what they were told.
pub(crate) async fn drive(_plan: Plan, report: &mut Report) {
    #[expect(clippy::disallowed_methods, reason = "a driver is a program of its own, not the product")]
    let given = |name: &str| std::env::var(name).unwrap();
    let to: SocketAddr = given("HERD_TO").parse().unwrap();
    let (buyers, name): (u32, String) = (given("HERD_BUYERS").parse().unwrap(), given("HERD_NAME"));
    let request = wish(&given("HERD_KEY"));
    let (free, told) = (Mutex::new(Vec::new()), Mutex::new(Told::default()));
    let since = Stopwatch::start();
    let begin = tokio::time::Instant::now();
    join_all((0..buyers).map(async |buyer| {
        let arrival = ARRIVALS.mul_f64(jitter());
        tokio::time::sleep_until(begin + arrival).await;
        let idle = free.lock().await.pop();
        let mut line = match idle {
            Some(line) => line,
            None => Line::open(to).await,
        };
        let said = buy(&mut line, &request, &format!("{name}-{buyer}")).await;
        free.lock().await.push(line);
        let mut told = told.lock().await;
        *told.answers.entry(said).or_default() += 1.0;
        told.last_arrival = told.last_arrival.max(arrival.as_secs_f64());
        told.last_answer = told.last_answer.max(since.elapsed().as_secs_f64());
    }))
    .await;
    let told = told.into_inner();
    report.figure(LAST_ARRIVAL, told.last_arrival);
    report.figure(LAST_ANSWER, told.last_answer);
    told.answers.iter().for_each(|(answer, count)| report.figure(answer, *count));
}

/// One buyer: what the answer said in the end.
async fn buy(line: &mut Line, request: &Request, key: &str) -> String {
    for _ in 0..PATIENCE {
        let answer = line.ask(request, key, 0).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let said: Value = serde_json::from_str(body).unwrap();
        let wait = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().unwrap())
        });
        let Some(wait) = wait else {
            let code = said["error"].as_str().or(said["code"].as_str()).or(said["status"].as_str());
            return code.unwrap_or(&head[..12]).to_owned();
        };
        tokio::time::sleep(Duration::from_secs(wait)).await;
    }
    "never".to_owned()
}

fn article(pieces: u32) -> String {
    format!(
        "insert into skus (sku, name, weight_g, length_mm, width_mm, height_mm, hs_code, origin, customs_description)
           values ('HERD', 'Suit', 400, 300, 200, 30, '6203.11', 'US', 'suit');
         insert into prices (sku, currency, unit_minor) values ('HERD', 'USD', 12900);
         insert into stock (sku, on_hand) values ('HERD', {pieces});
         insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved)
           values ('HERD', 'main', 'receipt', 'herd', {pieces}, 0);
         select 0::bigint"
    )
}

fn wish(key: &str) -> Request {
    Request::post("/v1/order-intents", key, "prefer: wait=30, until=reserved\r\n", &body(), "201")
}

fn body() -> String {
    door::wish("{key}", "HERD").to_string()
}
