//! The operators' side: each role may what it may and no more, every change is written down with its key, and what is
//! asked for carelessly is refused.

use orderfleet::auth::Role;
use orderfleet::store::timeline::OrderName;
use serde_json::{Value, json};

use crate::house::{self, Browser, Desk, House};

async fn status(desk: &Desk, who: &str, (method, path): (&str, &str), body: &Value) -> u16 {
    desk.ask(who, method, path, body).await.0
}

/// A label that its provider refused for good: one dead letter.
async fn buried(house: &House) -> house::Bought {
    house.fault("easypost.buy", json!({"fail": {"status": 400}})).await;
    let bought = house.buy("desk").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "exception").await;
    house.settled().await;
    bought
}

#[tokio::test]
async fn a_dead_letter_is_found_rehearsed_mended_and_replayed_by_whoever_may() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let bought = buried(&house).await;
    let [viewer, manager] =
        [house.staff(Role::Viewer, "shop").await, house.staff(Role::Manager, "shop").await];

    let (_, groups) = desk.get(&viewer, "/ops/v1/dead/groups").await;
    assert_eq!(
        (&groups["groups"][0]["kind"], &groups["groups"][0]["letters"]),
        (&json!("shipping-label"), &json!(1))
    );
    let fingerprint = groups["groups"][0]["fingerprint"].as_str().unwrap();
    let (_, list) =
        desk.get(&viewer, &format!("/ops/v1/dead?fingerprint={fingerprint}&lane=shipping&limit=1")).await;
    let id = list["letters"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (list["letters"][0]["order"].as_str(), list["next"].as_str()),
        (Some(bought.order.to_string().as_str()), Some(id.as_str()))
    );
    let (_, rest) = desk.get(&viewer, &format!("/ops/v1/dead?after={id}")).await;
    assert_eq!(rest, json!({"letters": [], "next": null}));
    let one = format!("/ops/v1/dead/{id}");
    let (_, letter) = desk.get(&viewer, &one).await;
    assert!(!letter["tried"].as_array().unwrap().is_empty(), "{letter}");
    assert_eq!(letter["compared"], Value::Null, "no label was bought yet");
    assert_eq!(desk.get(&viewer, &format!("{one}?personal_data=true")).await.0, 403);
    assert_eq!(house.count("operator_actions").await, 0, "who only looks leaves no record");
    assert_eq!(desk.get(&manager, &format!("{one}?personal_data=true")).await.0, 200);

    let these = json!({"where": {"fingerprint": fingerprint}});
    let mut dry = these.clone();
    dry["dry_run"] = json!(true);
    let before = house.dump().await;
    let (_, tried) = desk.ask(&manager, "POST", "/ops/v1/dead/replay", &dry).await;
    assert_eq!(
        (&tried["rehearsed"][0]["would"], &tried["rehearsed"][0]["provider"]),
        (&json!("call"), &json!("easypost"))
    );
    assert_eq!(house.dump().await, before, "a rehearsal leaves no trace");
    let payload = json!({"payload": letter["payload"], "why": "as it was"});
    assert_eq!(desk.ask(&manager, "PUT", &format!("{one}/payload"), &payload).await.0, 200);

    assert_eq!(status(&desk, &viewer, ("POST", "/ops/v1/dead/replay"), &these).await, 403);
    let replay = async || {
        desk.ask(&manager, "POST", "/ops/v1/dead/replay", &these).await.1["replayed"].as_i64().unwrap()
    };
    let (first, second) = tokio::join!(replay(), replay());
    assert_eq!((first + second, replay().await), (1, 0), "twice is once");
    house.until_order(bought.order, "shipped").await;
    house.until_count("exemplars where kind = 'shipping-label'", 1).await;
    let (_, letter) = desk.get(&viewer, &one).await;
    assert_eq!(letter["compared"]["job"], letter["replayed_as"], "beside the job that bought it");
    assert_eq!(letter["compared"]["differences"], json!([]), "it was the payload that had died");
    let told =
        house.rows("select split_part(actor, '_', 1) as who, action from operator_actions order by at").await;
    let told: Vec<_> =
        told.iter().map(|row| (row["who"].as_str().unwrap(), row["action"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [("manager:key", "dead.show"), ("manager:key", "dead.edit"), ("manager:key", "dead.replay")]
    );
    let (_, again) = desk.ask(&manager, "PUT", &format!("{one}/payload"), &payload).await;
    assert_eq!(again["code"], "not_open");
    house.end_with_dead(&["shipping-label"]).await;
}

#[tokio::test]
async fn what_is_said_carelessly_chooses_nothing() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    buried(&house).await;
    let admin = house.staff(Role::Administrator, "shop").await;
    let before = house.dump().await;
    for (body, code) in [
        (json!({}), "nothing_chosen"),
        (json!({"ids": []}), "nothing_chosen"),
        (json!({"where": {"fingerprnt": "x", "lane": "shipping"}}), "invalid_body"),
        (json!({"where": {"lane": "parcels"}}), "unknown_lane"),
        (json!({"everything": true}), "invalid_body"),
        (json!([1]), "invalid_body"),
    ] {
        let (_, refused) = desk.ask(&admin, "POST", "/ops/v1/dead/replay", &body).await;
        assert_eq!(refused["code"], code, "{body}: {refused}");
    }
    let (_, silent) = desk.ask(&admin, "POST", "/ops/v1/dead/drop", &json!({"all": true, "why": " "})).await;
    assert_eq!(silent["code"], "invalid_body", "a drop says why");
    for query in
        ["fingerprnt=x", "limit=0", "limit=9999", "state=lost", "lane=mail&lane=shipping", "since=yesterday"]
    {
        assert_eq!(desk.get(&admin, &format!("/ops/v1/dead?{query}")).await.0, 422, "{query}");
    }
    assert_eq!(house.dump().await, before);
    let (_, dropped) =
        desk.ask(&admin, "POST", "/ops/v1/dead/drop", &json!({"all": true, "why": "bought by hand"})).await;
    assert_eq!(dropped, json!({"dropped": 1}));
    house.end_with_dead(&["shipping-label"]).await;
}

