//! A provider that is away for minutes: nobody listens where the carriers' broker should be. Labels wait and spend nothing,
//! orders go on as if nothing were, and seconds after it is back the labels are bought.

use std::time::Duration;

use orderfleet::time::Stopwatch;
use stage::door;
use stage::driver::{self, Request};
use stage::figures::Figures;
use stage::fleet::{Fleet, Setup, answer, free};
use stage::process::{until, with};
use stage::proxy::Proxy;
use stage::report::{Op, Report, quantile};
use tokio::time::sleep;

use crate::plan::{Plan, Scale};

const WORKERS: usize = 2;
/// Wishes of others, each second: well below what the fleet can do, so that a wait is a delay and no queue.
const WISHES: f64 = 40.0;
const LINES: usize = 32;
/// Pieces for all of them.
const PIECES: &str = "1000000";
/// Until the first label after its return.
const RESUMES: f64 = 10.0;
/// How much longer than before the ninety-ninth of a hundred other wishes may wait.
const SLOWER: f64 = 1.2;

/// Takes it away, and gives it back.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let orders = plan.sized(40, 300);
    let window = Duration::from_secs(plan.sized(6, 90));
    let away = Duration::from_secs(plan.sized(20, 600));
    let mut fleet = Fleet::set_up(Setup::default()).await;
    answer(&mut with(fleet.command(), ["stock", "set", "SUIT-42R", PIECES]));
    let broker = free();
    let is_there = Proxy::at(broker, fleet.sandbox_address()).await;
    let base = format!("http://{broker}/v2");
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.working_apart(&[("ORDERFLEET__EASYPOST__API_BASE", base.as_str())]).await);
    }
    let calm = fleet.demo(orders);
    fleet.figures(calm).await.must_be_whole(orders, "before");
    // A minute after each wish its payment is looked at, which is work too: the first window has none of that, and does not
    // count.
    let _ = others(&fleet, window, "warm").await;
    let mut before = others(&fleet, window, "before").await;

    drop(is_there);
    let since = Stopwatch::start();
    let labels = fleet.count(LABELS).await;
    let customers = fleet.demo_through(orders, away);
    fleet.paid(i64::try_from(2 * orders).unwrap()).await;
    report.progress(format_args!("{orders} orders are paid, and nobody sells labels"));
    let mut meanwhile = others(&fleet, window, "meanwhile").await;
    // Those that were asked for before are looked at again while the last window begins, as they were in the first.
    sleep(away.saturating_sub(since.elapsed() + window + window)).await;
    let _ = others(&fleet, window, "again").await;
    let mut still = others(&fleet, window, "still").await;
    report.figure("away_seconds", since.elapsed().as_secs_f64());
    report.exactly("labels_bought_meanwhile", fleet.count(LABELS).await - labels, 0);

    let is_there = Proxy::at(broker, fleet.sandbox_address()).await;
    let since = Stopwatch::start();
    until("a label", async || (fleet.count(LABELS).await > labels).then_some(())).await;
    report.bar("labels_again_seconds", since.elapsed().as_secs_f64(), Op::AtMost, RESUMES);
    let figures: Figures = fleet.figures(customers).await;
    report.figure("all_labels_seconds", since.elapsed().as_secs_f64());
    figures.must_be_whole(orders, "while it was away");

    report.count("other_wishes", before.len() + meanwhile.len() + still.len());
    let calm = quantile(&mut before, 0.99);
    report.figure("reserved_before_p50_ms", quantile(&mut before, 0.5));
    report.figure("reserved_before_p99_ms", calm);
    for (when, wishes) in [("meanwhile", &mut meanwhile), ("still", &mut still)] {
        report.figure(&format!("reserved_{when}_p50_ms"), quantile(wishes, 0.5));
        report.figure(&format!("reserved_{when}_p99_ms"), quantile(wishes, 0.99));
    }
    meanwhile.append(&mut still);
    let away = quantile(&mut meanwhile, 0.99);
    // The ninety-ninth of a few hundred is one of the slowest three: it says nothing.
    if plan.scale == Scale::Full {
        report.bar("times_slower_p99", away / calm, Op::AtMost, SLOWER);
    }
    report.note(format!("attempts: {}", fleet.attempts().await));
    report.exactly("attempts_spent", fleet.count("select count(*) from attempts_ever").await, 0);
    report.exactly("dead_letters", fleet.count("select count(*) from dead_letters").await, 0);
    drop((workers, is_there));
    fleet.end().await;
}

const LABELS: &str = "select count(*) from labels";

/// Others who wish meanwhile, open loop: milliseconds until each is reserved and can be paid.
async fn others(fleet: &Fleet, window: Duration, when: &str) -> Vec<f64> {
    let wish = door::wish("{key}", "SUIT-42R").to_string();
    let request = Request::post("/v1/order-intents", fleet.key(), "prefer: wait=20\r\n", &wish, "201");
    driver::open(fleet.address, &request, (LINES, WISHES), window, when).await
}
