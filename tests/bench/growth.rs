//! Orders a second in a shop that has ten thousand of them, and in one that has a million: the hot path looks rows up by key,
//! so that what was sold last year must cost today's orders nothing.
//!
//! Two databases on one server, each with an intake and keys of its own in one Redis; they take turns, so that whatever the
//! machine does meanwhile falls on both.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use secrecy::ExposeSecret;
use stage::driver::{self, Request};
use stage::fleet::{self, Fleet};
use stage::history;
use stage::process::{Process, with};
use stage::report::{Op, Report, quantile};

use crate::orders::{ARTICLES, CLIENTS, ROUNDS, known, wish};
use crate::plan::Plan;

/// Orders of the small shop.
const FEW: u64 = 10_000;
/// The big shop's orders a second are so much of the small one's.
const SHARE: f64 = 0.8;
const CATALOGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/catalogue.csv");

/// A database with its intake.
struct Shop {
    name: &'static str,
    environment: Vec<(String, String)>,
    address: SocketAddr,
    key: String,
    intake: Process,
}

/// Fills both, and lets them take turns.
pub(crate) async fn measure(fleet: &Fleet, plan: &Plan, time: Duration, report: &mut Report) {
    let many = plan.sized(100_000, 1_000_000);
    let shops = [Shop::open(fleet, "small", FEW, report).await, Shop::open(fleet, "big", many, report).await];
    report.count("growth_small_stored_orders", FEW);
    report.count("growth_big_stored_orders", many);
    for clients in CLIENTS {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (shop, rates) in shops.iter().zip(&mut rates) {
                let rate = shop.sell(fleet, clients, time, round).await;
                report.progress(format_args!("growth: {} at {clients}: {rate:.0} orders/s", shop.name));
                rates.push(rate);
            }
        }
        let [small, big] = rates.map(|mut rates| quantile(&mut rates, 0.5));
        report.figure(&format!("growth_small_at_{clients}_orders_a_second"), small.round());
        report.figure(&format!("growth_big_at_{clients}_orders_a_second"), big.round());
        report.bar(&format!("growth_big_of_small_at_{clients}_ratio"), big / small, Op::AtLeast, SHARE);
    }
}

impl Shop {
    /// Makes the database as an operator would, fills it, and opens its door.
    async fn open(fleet: &Fleet, name: &'static str, orders: u64, report: &Report) -> Self {
        let url = fleet.servers.database_url();
        history::run(url.expose_secret(), &format!("create database {name}")).await;
        let (server, _) = url.expose_secret().rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        let address = fleet::free();
        let environment = [
            ("ORDERFLEET__POSTGRES__URL", url.clone()),
            ("ORDERFLEET__REDIS__PREFIX", name.to_owned()),
            ("ORDERFLEET__INTAKE__ADDRESS", address.to_string()),
        ];
        let environment: Vec<(String, String)> =
            environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let command = |arguments: &[&str]| with(command(fleet, &environment), arguments);
        for arguments in [&["migrate"][..], &["catalog", "import", CATALOGUE]] {
            fleet::answer(&mut command(arguments));
        }
        let made = fleet::answer(&mut command(&["keys", "create", "--name", name]));
        let key = made.lines().nth(1).unwrap().to_owned();
        history::write(&url, 0, orders).await;
        history::run(&url, ARTICLES).await;
        report.progress(format_args!("growth: {name} has {orders} orders"));
        let intake = Process::start(name, fleet.folder.path(), command(&["intake"]));
        let mut shop = Self { name, environment, address, key, intake };
        shop.intake.says("intake listens").await;
        known(shop.address, &shop.key).await;
        shop
    }

    /// Sells for a while, and answers how many a second.
    async fn sell(&self, fleet: &Fleet, clients: usize, time: Duration, round: usize) -> f64 {
        let worker = with(command(fleet, &self.environment), ["worker", "--lanes", "intents"]);
        let mut worker = Process::start(&format!("{}-worker", self.name), fleet.folder.path(), worker);
        worker.says("worker started").await;
        let headers = "prefer: wait=30, until=reserved\r\n";
        let request = Request::post("/v1/order-intents", &self.key, headers, &wish("SPREAD-{number}"), "201");
        let round = format!("growth-{round}-{clients}");
        let closed = driver::closed(self.address, &request, clients, time, &round).await;
        worker.signal("TERM");
        assert!(worker.ended().await.success(), "the worker did not end well");
        closed.per_second
    }
}

fn command(fleet: &Fleet, environment: &[(String, String)]) -> Command {
    let mut command = fleet.command();
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}
