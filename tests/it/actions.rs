//! The record of what operators did: whatever changes or shows something is in it, and those who answer for it can read it.

use std::process::{Command, Output};

use orderfleet::auth::Role;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::house::{self, Browser, House};

/// What the binary says when somebody called Mia gives it these arguments.
async fn command(house: &House, arguments: &[&str]) -> Output {
    let url = house.settings.postgres.url.expose_secret().to_owned();
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_orderfleet"))
            .args(arguments)
            .env_clear()
            .env("USER", "mia")
            .env("DATABASE_URL", url)
            .current_dir(std::env::temp_dir())
            .output()
            .unwrap()
    })
    .await
    .unwrap()
}

async fn done(house: &House, arguments: &[&str]) -> String {
    let output = command(house, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_a_command_changes_or_shows_of_a_person_is_written_down_and_can_be_read() {
    let house = house::open().await;
    let bought = house.buy("seen").await;
    let key = done(&house, &["keys", "create", "--name", "cus-7", "--role", "customer"]).await;
    let id = key.lines().next().unwrap();
    done(&house, &["keys", "revoke", id]).await;
    assert!(!command(&house, &["keys", "revoke", id]).await.status.success(), "twice is once");
    done(&house, &["stock", "set", "SUIT", "500"]).await;
    done(&house, &["stock", "adjust", "SUIT", "-3"]).await;
    done(&house, &["stock", "set", "SUIT", "0", "--force"]).await;
    assert!(!command(&house, &["stock", "set", "NONE", "1"]).await.status.success());
    let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::fs::write(file.path(), include_str!("../../config/catalogue.csv")).unwrap();
    done(&house, &["catalog", "import", file.path().to_str().unwrap()]).await;
    let order = bought.order.to_string();
    done(&house, &["mails", "preview", &order, "--kind", "order_confirmation"]).await;
    done(&house, &["dead", "export", "--personal-data"]).await;

    let told: Vec<Value> = serde_json::from_str(&done(&house, &["actions", "--json"]).await).unwrap();
    let names: Vec<&str> = told.iter().map(|done| done["action"].as_str().unwrap()).collect();
    let all = [
        "dead.export",
        "mails.preview",
        "catalog.import",
        "stock.set",
        "stock.adjust",
        "stock.set",
        "keys.revoke",
        "keys.create",
    ];
    assert_eq!(names, all, "the newest first");
    assert!(told.iter().all(|done| done["actor"] == "operator mia"), "{told:?}");
    assert_eq!((&told[4]["detail"]["sku"], &told[4]["detail"]["pieces"]), (&json!("SUIT"), &json!(-3)));
    assert_eq!(told[7]["detail"]["key"], json!(id));
    assert!(!told[7].to_string().contains("cus-7"), "a customer's key is called by the customer's id");
    assert_eq!(told[1]["detail"], json!({"order": order, "kind": "order_confirmation"}));

    let of_keys =
        done(&house, &["actions", "--action", "keys", "--actor", "operator mia", "--since", "1h"]).await;
    assert_eq!(of_keys.lines().count(), 2, "{of_keys}");
    let first = done(&house, &["actions", "--limit", "1"]).await;
    assert!(first.contains("dead.export") && first.contains("--after "), "{first}");
    assert!(done(&house, &["actions", "--actor", "operator ole"]).await.contains("Nobody did"));
    house.end().await;
}

#[tokio::test]
async fn sign_ins_and_looks_at_persons_are_written_down_and_read_by_the_page() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let bought = house.buy("looked-at").await;
    let [viewer, processor, manager] = [
        house.staff(Role::Viewer, "shop").await,
        house.staff(Role::Processor, "shop").await,
        house.staff(Role::Manager, "shop").await,
    ];
    let order = format!("/orders/{}", bought.order);
    for key in [&viewer, &processor] {
        Browser::signed_in(&desk, key).await.page(&order).await;
    }
    let stranger = house.staff(Role::Service, "shop").await;
    assert_eq!(Browser::new(&desk).post("/sign-in", &[("key", &stranger)], &[]).await.0, 401);
    let mut browser = Browser::signed_in(&desk, &manager).await;
    let page = browser.page("/actions").await;
    for told in ["orders.show", "sign_in.refused", "127.0.0.1", &bought.order.to_string()] {
        assert!(page.contains(told), "{told} in {page}");
    }
    assert!(!page.contains("looked-at@example.com"), "{page}");
    assert_eq!(browser.send("/sign-out", &page, &[]).await.0, 303);

    let (_, all) = desk.get(&manager, "/ops/v1/actions").await;
    let told: Vec<(&str, &str)> = all["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|done| {
            (done["actor"].as_str().unwrap().split(':').next().unwrap(), done["action"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("manager", "sign_out"),
            ("manager", "sign_in"),
            ("nobody", "sign_in.refused"),
            ("processor", "orders.show"),
            ("processor", "sign_in"),
            ("viewer", "sign_in"),
        ],
        "a viewer was not shown who bought it"
    );
    // Page by page it is the same.
    let (mut after, mut pages) = (String::new(), Vec::new());
    loop {
        let (_, page) = desk.get(&manager, &format!("/ops/v1/actions?limit=4&after={after}")).await;
        pages.extend(page["actions"].as_array().unwrap().clone());
        match page["next"].as_i64() {
            Some(next) => after = next.to_string(),
            None => break,
        }
    }
    assert_eq!(json!(pages), all["actions"]);
    let (_, seen) = desk.get(&manager, "/ops/v1/actions?action=sign_in&limit=50").await;
    assert_eq!(seen["actions"].as_array().unwrap().len(), 4, "with what is below it");
    for query in ["limit=0", "limit=1001", "after=x", "who=mia", "since=yesterday"] {
        assert_eq!(desk.get(&manager, &format!("/ops/v1/actions?{query}")).await.0, 422, "{query}");
    }
    house.end().await;
}

#[tokio::test]
async fn the_record_is_shortened_from_its_old_end_alone() {
    let house = house::open().await;
    house
        .execute(
            "insert into operator_actions (at, actor, action, detail) select now() - n * interval '200 days', 'operator mia', 'x', '{}'
               from generate_series(0, 4) n",
        )
        .await
        .unwrap();
    for refused in [
        "update operator_actions set actor = 'operator ole'",
        "delete from operator_actions where at > now() - interval '364 days'",
        "truncate operator_actions",
    ] {
        assert!(house.execute(refused).await.unwrap_err().starts_with("23001"), "{refused}");
    }
    let keep =
        orderfleet::config::RetentionSettings { actions_days: 500, ..house.settings.retention.clone() };
    let sweep = async || {
        let subject = orderfleet::store::retention::Subject::Actions;
        orderfleet::worker::retention::round(&house.store, subject, &keep).await.unwrap()
    };
    assert_eq!((sweep().await, sweep().await), (2, 0));
    assert_eq!(house.count("operator_actions").await, 3);
    house.end().await;
}

/// Keys would cross the network in the clear: the process ends before it opens anything.
#[tokio::test]
async fn the_operators_side_does_not_start_on_an_open_address_without_tls() {
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_orderfleet"));
    process
        .arg("ops")
        .env_clear()
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .env("ORDERFLEET__SECURITY__SECRET", "a secret of at least thirty-two characters")
        .env("ORDERFLEET__OPS__ADDRESS", "0.0.0.0:0")
        .current_dir(std::env::temp_dir())
        .kill_on_drop(true);
    // Without Redis it would wait for it.
    let ended = tokio::time::timeout(house::PATIENCE, process.output()).await;
    let output = ended.expect("it ends by itself").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("ops.tls_in_front"), "{said}");
    assert!(!said.contains("at least thirty-two characters"), "no secret is said: {said}");
}
