//! The audit of a big shop: a million orders with all that became of them, judged within a minute, and nothing that is
//! wrong among them overlooked.
//!
//! The history is one that the audit calls clean. Then one thing of each kind is spoilt in it, and exactly that must show,
//! by the order's own id: a fast audit that no longer looks proves nothing.

use std::collections::BTreeMap;

use orderfleet::ids::{OrderId, ShipmentId};
use orderfleet::time::Stopwatch;
use serde_json::Value;
use stage::fleet::{Fleet, Setup};
use stage::process::{run, with};
use stage::report::{Op, Report};
use uuid::Uuid;

use crate::plan::Plan;

/// Seconds for all invariants together.
const WITHIN: f64 = 60.0;
/// The sandbox knows nothing of the history: it is not asked for its books.
const NOBODY: &str = "http://127.0.0.1:9/";
/// What is spoilt in the order `$order`, the check that must see it, and by which name.
const SPOILT: [(&str, Shown, &str); 6] = [
    ("I3", Shown::Sku, "update stock set on_hand = on_hand + 1 where sku = 'HISTORY-0007'"),
    (
        "I6",
        Shown::Something,
        "insert into stock_movements (sku, location, kind, reservation_id, source, delta_on_hand, delta_reserved)
           select sku, location, kind, id, 'spoilt', 0, sign * quantity
             from reservations cross join (values ('reserve', 1), ('release', -1)) as twice (kind, sign)
            where id = (select id from reservations where order_id = '$order' limit 1)",
    ),
    (
        "I17",
        Shown::Order,
        "update order_events set to_status = 'confirmed' where order_id = '$order' and seq = 2;
         update order_events set from_status = 'confirmed' where order_id = '$order' and seq = 3",
    ),
    ("I33", Shown::Order, "update communications set kind = 'spoilt' where order_id = '$order' and kind = 'order_confirmation'"),
    ("I37", Shown::Shipment, "update shipments set tracking_rank = 30 where order_id = '$order'"),
    (
        "I43",
        Shown::Something,
        "update effects set provider_ref = 'spoilt'
          where name = (select 'pay_create:' || id from payments where order_id = '$order')",
    ),
];

/// By which name an offender shows.
#[derive(Clone, Copy)]
enum Shown {
    Order,
    Shipment,
    Sku,
    Something,
}

/// What a run of the audit said.
struct Said {
    /// Seconds from the start of the process to its end.
    seconds: f64,
    checks: Vec<Value>,
}

/// Fills, audits, spoils, audits.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let orders: u64 = plan.sized(20_000, 1_000_000);
    let fleet = Fleet::set_up(Setup::default().set("stripe.api_base", NOBODY)).await;
    let since = Stopwatch::start();
    fleet.write_history(0, orders).await;
    report.count("orders", orders);
    report.figure("written_in_seconds", since.elapsed().as_secs_f64());
    report.count("database_bytes", fleet.count("select pg_database_size(current_database())").await);
    report.progress(format_args!("{orders} orders are written"));
    for (name, arguments) in
        [("running", &["audit", "--json"][..]), ("drained", &["audit", "--json", "--quiescent"])]
    {
        let said = audit(&fleet, arguments);
        report.progress(format_args!("{name}: {:.1} s", said.seconds));
        report.bar(&format!("{name}_seconds"), said.seconds, Op::AtMost, WITHIN);
        let red = said.red();
        report.exactly(&format!("{name}_violated_checks"), i64::try_from(red.len()).unwrap(), 0);
        for (check, offenders) in red {
            report.note(format!("{name}: {check} is violated: {offenders:?}"));
        }
        if name == "drained" {
            said.times(report);
        }
    }
    let missed = spoil(&fleet, orders / 2 / 100 * 100, report).await;
    report.exactly("spoilt_and_overlooked", missed, 0);
    fleet.end().await;
}

/// Spoils one order, and counts the checks that did not say exactly that.
async fn spoil(fleet: &Fleet, number: u64, report: &mut Report) -> i64 {
    let ids = format!(
        "select o.id::text || ' ' || s.id from orders o join shipments s on s.order_id = o.id where order_number = 'H-{number}'"
    );
    let ids: String = fleet.select(&ids).await;
    let (order, shipment) = ids.split_once(' ').unwrap();
    let statements: Vec<String> = SPOILT.iter().map(|(_, _, sql)| sql.replace("$order", order)).collect();
    fleet.as_replica(&statements).await;
    let mut red = audit(fleet, &["audit", "--json", "--quiescent"]).red();
    let mut missed = 0;
    for (check, shown, _) in SPOILT {
        let uuid = |text: &str| text.parse::<Uuid>().unwrap();
        let name = match shown {
            Shown::Order => OrderId::from(uuid(order)).to_string(),
            Shown::Shipment => ShipmentId::from(uuid(shipment)).to_string(),
            Shown::Sku => "HISTORY-0007/main".to_owned(),
            Shown::Something => String::new(),
        };
        let offenders = red.remove(check).unwrap_or_default();
        if offenders.len() != 1 || !(name.is_empty() || offenders[0] == name) {
            report.note(format!("{check} says {offenders:?}, not {name}"));
            missed += 1;
        }
    }
    for (check, offenders) in &red {
        report.note(format!("nothing was spoilt for {check}: {offenders:?}"));
    }
    missed + i64::try_from(red.len()).unwrap()
}

/// Runs the product's own command.
fn audit(fleet: &Fleet, arguments: &[&str]) -> Said {
    let since = Stopwatch::start();
    let output = run(&mut with(fleet.command(), arguments));
    let seconds = since.elapsed().as_secs_f64();
    let mut said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("the audit said {}", String::from_utf8_lossy(&output.stderr)));
    let Value::Array(checks) = said["checks"].take() else { panic!("a report has checks") };
    Said { seconds, checks }
}

impl Said {
    /// The violated checks, and the ids of their offenders.
    fn red(&self) -> BTreeMap<String, Vec<String>> {
        let red = self.checks.iter().filter(|check| check["outcome"] == "violated");
        red.map(|check| {
            let sample = check["sample"].as_array().unwrap().iter();
            let ids = sample.map(|offender| offender["id"].as_str().unwrap().to_owned());
            (check["id"].as_str().unwrap().to_owned(), ids.collect())
        })
        .collect()
    }

    /// What each statement took: several checks may share one.
    fn times(&self, report: &mut Report) {
        for check in self.checks.iter().filter(|check| check["outcome"] == "held") {
            let (id, millis) = (check["id"].as_str().unwrap(), check["millis"].as_f64().unwrap());
            report.figure(&format!("{id}_seconds"), millis / 1_000.0);
        }
        let slowest = self.checks.iter().max_by_key(|check| check["millis"].as_i64());
        let slowest = slowest.map(|check| format!("the slowest is {}: {}", check["id"], check["name"]));
        report.note(slowest.unwrap_or_default());
    }
}