#[tokio::test]
async fn nobody_is_let_in_but_the_staff_of_the_tenant_that_operates_the_fleet() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let viewer = house.staff(Role::Viewer, "shop").await;
    for (who, expected) in [
        (house.staff(Role::Viewer, "other").await, 403),
        (house.staff(Role::Service, "shop").await, 403),
        (house.staff(Role::Vendor, "shop").await, 403),
        (house.staff(Role::Customer, "shop").await, 403),
        ("of_live_nobody".to_owned(), 401),
        (viewer.clone(), 200),
    ] {
        assert_eq!(desk.get(&who, "/ops/v1/workers").await.0, expected);
    }
    house.execute("update api_keys set revoked_at = now() where role = 'viewer'").await.unwrap();
    let (status, refused) = desk.get(&viewer, "/ops/v1/workers").await;
    assert_eq!((status, &refused["code"], &refused["status"]), (401, &json!("unauthenticated"), &json!(401)));
    house.end().await;
}

#[tokio::test]
async fn lanes_and_workers_are_told_and_only_an_administrator_changes_them() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let [manager, admin] =
        [house.staff(Role::Manager, "shop").await, house.staff(Role::Administrator, "shop").await];
    let (_, told) = desk.get(&manager, "/ops/v1/workers").await;
    let worker = told["workers"][0]["id"].as_str().unwrap().to_owned();
    let drain = format!("/ops/v1/workers/{worker}/drain");
    for (method, path) in [
        ("POST", "/ops/v1/queues/mail/pause"),
        ("PUT", "/ops/v1/queues/mail/limits"),
        ("POST", drain.as_str()),
    ] {
        assert_eq!(status(&desk, &manager, (method, path), &json!({"rate": 5})).await, 403, "{path}");
    }
    assert_eq!(status(&desk, &admin, ("POST", "/ops/v1/queues/mail/pause"), &json!({})).await, 200);
    assert_eq!(status(&desk, &admin, ("PUT", "/ops/v1/queues/mail/limits"), &json!({"rate": 5})).await, 200);
    let (_, queues) = desk.get(&manager, "/ops/v1/queues?target=60").await;
    let mail = queues["lanes"].as_array().unwrap().iter().find(|lane| lane["lane"] == "mail").unwrap();
    assert_eq!(
        (&mail["paused"], &mail["rate_limit"], &mail["limits_set"]),
        (&json!(true), &json!(5), &json!(true))
    );
    for (path, body, code) in [
        ("/ops/v1/queues/parcels/limits", json!({"rate": 5}), "unknown_lane"),
        ("/ops/v1/queues/mail/limits", json!({}), "nothing_chosen"),
        ("/ops/v1/queues/mail/limits", json!({"rate": "fast"}), "invalid_body"),
    ] {
        assert_eq!(desk.ask(&admin, "PUT", path, &body).await.1["code"], code);
    }
    assert_eq!(
        status(&desk, &admin, ("PUT", "/ops/v1/queues/mail/limits"), &json!({"rate": "default"})).await,
        200
    );
    assert_eq!(status(&desk, &admin, ("POST", "/ops/v1/queues/mail/resume"), &json!({})).await, 200);
    assert_eq!(status(&desk, &admin, ("POST", "/ops/v1/workers/nobody/drain"), &json!({})).await, 404);
    assert_eq!(status(&desk, &admin, ("POST", &drain), &json!({})).await, 200);
    assert_eq!(house.count("operator_actions where actor like 'administrator:key_%'").await, 5);
    house.work();
    house.end().await;
}

