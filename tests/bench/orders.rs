//! Orders: HTTP to `reserved` through the fleet, beside the plain handler that does all of it in its request, and beside
//! the fleet itself with slices of one.
//!
//! Everyone uses the same Postgres and the same driver, in turn: clients that send a wish, wait until it is reserved, and
//! send the next. What follows a reservation (payment, expiry) is left waiting by everyone: the plain handler's in its
//! outbox, ours in its lanes.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use secrecy::ExposeSecret;
use stage::door;
use stage::driver::{self, Closed, Request};
use stage::fleet::{Fleet, Setup};
use stage::process::Process;
use stage::report::{Op, Report, quantile};

use crate::growth;
use crate::peer;
use crate::plan::Plan;

/// What a browser and a big shop's web tier come to: fewer clients than a slice, and about as many.
pub(crate) const CLIENTS: [usize; 2] = [32, 200];
pub(crate) const ROUNDS: usize = 3;
/// Spread over a thousand articles, we are to be so many times as fast as the plain handler …
const SPREAD: f64 = 4.0;
/// … on one article so many times …
const HOT: f64 = 10.0;
/// … and so many times as fast as ourselves without group commit.
const GROUPED: f64 = 3.0;
/// Follow-ups are not worked here, and must not close the door.
const ROOMY: u64 = 1_000_000_000;

/// The articles that both sell, without end.
pub(crate) const ARTICLES: &str = "
    create temporary table wanted as
      select 'SPREAD-' || lpad(n::text, 4, '0') as sku from generate_series(0, 999) n union all select 'HOT-00-0000';
    insert into skus (sku, name, weight_g, length_mm, width_mm, height_mm, hs_code, origin, customs_description)
      select sku, sku, 400, 300, 200, 30, '6203.11', 'US', 'suit' from wanted;
    insert into prices (sku, currency, unit_minor) select sku, 'USD', 12900 from wanted;
    insert into stock (sku, on_hand) select sku, 1000000000 from wanted;
    insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved)
      select sku, 'main', 'receipt', 'bench', 1000000000, 0 from wanted;
    select 0::bigint";

/// Who answers.
struct Runner {
    name: &'static str,
    address: SocketAddr,
    path: &'static str,
    _process: Process,
}

/// Measures it: spread over many articles, and on a single hot one.
pub(crate) async fn run(plan: Plan, report: &mut Report) {
    let time = Duration::from_secs(plan.sized(4, 12));
    let setup = Setup::default()
        .set("lanes.intents.max_depth", ROOMY)
        .set("lanes.payments_out.max_depth", ROOMY)
        .set("lanes.expiry.max_depth", ROOMY);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.count(ARTICLES).await;
    known(fleet.address, fleet.key()).await;
    let peer = plain(&plan, &fleet, report).await;
    report.note("Postgres fsync on, Redis appendfsync always; closed loop; POST to reserved");
    for (part, article, bar) in [("spread", "SPREAD-{number}", SPREAD), ("hot", "HOT-00-0000", HOT)] {
        if plan.wants(part) {
            let shape = Shape { part, article, bar };
            shape.measure(&mut fleet, peer.as_ref(), time, report).await;
        }
    }
    drop(peer);
    // Only where it is asked for: it fills two shops first.
    if plan.parts.iter().any(|part| part == "growth") {
        growth::measure(&fleet, &plan, time, report).await;
    }
    fleet.end().await;
}

/// Which articles are wanted, and what is to come of it.
struct Shape {
    part: &'static str,
    article: &'static str,
    bar: f64,
}

impl Shape {
    async fn measure(&self, fleet: &mut Fleet, plain: Option<&Runner>, time: Duration, report: &mut Report) {
        let mut rates: Vec<(String, Vec<f64>)> = Vec::new();
        for round in 0..ROUNDS {
            for clients in CLIENTS {
                if let Some(plain) = plain {
                    let request = Request::post(plain.path, "", "", &wish(self.article), "201");
                    let key = self.key(plain.name, round, clients);
                    let closed = driver::closed(plain.address, &request, clients, time, &key).await;
                    self.keep(&mut rates, (plain.name, clients), closed, report);
                }
                for (name, slice) in [("fleet", None), ("slice_of_one", Some(1))] {
                    // The comparison with ourselves is about the hot article, where commits queue up.
                    if slice.is_some() && self.part != "hot" {
                        continue;
                    }
                    let closed =
                        self.ours(fleet, slice, clients, time, &self.key(name, round, clients)).await;
                    self.keep(&mut rates, (name, clients), closed, report);
                }
            }
        }
        self.judge(rates, report);
    }

