//! Who may what at the operators' side: every route of the JSON and of the console, asked by every role that has keys.

use std::collections::BTreeSet;

use orderfleet::auth::Role;
use serde_json::{Value, json};

use crate::house::{self, Browser};

/// Staff, from the one that may least to the one that may all.
const STAFF: [Role; 4] = [Role::Viewer, Role::Processor, Role::Manager, Role::Administrator];
/// Who has keys and is none of the staff.
const OTHERS: [Role; 3] = [Role::Service, Role::Customer, Role::Vendor];

/// What is filled into a form.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// Whether `role` comes up to `least`.
fn may(role: Role, least: Role) -> bool {
    let rank = |wanted: Role| STAFF.iter().position(|role| *role == wanted);
    rank(role) >= rank(least) && rank(role).is_some()
}

/// Every route of the JSON as the document names it, an example of it, a body that changes nothing where it is let through,
/// and the least role that is.
fn routes() -> Vec<(&'static str, &'static str, String, Value, Role)> {
    let job = orderfleet::ids::JobId::new();
    let letter = orderfleet::ids::DeadLetterId::new();
    let one = |path: &str| path.replace("{job}", &job.to_string()).replace("{lane}", "mail");
    let of_letter = |path: &str| path.replace("{id}", &letter.to_string());
    let edit = json!({"payload": {}, "why": "tried"});
    let all = json!({"all": true, "why": "tried"});
    let (viewer, manager, admin) = (Role::Viewer, Role::Manager, Role::Administrator);
    vec![
        ("get", "/ops/v1/queues", one("/ops/v1/queues"), json!(null), viewer),
        ("get", "/ops/v1/queues/why/{job}", one("/ops/v1/queues/why/{job}"), json!(null), viewer),
        ("post", "/ops/v1/queues/{lane}/pause", one("/ops/v1/queues/{lane}/pause"), json!({}), admin),
        ("post", "/ops/v1/queues/{lane}/resume", one("/ops/v1/queues/{lane}/resume"), json!({}), admin),
        ("put", "/ops/v1/queues/{lane}/limits", one("/ops/v1/queues/{lane}/limits"), json!({}), admin),
        ("get", "/ops/v1/workers", one("/ops/v1/workers"), json!(null), viewer),
        ("post", "/ops/v1/workers/{id}/drain", "/ops/v1/workers/nobody/drain".to_owned(), json!({}), admin),
        ("get", "/ops/v1/dead", one("/ops/v1/dead"), json!(null), viewer),
        ("get", "/ops/v1/dead/groups", one("/ops/v1/dead/groups"), json!(null), viewer),
        ("post", "/ops/v1/dead/replay", one("/ops/v1/dead/replay"), all.clone(), manager),
        (
            "post",
            "/ops/v1/dead/replay",
            one("/ops/v1/dead/replay"),
            json!({"all": true, "dry_run": true}),
            manager,
        ),
        ("post", "/ops/v1/dead/drop", one("/ops/v1/dead/drop"), all, admin),
        ("get", "/ops/v1/dead/{id}", of_letter("/ops/v1/dead/{id}"), json!(null), viewer),
        ("get", "/ops/v1/dead/{id}", of_letter("/ops/v1/dead/{id}?personal_data=true"), json!(null), manager),
        ("put", "/ops/v1/dead/{id}/payload", of_letter("/ops/v1/dead/{id}/payload"), edit, manager),
        ("get", "/ops/v1/orders/stuck", one("/ops/v1/orders/stuck"), json!(null), viewer),
        ("get", "/ops/v1/orders/{id}", "/ops/v1/orders/OF-none".to_owned(), json!(null), viewer),
        ("get", "/ops/v1/actions", one("/ops/v1/actions"), json!(null), manager),
        ("get", "/ops/v1/audit", one("/ops/v1/audit"), json!(null), viewer),
        ("get", "/ops/v1/doctor", one("/ops/v1/doctor"), json!(null), viewer),
    ]
}