#[tokio::test]
async fn what_the_document_says_is_served_and_asks_for_a_key() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let (status, document) = desk.get("nobody", "/ops/v1/openapi.json").await;
    assert_eq!(status, 200);
    for (path, told) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "delete"] {
            let told = &told[method];
            let is_open = told["security"] == json!([]);
            let expected = if told.is_null() {
                405
            } else if is_open {
                200
            } else {
                401
            };
            let asked = desk.ask("nobody", method.to_uppercase().as_str(), path, &json!({})).await;
            assert_eq!(asked.0, expected, "{method} {path}: {}", asked.1);
        }
    }
    house.end().await;
}

#[tokio::test]
async fn what_is_stuck_is_told_with_its_safe_action_and_replayed_from_there() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let bought = buried(&house).await;
    let [viewer, manager] =
        [house.staff(Role::Viewer, "shop").await, house.staff(Role::Manager, "shop").await];
    let (_, told) = desk.get(&viewer, "/ops/v1/orders/stuck").await;
    let [line] = told["stuck"].as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!(
        (&line["reason"], &line["order"], &line["can"]),
        (&json!("exception"), &json!(bought.order), &json!(["replay", "cancel"]))
    );
    assert!(line["action"].as_str().unwrap().contains("dead replay --order"), "{line}");
    for query in ["limit=0", "limit=1001", "each=1"] {
        assert_eq!(desk.get(&viewer, &format!("/ops/v1/orders/stuck?{query}")).await.0, 422, "{query}");
    }

    let mut browser = Browser::signed_in(&desk, &manager).await;
    let page = browser.page("/stuck").await;
    assert!(page.contains("label not bought") || page.contains("label_not_bought"), "{page}");
    let order = Browser::hidden(&page, "order");
    let (_, dry) = browser.send("/dead/act", &page, &[("order", &order), ("do", "rehearse")]).await;
    assert!(dry.contains("easypost") && Browser::hidden(&dry, "order") == order, "{dry}");
    assert_eq!(browser.send("/dead/act", &page, &[("order", "x"), ("do", "replay")]).await.0, 422);
    let (_, done) = browser.send("/dead/act", &dry, &[("order", &order), ("do", "replay")]).await;
    assert!(done.contains("1 replayed"), "{done}");
    house.until_order(bought.order, "shipped").await;
    // On a busy machine the page shows what was found last, while it looks again.
    let since = tokio::time::Instant::now();
    while !browser.page("/stuck").await.contains("Nothing is stuck") {
        assert!(since.elapsed() < house::PATIENCE, "it stays stuck");
        tokio::time::sleep(house::LOOK).await;
    }
    house.end_with_dead(&["shipping-label"]).await;
}