    fn key(&self, who: &str, round: usize, clients: usize) -> String {
        format!("{}-{who}-{round}-{clients}", self.part)
    }

    async fn ours(
        &self,
        fleet: &mut Fleet,
        slice: Option<u32>,
        clients: usize,
        time: Duration,
        round: &str,
    ) -> Closed {
        let mut command = fleet.command();
        command.args(["worker", "--lanes", "intents"]);
        if let Some(slice) = slice {
            command.env("ORDERFLEET__LANES__INTENTS__SLICE", slice.to_string());
        }
        let mut worker = fleet.worker_as(command);
        worker.says("worker started").await;
        let headers = "prefer: wait=30, until=reserved\r\n";
        let request = Request::post("/v1/order-intents", fleet.key(), headers, &wish(self.article), "201");
        let closed = driver::closed(fleet.address, &request, clients, time, round).await;
        worker.signal("TERM");
        assert!(worker.ended().await.success(), "the worker did not end well");
        closed
    }

    fn keep(
        &self,
        rates: &mut Vec<(String, Vec<f64>)>,
        (who, clients): (&str, usize),
        mut closed: Closed,
        report: &mut Report,
    ) {
        let name = format!("{}_{who}_at_{clients}", self.part);
        let p99 = quantile(&mut closed.waits_ms, 0.99);
        report.progress(format_args!("{name}: {:.0} orders/s, p99 {p99:.0} ms", closed.per_second));
        report.figure(&format!("{name}_p50_ms"), quantile(&mut closed.waits_ms, 0.5));
        report.figure(&format!("{name}_p99_ms"), p99);
        match rates.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rates)) => rates.push(closed.per_second),
            None => rates.push((name, vec![closed.per_second])),
        }
    }

    /// Medians, and the bars.
    fn judge(&self, rates: Vec<(String, Vec<f64>)>, report: &mut Report) {
        let part = self.part;
        let medians: Vec<(String, f64)> =
            rates.into_iter().map(|(name, mut rates)| (name, quantile(&mut rates, 0.5))).collect();
        for (name, median) in &medians {
            report.figure(&format!("{name}_orders_a_second"), median.round());
        }
        for clients in CLIENTS {
            let of = |who: &str| {
                let name = format!("{part}_{who}_at_{clients}");
                medians.iter().find(|(known, _)| *known == name).map(|(_, median)| *median)
            };
            for (peer, bar) in [("plain_handler", self.bar), ("slice_of_one", GROUPED)] {
                if let (Some(ours), Some(theirs)) = (of("fleet"), of(peer)) {
                    let name = format!("{part}_vs_{peer}_at_{clients}_ratio");
                    report.bar(&name, ours / theirs, Op::AtLeast, bar);
                }
            }
        }
    }
}

/// The plain handler, where it is asked for and could be had.
async fn plain(plan: &Plan, fleet: &Fleet, report: &mut Report) -> Option<Runner> {
    match plan.peers.as_slice() {
        [] => return None,
        [name] if name == "plain-handler" => {}
        others => panic!("--vs is plain-handler, not {others:?}"),
    }
    let Some(folder) = peer::folder("plain-handler", "server.js") else {
        report.fail("plain-handler could not be installed here: nothing was compared with it".to_owned());
        return None;
    };
    let mut command = Command::new("node");
    command.arg("server.js").current_dir(folder);
    command.env("DATABASE_URL", fleet.servers.database_url().expose_secret());
    let mut process = Process::start("plain-handler", fleet.folder.path(), command);
    process.says("listens at").await;
    let address = process.log().trim().rsplit(' ').next().unwrap().parse().unwrap();
    Some(Runner { name: "plain_handler", address, path: "/orders", _process: process })
}

/// Waits until the door has heard of the articles.
pub(crate) async fn known(address: SocketAddr, key: &str) {
    let request = Request::post("/v1/order-intents", key, "", &wish("HOT-00-0000"), "202");
    let mut line = driver::Line::open(address).await;
    let mut tries = 0_u32;
    stage::process::until("a door that knows the articles", async || {
        tries += 1;
        line.ask(&request, &format!("known-{tries}"), tries).await.starts_with("HTTP/1.1 202").then_some(())
    })
    .await;
}

/// A wish for one piece, under the key of the request.
pub(crate) fn wish(article: &str) -> String {
    door::wish("{key}", article).to_string()
}