#[tokio::test]
async fn every_route_of_the_json_lets_in_from_its_role_on_and_nobody_else() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let routes = routes();
    let (_, document) = desk.get("nobody", "/ops/v1/openapi.json").await;
    let mut told = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            if route["security"] != json!([]) {
                told.insert(format!("{method} {path} {}", route["x-role"].as_str().unwrap()));
            }
        }
    }
    // The first line of a route is its plain request, which the document speaks of.
    let mut plain = BTreeSet::new();
    let first = routes.iter().filter(|(method, path, ..)| plain.insert((*method, *path)));
    let known: BTreeSet<_> =
        first.map(|(method, path, _, _, least)| format!("{method} {path} {least}")).collect();
    assert_eq!(told, known, "the document and this table");
    for role in STAFF.into_iter().chain(OTHERS) {
        let key = house.staff(role, "shop").await;
        for (method, _, path, body, least) in &routes {
            let (status, answer) = desk.ask(&key, &method.to_uppercase(), path, body).await;
            let is_let_in = status != 401 && status != 403;
            assert!(status < 500, "{role}: {method} {path} {body}: {status} {answer}");
            assert_eq!(is_let_in, may(role, *least), "{role}: {method} {path} {body}: {status} {answer}");
        }
    }
    let stranger = house.staff(Role::Administrator, "other").await;
    for (method, _, path, body, _) in &routes {
        let (status, _) = desk.ask(&stranger, &method.to_uppercase(), path, body).await;
        assert_eq!(status, 403, "another shop's administrator: {method} {path}");
    }
    house.end().await;
}

#[tokio::test]
async fn every_page_and_form_of_the_console_lets_in_from_its_role_on() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let letter = orderfleet::ids::DeadLetterId::new();
    let job = orderfleet::ids::JobId::new();
    let (viewer, manager, admin) = (Role::Viewer, Role::Manager, Role::Administrator);
    let pages = [
        ("/".to_owned(), viewer),
        ("/lanes/mail".to_owned(), viewer),
        (format!("/jobs/{job}"), viewer),
        ("/doctor".to_owned(), viewer),
        ("/settings".to_owned(), viewer),
        ("/dead".to_owned(), viewer),
        ("/dead/list".to_owned(), viewer),
        (format!("/dead/{letter}"), viewer),
        (format!("/dead/{letter}?personal_data=true"), manager),
        ("/orders".to_owned(), viewer),
        ("/orders/OF-none".to_owned(), viewer),
        ("/stuck".to_owned(), viewer),
        ("/actions".to_owned(), manager),
        (format!("/find?id={job}"), viewer),
    ];
    let of_order = format!("/orders/{}/act", orderfleet::ids::OrderId::new());
    let letter = letter.to_string();
    let of_letter = format!("/dead/{letter}");
    let forms: [(&str, Fields<'_>, Role); 13] = [
        ("/lanes/mail", &[("do", "pause")], admin),
        ("/lanes/mail", &[("do", "resume")], admin),
        ("/lanes/mail", &[("do", "limit")], admin),
        ("/workers/drain", &[("worker", "nobody")], admin),
        ("/dead/act", &[("do", "rehearse"), ("id", &letter)], manager),
        ("/dead/act", &[("do", "replay"), ("id", &letter)], manager),
        ("/dead/act", &[("do", "drop"), ("id", &letter), ("why", "tried")], admin),
        (&of_letter, &[("payload", "{}"), ("why", "tried")], manager),
        (&of_order, &[("do", "look")], manager),
        (&of_order, &[("do", "relabel")], Role::Processor),
        (&of_order, &[("do", "refund")], manager),
        (&of_order, &[("do", "cancel"), ("sure", "yes")], manager),
        ("/sign-out", &[], viewer),
    ];
    for role in STAFF {
        let key = house.staff(role, "shop").await;
        let mut browser = Browser::signed_in(&desk, &key).await;
        for (path, least) in &pages {
            let (status, _) = browser.open(path).await;
            assert!(status < 500, "{role}: {path}: {status}");
            assert_eq!(status != 403, may(role, *least), "{role}: {path}: {status}");
        }
        let page = browser.page("/").await;
        assert_eq!(
            page.contains("href=\"/actions\""),
            may(role, manager),
            "{role}: no link that would be refused"
        );
        for (path, fields, least) in &forms {
            let (status, _) = browser.send(path, &page, fields).await;
            assert!(status < 500, "{role}: {path}: {status}");
            assert_eq!(status != 403, may(role, *least), "{role}: {path} {fields:?}: {status}");
        }
    }
    for role in OTHERS {
        let key = house.staff(role, "shop").await;
        let (status, page) = Browser::new(&desk).post("/sign-in", &[("key", &key)], &[]).await;
        assert!(status == 401 && page.contains("may not do this"), "{role}: {status} {page}");
    }
    house.end().await;
}
