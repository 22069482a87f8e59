//! Each rule finds what was planted for it, and nothing in what is right.

use super::*;

fn plant(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into() }
}

fn finds(rule: fn(&[File]) -> Vec<String>, path: &str, text: &str) {
    assert_eq!(rule(&[plant(path, text)]).len(), 1, "{path}: {text}");
}

fn passes(rule: fn(&[File]) -> Vec<String>, path: &str, text: &str) {
    assert_eq!(rule(&[plant(path, text)]), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn a_breach_of_the_walls() {
    finds(walls, "src/queue/keys.rs", "use crate::store::Store;");
    finds(walls, "src/domain/money.rs", "fn at() -> crate::job::Kind {}");
    finds(walls, "src/store/jobs.rs", "use crate::{\n    ids::JobId,\n    worker::{self, Attempt},\n};");
    finds(walls, "jobs/email.rs", "use crate::queue::Queue;");
    finds(walls, "src/attic/mod.rs", "");
    finds(walls, "src/relay.rs", "use super::intake;");
    finds(walls, "src/queue/lane/depth.rs", "use super::super::super::store;");
    passes(walls, "src/worker/mod.rs", "use crate::{ids, queue::{Queue, intake}, store::Store};");
    passes(walls, "src/queue/keys.rs", "// use crate::store;\n#[cfg(test)]\nuse crate::store::Store;");
    passes(walls, "tests/it/main.rs", "use crate::store::Store;");
    passes(walls, "src/queue/tests/moves.rs", "use crate::store::Store;");
}

#[test]
fn a_library_in_the_wrong_room() {
    finds(libraries, "src/store/mod.rs", "use apalis_core::backend::Backend;");
    finds(libraries, "src/intake/mod.rs", "let pool: sqlx::PgPool;");
    finds(libraries, "src/dev/mod.rs", "redis::Client::open(url)");
    finds(libraries, "src/queue/mod.rs", "std::env::var_os(\"HOME\")");
    finds(libraries, "src/worker/mod.rs", "use stripe::Client;");
    finds(libraries, "jobs/email.rs", "use axum::Router;");
    finds(libraries, "src/domain/order.rs", "use tokio::sync::Mutex;");
    passes(libraries, "src/store/mod.rs", "use sqlx::PgPool;");
    passes(
        libraries,
        "src/intake/webhooks.rs",
        "crate::signature::stripe::verify(raw); private_redis::start()",
    );
}

#[test]
fn an_alert_on_what_nobody_measures_or_without_its_section() {
    let table = plant("README.md", "| `orderfleet_call_seconds` · `orderfleet_jobs_total` | counter |");
    let rule = |expr: &str| vec![plant("README.md", &table.text), plant("deploy/alerts.yaml", expr)];
    assert_eq!(
        watched(&rule("expr: rate(orderfleet_jobs_total[1m]) / orderfleet_call_seconds_bucket")).len(),
        0
    );
    assert_eq!(watched(&rule("expr: orderfleet_jobs_total + orderfleet_job_total")).len(), 1);

    let book = || plant("deploy/RUNBOOK.md", "## LaneOld\n## A provider's key, rotated\n[see](#laneold)");
    let found = |text: &str| alerts(&[book(), plant("deploy/alerts.yaml", text)]).len();
    assert_eq!(found("- alert: LaneOld\n  runbook: deploy/RUNBOOK.md#a-providers-key-rotated"), 0);
    assert_eq!(found("- alert: LaneYoung"), 1);
    assert_eq!(found("  runbook: deploy/RUNBOOK.md#laneyoung"), 1);
    assert_eq!(alerts(&[plant("deploy/RUNBOOK.md", "[see](#nothing)")]).len(), 1);
}

#[test]
fn a_code_that_nobody_says_and_a_statement_that_takes_whatever_columns_there_are() {
    let said = plant("src/worker/burial.rs", "Failure::permanent(\"crashed_worker\", x)");
    let book = |code: &str| plant("deploy/RUNBOOK.md", &format!("a dead letter with code `{code}`."));
    assert_eq!(codes(&[plant("src/worker/burial.rs", &said.text), book("crashed_worker")]).len(), 0);
    assert_eq!(codes(&[said, book("quarantined")]).len(), 1);

    finds(all_columns, "src/store/orders.rs", "select d.*, o.number from dead_letters d");
    finds(all_columns, "src/store/orders.rs", "with locked as (select * from payments where x)");
    passes(all_columns, "src/store/orders.rs", "// select * from a\nselect count(*), 2 * n from unnest($1)");
    passes(all_columns, "src/store/orders.rs", "select $1, * from unnest($2); select * from unnest($3)");
    passes(all_columns, "src/audit/history.rs", "select w.* from walked w");
}

#[test]
fn a_file_that_nobody_mounts() {
    finds(undeclared, "src/attic.rs", "");
    finds(undeclared, "tests/it/orders.rs", "");
    finds(undeclared, "jobs/email.rs", "");
    let listed = [
        plant("jobs/mod.rs", "mod prices;\njobs! {\n    email::Email,\n}"),
        plant("jobs/email.rs", ""),
        plant("jobs/prices.rs", ""),
    ];
    assert_eq!(undeclared(&listed), Vec::<String>::new());
    let mounted = [
        plant("src/lib.rs", "pub mod queue;"),
        plant("src/queue/mod.rs", "pub(crate) mod keys;"),
        plant("src/queue/keys.rs", ""),
    ];
    assert_eq!(undeclared(&mounted), Vec::<String>::new());
    assert_eq!(undeclared(&mounted[1..]).len(), 1, "nobody mounts queue");
}

#[test]
fn a_silent_file_and_an_empty_word() {
    finds(undocumented, "src/time.rs", "use std::fmt;\n//! Late.");
    passes(undocumented, "src/time.rs", "//! The source of time.");
    finds(words, "src/store/utils.rs", "");
    finds(words, "scripts/up", concat!("# FIX", "ME"));
    finds(words, "src/time.rs", concat!("// TO", "DO: later"));
    passes(words, "src/time.rs", concat!("// TO", "DO(needs rustc 1.96): shorter"));
}

#[test]
fn a_changed_migration() {
    let migration = plant("migrations/0001_orders.sql", "SELECT 1;");
    let list = format!("{}  migrations/0001_orders.sql\n", sum("SELECT 1;"));
    let files = [migration, plant("migrations/frozen.sha256", &list)];
    assert_eq!(frozen(&files, &list), Vec::<String>::new());
    assert_eq!(frozen(&files[..1], "").len(), 1, "not listed");
    assert_eq!(frozen(&files[1..], "").len(), 1, "gone");
    let changed =
        [plant("migrations/0001_orders.sql", "SELECT 2;"), plant("migrations/frozen.sha256", &list)];
    assert_eq!(frozen(&changed, "").len(), 1, "changed");
    let thawed = format!("{}  migrations/0001_orders.sql\n", sum("SELECT 2;"));
    let thawed =
        [plant("migrations/0001_orders.sql", "SELECT 2;"), plant("migrations/frozen.sha256", &thawed)];
    assert_eq!(frozen(&thawed, &list).len(), 1, "changed together with its checksum");
}

#[test]
fn the_length_of_a_function() {
    let file = plant("src/a.rs", "impl A {\n    pub fn one() {\n        if x {\n        }\n    }\n}\n");
    assert_eq!(functions(&file), [(4, "src/a.rs:2 one".to_owned())]);
}

#[test]
fn a_metric_that_nobody_tells_and_one_that_nobody_measures() {
    finds(metrics, "src/relay.rs", "metrics::counter!(\"orderfleet_secret_total\").increment(1);");
    finds(metrics, "README.md", "| `orderfleet_dream_total` | counter | | nothing |");
    passes(metrics, "src/relay.rs", "// \"orderfleet_words_total\"\nsay(\"orderfleet_is not a name\");");
    let both = [
        plant("jobs/email.rs", "metrics::gauge!(\n    \"orderfleet_mails_waiting\",\n)"),
        plant("README.md", "| `orderfleet_mails_waiting` | gauge | | mails |"),
    ];
    assert_eq!(metrics(&both), Vec::<String>::new());
}
