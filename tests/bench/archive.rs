//! What it takes to delete orders that ended years ago: how many a second, how long each piece holds its locks, and how much
//! smaller the database is afterwards, which the audit must still call clean.
//!
//! The history is the proofs' own. Pieces are taken one after the other without the pause that workers make between them.

use std::time::Duration;

use orderfleet::config::load::{Sources, load};
use orderfleet::store::Store;
use orderfleet::store::retention::Subject;
use orderfleet::time::Stopwatch;
use stage::fleet::Fleet;
use stage::report::{Op, Report, quantile};

use crate::plan::Plan;

/// The youngest that the database lets go.
const KEEP: Duration = Duration::from_hours(24 * 365);
/// Milliseconds that a piece of fifty orders may hold its locks, the slowest hundredth apart: nobody waits for them but
/// other pieces.
const PIECE: f64 = 250.0;
/// Everything that grows with orders.
const ROWS: &str = "
    select sum((xpath('/row/n/text()', query_to_xml(format('select count(*) as n from %I', tablename), false, true, '')))[1]::text::bigint)::bigint
      from pg_tables where schemaname = 'public'";
const MEGABYTES: &str = "select pg_database_size(current_database()) / 1024 / 1024";

/// Fills, deletes, looks.
pub(crate) async fn run(plan: Plan, report: &mut Report) {
    let fleet = Fleet::start().await;
    fleet.write_history(0, plan.sized(10_000, 100_000)).await;
    let (rows, megabytes) = (fleet.count(ROWS).await, fleet.count(MEGABYTES).await);
    let orders = fleet.count("select count(*) from orders").await;
    report.progress(format_args!("filled: {orders} orders, {rows} rows, {megabytes} MB"));

    let mut settings = load(&Sources::default()).unwrap().postgres;
    settings.url = fleet.servers.database_url();
    let store = Store::new(&settings).unwrap();
    let (since, mut pieces) = (Stopwatch::start(), Vec::new());
    loop {
        let piece = Stopwatch::start();
        let swept = store.sweep(Subject::Orders, KEEP).await.unwrap();
        pieces.push(piece.elapsed().as_secs_f64() * 1_000.0);
        if !swept.is_more {
            break;
        }
    }
    let seconds = since.elapsed().as_secs_f64();
    store.close().await;

    let gone = orders - fleet.count("select count(*) from orders").await;
    let left = fleet.count(ROWS).await;
    fleet.as_replica(&["vacuum (full)".to_owned()]).await;
    report.count("orders", orders);
    report.count("orders_gone", gone);
    report.count("rows", rows);
    report.count("rows_gone", rows - left);
    report.count("megabytes_before", megabytes);
    report.count("megabytes_after", fleet.count(MEGABYTES).await);
    report.figure("orders_a_second", f64::from(u32::try_from(gone).unwrap()) / seconds);
    report.figure("piece_p50_ms", quantile(&mut pieces, 0.5));
    report.bar("piece_p99_ms", quantile(&mut pieces, 0.99), Op::AtMost, PIECE);
    report.bar("audit_holds", f64::from(u8::from(fleet.audit_holds())), Op::AtLeast, 1.0);
    fleet.end().await;
}
