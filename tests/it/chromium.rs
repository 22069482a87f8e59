//! The console in a real browser: tests/browser drives Chromium through it, and this makes what is found there.
//!
//! The script is told an address and a key, and prints what was wrong; what became of the orders is read from the tables.

use std::path::Path;
use std::time::Duration;

use orderfleet::auth::Role;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::house::{self, Desk, House};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// A hundred looks at pages, on a machine that does seven other things.
const PATIENCE: Duration = Duration::from_mins(5);
/// Labels that died of one cause: one is replayed alone, the others together.
const POISONED: u64 = 4;

/// Drives the browser; false, loudly, where it can not be driven here.
async fn driven(desk: &Desk, plan: &Value) -> bool {
    let modules = Path::new(ROOT).join(".tools/browser/node_modules");
    if !modules.join("playwright-core").exists() {
        let loud = "\n!!! NOT CHECKED: the console in Chromium. There is no .tools/browser; scripts/test makes it.\n";
        std::io::Write::write_all(&mut std::io::stderr(), loud.as_bytes()).unwrap(); // past the test runner
        return false;
    }
    let mut plan = plan.clone();
    plan["url"] = json!(desk.url);
    let judged = Command::new("node")
        .arg(Path::new(ROOT).join("tests/browser/console.js"))
        .arg(plan.to_string())
        .env("NODE_PATH", modules)
        .kill_on_drop(true)
        .output();
    let judged = tokio::time::timeout(PATIENCE, judged).await.expect("the browser ends in time").unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(judged.status.success(), "{}{}", told(&judged.stdout), told(&judged.stderr));
    true
}

/// Labels that their provider refused for good, among dead letters of many other kinds.
async fn poisoned(house: &House) -> Vec<house::Bought> {
    house.faults(json!([{"at": "easypost.buy", "what": {"fail": {"status": 400}}, "next": POISONED}])).await;
    let mut all = Vec::new();
    for no in 0..POISONED {
        let bought = house.buy(&format!("poisoned-{no}")).await;
        house.pay(&bought).await;
        house.until_order(bought.order, "exception").await;
        all.push(bought);
    }
    house.settled().await;
    let others = "insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by)
        select gen_random_uuid(), gen_random_uuid(), 'tracking', 'tracking', 2, '{}', 3, 'made_up_' || no % 7, 'made up',
               'tracking:made_up_' || no % 7, 'test' from generate_series(1, 60) no";
    house.execute(others).await.unwrap();
    all
}

#[tokio::test]
async fn a_poison_group_is_found_tried_and_replayed_in_chromium_and_every_page_can_be_used_by_everybody() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let admin = house.staff(Role::Administrator, "shop").await;
    let all = poisoned(&house).await;
    let was_driven = driven(&desk, &json!({ "key": admin, "letters": POISONED, "secure": false })).await;
    if was_driven {
        for bought in &all {
            house.until_order(bought.order, "shipped").await;
        }
        let replays = "operator_actions where action = 'dead.replay' and actor like 'administrator:key_%'";
        assert_eq!(house.count(replays).await, 2, "one alone, the others together");
    }
    house.execute("delete from dead_letters where code like 'made_up_%'").await.unwrap();
    house.end_with_dead(&["shipping-label"; 4]).await;
}

#[tokio::test]
async fn behind_tls_the_cookie_is_one_that_chromium_sends_over_tls_alone() {
    let house = house::plan().set(|settings| settings.ops.tls_in_front = true).open().await;
    let desk = house.open_desk().await;
    // Whom every page opens to.
    let manager = house.staff(Role::Manager, "shop").await;
    driven(&desk, &json!({ "key": manager, "secure": true })).await;
    house.end().await;
}
