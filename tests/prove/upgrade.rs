//! An upgrade without a stop: the schema first, then one process after the other, while customers come.
//!
//! The binary from before the last change of the schema works on the new schema alone, then beside the new one, each behind a
//! door of its own; then it is told to end in the middle of its work. No order notices, and what the old one can not read
//! waits for the new one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use stage::fleet::{Fleet, Setup, free};
use stage::process::{self, Process, with};
use stage::report::Report;

use crate::plan::Plan;

/// Where the binary from before is: `scripts/prove upgrade` builds it.
const BEFORE: &str = "ORDERFLEET_BEFORE";
const WORKERS: usize = 2;

/// Upgrades a fleet.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let before = std::env::var_os(BEFORE).expect("scripts/prove upgrade builds the binary from before");
    let before = PathBuf::from(before);
    let orders = plan.sized(40, 300);
    // Migrated by the new binary, as the first step of an upgrade is.
    let mut fleet = Fleet::set_up(Setup::default()).await;
    let door = free();
    let mut old = vec![started(&fleet, &before, "intake", door).await];
    for _ in 0..WORKERS {
        old.push(started(&fleet, &before, "worker", door).await);
    }
    whole(&fleet, [door], orders, "the old one alone on the new schema").await;
    report.progress("the old one works on the new schema");

    let mut new = Vec::new();
    for _ in 0..WORKERS {
        new.push(fleet.working(&[]).await);
    }
    whole(&fleet, [door, fleet.address], orders, "side by side").await;
    report.progress("both work side by side");

    let customers = [door, fleet.address].map(|door| customers(&fleet, door, orders));
    let half = i64::try_from(4 * orders).unwrap();
    fleet.paid(half).await;
    let mut ended_badly = 0;
    // Workers first: the door is closed when nobody asks it any more.
    for mut process in old.drain(1..) {
        process.signal("TERM");
        ended_badly += i64::from(!process.ended().await.success());
    }
    for demo in customers {
        fleet.figures(demo).await.must_be_whole(orders, "while the old one ends");
    }
    old[0].signal("TERM");
    ended_badly += i64::from(!old[0].ended().await.success());
    whole(&fleet, [fleet.address], orders, "the new one alone").await;

    report.count("orders", fleet.count("select count(*) from orders").await);
    report.exactly("ended_badly", ended_badly, 0);
    report.exactly("attempts_spent", fleet.count("select count(*) from attempts_ever").await, 0);
    report.exactly("dead_letters", fleet.count("select count(*) from dead_letters").await, 0);
    report.exactly("audits_that_do_not_hold", i64::from(!fleet.audit_holds()), 0);
    drop((old, new));
    fleet.end().await;
}

/// A process of the binary from before, that works.
async fn started(fleet: &Fleet, binary: &Path, role: &str, door: SocketAddr) -> Process {
    let mut command = process::of(binary, &with(fleet.command(), [role]));
    command.env("ORDERFLEET__INTAKE__ADDRESS", door.to_string());
    let mut process =
        Process::start(&format!("{role}-before-{}", free().port()), fleet.folder.path(), command);
    process.says(if role == "intake" { "intake listens" } else { "worker started" }).await;
    process
}

/// So many customers come to each of these doors, and are all served.
async fn whole<const N: usize>(fleet: &Fleet, doors: [SocketAddr; N], orders: u64, when: &str) {
    for demo in doors.map(|door| customers(fleet, door, orders)) {
        fleet.figures(demo).await.must_be_whole(orders, when);
    }
}

fn customers(fleet: &Fleet, door: SocketAddr, orders: u64) -> Process {
    let (intake, orders) = (format!("http://{door}"), orders.to_string());
    let arguments = ["demo", "--json", "--orders", &orders, "--intake", &intake, "--api-key", fleet.key()];
    Process::start("demo", fleet.folder.path(), with(fleet.command(), arguments))
}