#[tokio::test]
async fn orders_audits_and_findings_are_told_as_the_commands_tell_them() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let bought = house.buy("told").await;
    house.settled().await;
    let [viewer, other] = [house.staff(Role::Viewer, "shop").await, house.staff(Role::Viewer, "other").await];
    let number = house.timeline(bought.order).await.order_number;
    for name in [bought.order.to_string(), bought.intent.to_string(), number] {
        let (status, told) = desk.get(&viewer, &format!("/ops/v1/orders/{name}")).await;
        assert_eq!((status, &told["order_id"]), (200, &json!(bought.order)), "{name}");
    }
    assert_eq!(desk.get(&other, &format!("/ops/v1/orders/{}", bought.order)).await.0, 403);
    let of_others = house.store.timeline(&OrderName::Id(bought.order), Some("other")).await.unwrap();
    assert!(of_others.is_none(), "an order is its own shop's");
    assert_eq!(desk.get(&viewer, "/ops/v1/orders/OF-none").await.1["code"], "unknown_order");
    assert_eq!(desk.get(&viewer, "/ops/v1/audit").await.1, json!({"last": null}));
    let (_, found) = desk.get(&viewer, "/ops/v1/doctor").await;
    assert!(
        found["checks"].as_array().unwrap().iter().any(|check| check["name"] == "configuration"),
        "{found}"
    );
    assert!(!found.to_string().contains("sk_test_house"), "no secret is told");
    let job = house.value("select id::text from jobs limit 1").await;
    let job = orderfleet::ids::JobId::from(job.as_str().unwrap().parse::<uuid::Uuid>().unwrap());
    assert_eq!(desk.get(&viewer, &format!("/ops/v1/queues/why/{job}")).await.1["code"], "due_later");
    assert_eq!(desk.get(&viewer, "/ops/v1/nothing").await.1["code"], "not_found");
    assert_eq!(
        desk.ask(&viewer, "DELETE", "/ops/v1/workers", &json!({})).await.1["code"],
        "method_not_allowed"
    );
    house.end().await;
}

/// Who operates the fleet takes up the letters of every shop, and is shown the customers of their own alone.
#[tokio::test]
async fn what_a_letter_says_of_another_shop_s_customer_is_not_shown_nor_changed() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    buried(&house).await;
    let letter = "insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by)
                  values (gen_random_uuid(), gen_random_uuid(), 'order-intent', 'intents', 2,
                          '{\"tenant\": \"other\", \"body\": {\"customer\": {\"email\": \"their@example.com\"}}}', 1, 'x', 'x', 'x', 'x')";
    house.execute(letter).await.unwrap();
    let admin = house.staff(Role::Administrator, "shop").await;
    let (_, list) = desk.get(&admin, "/ops/v1/dead").await;
    let mut browser = Browser::signed_in(&desk, &admin).await;
    for letter in list["letters"].as_array().unwrap() {
        let is_own = letter["kind"] == "shipping-label";
        let one = format!("/ops/v1/dead/{}", letter["id"].as_str().unwrap());
        let (shown, masked) = desk.get(&admin, &one).await;
        assert!(shown == 200 && !masked.to_string().contains("their@example.com"), "{masked}");
        let expected = if is_own { 200 } else { 403 };
        let (shown, whole) = desk.get(&admin, &format!("{one}?personal_data=true")).await;
        assert_eq!(shown, expected, "{whole}");
        let page = format!("/dead/{}", letter["id"].as_str().unwrap());
        assert_eq!(browser.open(&format!("{page}?personal_data=true")).await.0, expected);
        let edit = json!({"payload": whole["payload"], "why": "as it was"});
        let put = format!("{one}/payload");
        assert_eq!(status(&desk, &admin, ("PUT", &put), &edit).await, expected, "{letter}");
    }
    assert_eq!(house.count("operator_actions where action = 'dead.show'").await, 2, "only what was shown");
    let dropped = json!({"where": {"kind": "order-intent"}, "why": "of another shop"});
    assert_eq!(desk.ask(&admin, "POST", "/ops/v1/dead/drop", &dropped).await.1, json!({"dropped": 1}));
    house.end_with_dead(&["order-intent", "shipping-label"]).await;
}

/// Metrics ask for no key: they have a port of their own, and the one that others reach has none.
#[tokio::test]
async fn health_and_metrics_of_the_desk_are_on_a_port_of_their_own() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let status = async |url: &str| reqwest::get(url).await.unwrap().status().as_u16();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(&format!("{}{path}", desk.health)).await, 200, "{path}");
    }
    assert_eq!(status(&format!("{}/metrics", desk.url)).await, 404);
    house.end().await;
}
