//! Ten thousand holds run out in one second, and nobody pays any of them: the pieces are for sale again in seconds, none of
//! them early, and whoever wants to buy meanwhile does not wait behind them.
//!
//! Half of the holds are of one article, whose stock row takes one commit at a time. Every end of a hold is told to its
//! customer and leaves a job that calls the order off later, as ever; the sandbox takes the mails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use orderfleet::time::{Clock, Stopwatch};
use stage::door;
use stage::driver::{Line, Request};
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report, quantile};
use tokio::time::{Instant, sleep_until};

use crate::plan::Plan;

/// Seconds from the moment at which a hold was over to its end: of the slowest.
const RELEASED: f64 = 5.0;
/// Milliseconds from sending a fresh wish to the beginning of its transaction, for ninety-nine of a hundred.
const START: f64 = 250.0;
/// Seconds in which the rows are written and relayed, before the first hold is over.
const DUE_IN: u32 = 20;
/// Fresh wishes: by so many clients, one each so often.
const CLIENTS: u32 = 16;
const EVERY: Duration = Duration::from_millis(200);
/// Wishes go on for at least this long after the first hold was over, so that there are enough of them.
const AT_LEAST: Duration = Duration::from_secs(5);
/// The holds that run out; fresh orders hold the same articles.
const OURS: &str = "order_id in (select id from orders where order_number like 'HELD-%')";
/// Worker processes.
const WORKERS: usize = 2;

/// A fresh wish: its key, when it was sent (milliseconds since 1970), and how long its buyer waited for the reservation.
struct Fresh {
    key: String,
    sent: i64,
    waited: f64,
}

/// Lets them run out, and counts.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let holds = plan.sized(1_000, 10_000);
    let mut fleet = Fleet::set_up(Setup::default()).await;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.working(&[]).await);
    }
    fleet.insert_holds(holds, DUE_IN).await;
    let waiting = "select count(*) from jobs where kind = 'reservation-expiry' and relayed_at is null";
    until("relayed jobs", async || (fleet.count(waiting).await == 0).then_some(())).await;
    let left = "select floor(extract(epoch from min(expires_at) - clock_timestamp()) * 1000)::bigint from reservations";
    let left = fleet.count(left).await;
    assert!(left > 0, "the first hold was over before all were relayed");
    report.progress(format_args!("{holds} holds run out in {left} ms"));
    tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap())).await;

    let over = AtomicBool::new(false);
    let (fresh, ()) = tokio::join!(buyers(&fleet, &over), released(&fleet, &over));
    report.progress("all are released");
    report.count("holds", holds);
    let ended = format!("select count(*) from reservations where state = 'expired' and {OURS}");
    report.exactly("released_holds", fleet.count(&ended).await, i64::from(holds));
    let early = "select count(*) from reservations where state = 'expired' and resolved_at < expires_at";
    report.exactly("released_early", fleet.count(early).await, 0);
    report.bar("released_last_seconds", late(&fleet, 1.0).await, Op::AtMost, RELEASED);
    report.figure("released_median_seconds", late(&fleet, 0.5).await);
    report.count("fresh_wishes", fresh.len());
    let mut waits: Vec<f64> = fresh.iter().map(|fresh| fresh.waited).collect();
    report.figure("fresh_reserved_p99_ms", quantile(&mut waits, 0.99));
    report.bar("fresh_start_p99_ms", started(&fleet, &fresh).await, Op::AtMost, START);
    // Fresh orders are held for a quarter of an hour yet, and every order is called off tomorrow.
    until("an end of all work", async || (fleet.open_work().await == 0).then_some(())).await;
    let told = "select count(*) from communications where kind = 'reservation_expired' and state = 'sent'";
    report.exactly("customers_told", fleet.count(told).await, i64::from(holds));
    report.exactly("dead_letters", fleet.count("select count(*) from dead_letters").await, 0);
    report.note(format!("attempts: {}", fleet.attempts().await));
    report.exactly("audit_violations", (!fleet.audit_holds()).into(), 0);
    for worker in &mut workers {
        worker.signal("TERM");
        assert!(worker.ended().await.success(), "a worker did not end well");
    }
    fleet.end().await;
}

/// Waits until no hold of theirs is left.
async fn released(fleet: &Fleet, over: &AtomicBool) {
    let since = Stopwatch::start();
    let held = format!("select count(*) from reservations where state = 'active' and {OURS}");
    until("the last hold's end", async || {
        (since.elapsed() >= AT_LEAST && fleet.count(&held).await == 0).then_some(())
    })
    .await;
    over.store(true, Ordering::Relaxed);
}

/// Buys meanwhile, steadily.
async fn buyers(fleet: &Fleet, over: &AtomicBool) -> Vec<Fresh> {
    let headers = "prefer: wait=20, until=reserved\r\n";
    let wish = door::wish("{key}", "HELD-{number}").to_string();
    let request = Request::post("/v1/order-intents", fleet.key(), headers, &wish, "201");
    let (begin, clock) = (Instant::now(), Clock::real());
    join_all((0..CLIENTS).map(async |client| {
        let mut line = Line::open(fleet.address).await;
        let mut bought = Vec::new();
        let mut next = begin + EVERY * client / CLIENTS;
        while !over.load(Ordering::Relaxed) {
            sleep_until(next).await;
            next += EVERY;
            let key = format!("fresh-{client}-{}", bought.len());
            let (sent, since) = (clock.now().timestamp_millis(), Stopwatch::start());
            // Half of them want the hot article too.
            let article = if client % 2 == 0 { 0 } else { client };
            let answer = line.ask(&request, &key, article).await;
            assert!(answer.starts_with("HTTP/1.1 201"), "a fresh wish was answered {answer}");
            bought.push(Fresh { key, sent, waited: since.elapsed().as_secs_f64() * 1_000.0 });
        }
        bought
    }))
    .await
    .into_iter()
    .flatten()
    .collect()
}

/// Seconds from its time to a hold's end, for this share of them.
async fn late(fleet: &Fleet, share: f64) -> f64 {
    let late = format!(
        "select percentile_disc({share}) within group (order by extract(epoch from resolved_at - expires_at)::float8)
           from reservations where state = 'expired' and {OURS}"
    );
    fleet.select(&late).await
}

/// Milliseconds from the sending of a wish to the beginning of the transaction that decided it, for ninety-nine of a
/// hundred. The database has this machine's clock.
async fn started(fleet: &Fleet, fresh: &[Fresh]) -> f64 {
    let keys: Vec<String> = fresh.iter().map(|fresh| format!("'{}'", fresh.key)).collect();
    let started: Vec<f64> = fleet
        .select(&format!(
            "select array_agg((extract(epoch from i.created_at) * 1000)::float8 order by k.place)
               from unnest(array[{}]) with ordinality as k (cart, place) join order_intents i on i.cart_id = k.cart",
            keys.join(",")
        ))
        .await;
    assert_eq!(started.len(), fresh.len(), "every fresh wish was decided");
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "milliseconds, far below 2^52")]
    let mut waits: Vec<f64> = started.iter().zip(fresh).map(|(at, fresh)| at - fresh.sent as f64).collect();
    quantile(&mut waits, 0.99)
}
