//! No statement of the fleet reads a table that grows from one end to the other.
//!
//! Each statement is planned as the fleet's sessions plan it, for any parameters, with every way but an index forbidden:
//! what is still read whole has no index that could help. A page that does that is quick in every test and times out in
//! the first shop with a million orders.

use std::path::Path;

use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::shared::{Shared, servers};

/// Tables that get rows with every order, and keep them.
const GROWING: [&str; 21] = [
    "orders",
    "order_items",
    "order_events",
    "order_intents",
    "order_exceptions",
    "payments",
    "payment_attempts",
    "refunds",
    "disputes",
    "reservations",
    "stock_movements",
    "coupon_uses",
    "shipments",
    "parcel_lines",
    "labels",
    "tracking_events",
    "communications",
    "effects",
    "inbox",
    "applied_signals",
    "jobs",
];
/// Jobs that wait for their time, as a shop with open orders has them: with them a walk in the order of some index looks
/// cheap to the planner wherever a statement asks for a first few, and passes over all of them.
const WAITING: &str = "
    insert into jobs (id, kind, lane, band, payload, run_at, due_at, created_at, caused_by)
    select gen_random_uuid(), 'reservation-expiry', 'expiry', 2, '{}', now() + interval '10 minutes', now() + interval '10 minutes',
           now() - n * interval '10 ms', 'plans' from generate_series(1, 20000) n;
    analyze jobs;";
/// Statements that may, and why.
const MAY: [(&str, &str, &str); 5] = [
    (
        "order_pages::named",
        "orders",
        "planned anew for what is searched by: one of both, and each has its index",
    ),
    (
        "timeline::jobs",
        "jobs",
        "an operator's look at one order: of all that is open, and of nothing that is done",
    ),
    ("erasure::under_way", "jobs", "the same of one customer, whose wishes have no rows but these"),
    ("retention::window", "inbox", "once in the life of an installation: where its oldest rows are"),
    ("retention::window", "communications", "once in the life of an installation: where its oldest rows are"),
];
/// As every session of the fleet (`src/store/pool.rs`), and one plan for all parameters.
const AS_THE_FLEET: &str = "
    set jit = off; set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off; set enable_seqscan = off;
    set plan_cache_mode = force_generic_plan;";

/// Every statement that is checked at build time: its name, its text and how many parameters it has.
fn statements() -> Vec<(String, String, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let statement = |file: Vec<u8>| {
        let described: Value = serde_json::from_slice(&file).unwrap();
        let text = described["query"].as_str().unwrap().to_owned();
        let name = text
            .split("/*")
            .nth(1)
            .and_then(|rest| rest.split("*/").next())
            .unwrap_or(&text)
            .trim()
            .to_owned();
        (name, text, described["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len))
    };
    files.map(statement).collect()
}

/// The tables that a plan reads whole.
fn read_whole(plan: &[String]) -> Vec<String> {
    let scanned = plan.iter().filter_map(|line| line.split("Seq Scan on ").nth(1));
    scanned.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}

/// Whether a plan walks along an index of the jobs without saying from where to where.
fn walks_all_jobs(plan: &[String]) -> bool {
    let nodes = plan.split(|line| line.contains("->"));
    let heads = plan.iter().filter(|line| line.contains("->"));
    heads.zip(nodes.skip(1)).any(|(head, details)| {
        head.contains("Index")
            && head.contains(" on jobs ")
            && !details.iter().any(|line| line.contains("Index Cond"))
    })
}

#[tokio::test]
async fn no_statement_reads_a_table_that_grows_from_end_to_end() {
    let settings = servers().database(&Shared::name()).await;
    let mut connection = PgConnection::connect(settings.url.expose_secret()).await.unwrap();
    sqlx::raw_sql(AS_THE_FLEET).execute(&mut connection).await.unwrap();
    sqlx::raw_sql(WAITING).execute(&mut connection).await.unwrap();
    let statements = statements();
    assert!(statements.len() > 200, "{} statements", statements.len());
    let mut faults = Vec::new();
    for (at, (name, text, parameters)) in statements.iter().enumerate() {
        let prepare = format!("prepare s{at} as {text}");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
        let nulls = vec!["null"; *parameters].join(", ");
        let given = if nulls.is_empty() { nulls } else { format!("({nulls})") };
        let explain = format!("explain execute s{at}{given}");
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if walks_all_jobs(&plan) {
            faults.push(format!("{name} walks along all jobs:\n{}", plan.join("\n")));
        }
        for table in read_whole(&plan) {
            let may = MAY.iter().any(|(statement, of, _)| statement == name && *of == table);
            if GROWING.contains(&&*table) && !may {
                faults.push(format!("{name} reads all of {table}"));
            }
        }
    }
    connection.close().await.unwrap();
    assert!(faults.is_empty(), "give each an index, or a reason in MAY:\n{}", faults.join("\n"));
}
