//! The web console in the place of a browser: signing in and out, forms of others refused, each role its own, what goes
//! with every answer, and a dead letter replayed with a few clicks.

use orderfleet::auth::Role;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::house::{self, Browser, House, wish};

/// A label that its provider refused for good: one dead letter.
async fn buried(house: &House) -> house::Bought {
    house.fault("easypost.buy", json!({"fail": {"status": 400}})).await;
    let bought = house.buy("console").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "exception").await;
    house.settled().await;
    bought
}

#[tokio::test]
async fn a_dead_letter_is_found_rehearsed_and_replayed_in_a_browser() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let bought = buried(&house).await;
    let manager = house.staff(Role::Manager, "shop").await;
    let mut browser = Browser::signed_in(&desk, &manager).await;

    let groups = browser.page("/dead").await;
    assert!(groups.contains("shipping-label") && groups.contains("Replay all"), "{groups}");
    let fingerprint = Browser::hidden(&groups, "fingerprint");
    let list = browser.page(&format!("/dead/list?fingerprint={fingerprint}")).await;
    let letter = Browser::between(&list, "href=\"/dead/dead_", "\"");
    let one = browser.page(&format!("/dead/dead_{letter}")).await;
    assert!(one.contains("Attempts") && !one.contains("<textarea"), "masked, it can not be edited");
    let order = browser.page(&format!("/orders/{}", bought.order)).await;
    assert!(order.contains("A job was given up"), "{order}");

    let before = house.dump().await;
    let (status, dry) =
        browser.send("/dead/act", &groups, &[("fingerprint", &fingerprint), ("do", "rehearse")]).await;
    assert!(status == 200 && dry.contains("look at easypost"), "{status} {dry}");
    assert_eq!(house.dump().await, before, "a rehearsal leaves no trace");
    for replayed in ["1 replayed", "0 replayed"] {
        let (_, done) =
            browser.send("/dead/act", &groups, &[("fingerprint", &fingerprint), ("do", "replay")]).await;
        assert!(done.contains(replayed), "{done}");
    }
    house.until_order(bought.order, "shipped").await;
    assert_eq!(
        house.count("operator_actions where action = 'dead.replay' and actor like 'manager:key_%'").await,
        1
    );
    assert!(browser.page("/dead").await.contains("No dead letter is open"));
    house.end_with_dead(&["shipping-label"]).await;
}

/// What is stuck with a payment is looked at again from its line, by who may, and that is written down.
#[tokio::test]
async fn a_stuck_order_s_payment_is_looked_at_again_by_who_may() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let bought = house.buy("console-look").await;
    house.settled().await;
    let opened = format!(
        "insert into order_exceptions (id, order_id, type, severity, detail)
         values (gen_random_uuid(), '{}', 'expired_unasked', 'warning', 'x')",
        bought.order.uuid()
    );
    house.execute(&opened).await.unwrap();
    let looks = house.calls("GET", &format!("/v1/payment_intents/{}", bought.payment)).await;
    let [viewer, manager] =
        [house.staff(Role::Viewer, "shop").await, house.staff(Role::Manager, "shop").await];
    let path = format!("/orders/{}/act", bought.order);
    let look = [("do", "look")];
    let mut browser = Browser::signed_in(&desk, &viewer).await;
    let stuck = browser.page("/stuck").await;
    assert!(stuck.contains("expired unasked") || stuck.contains("expired_unasked"), "{stuck}");
    assert!(!stuck.contains("Look again"), "a viewer only looks");
    let page = browser.page("/").await;
    assert_eq!(browser.send(&path, &page, &look).await.0, 403);
    let mut browser = Browser::signed_in(&desk, &manager).await;
    let stuck = browser.page("/stuck").await;
    assert!(stuck.contains(&format!("action=\"{path}\"")), "{stuck}");
    assert_eq!(browser.send(&path, &stuck, &look).await.0, 303);
    house.until_calls("GET", &format!("/v1/payment_intents/{}", bought.payment), looks + 1).await;
    assert_eq!(
        house.count("operator_actions where action = 'order.look' and actor like 'manager:key_%'").await,
        1
    );
    house.execute("update order_exceptions set state = 'resolved', resolved_at = now()").await.unwrap();
    house.end().await;
}

/// What is told first is what is done: refunded once however often the button is pressed, labelled anew, called off; by who may.
#[tokio::test]
async fn an_order_is_refunded_labelled_anew_and_called_off_from_its_page_by_who_may() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let bought = house.packed(&wish("console-remedies", "SUIT", 1)).await;
    let [pia, mia] = [house.staff(Role::Processor, "shop").await, house.staff(Role::Manager, "shop").await];
    let (path, at) = (format!("/orders/{}/act", bought.order), format!("/orders/{}", bought.order));

    let mut browser = Browser::signed_in(&desk, &pia).await;
    let page = browser.page(&at).await;
    assert!(page.contains("Label it anew") && !page.contains("Call it off") && !page.contains("Refund what"));
    for wish in ["cancel", "refund", "look"] {
        assert_eq!(browser.send(&path, &page, &[("do", wish)]).await.0, 403, "{wish}");
    }
    let (status, told) = browser.send(&path, &page, &[("do", "relabel")]).await;
    assert!(status == 200 && told.contains("1 bought anew: parcels 1"), "{status} {told}");
    assert_eq!(house.count("labels").await, 1, "it was only tried");
    assert_eq!(browser.send(&path, &told, &[("do", "relabel"), ("sure", "yes")]).await.0, 303);
    house.until_count("labels where void_state is null", 1).await;
    house.until_count("labels", 2).await;

    let mut browser = Browser::signed_in(&desk, &mia).await;
    let page = browser.page(&at).await;
    let (status, told) = browser.send(&path, &page, &[("do", "refund")]).await;
    assert!(status == 200 && told.contains("all that is left of the payment"), "{status} {told}");
    assert_eq!(house.count("refunds").await, 0, "it was only tried");
    let keyless = browser.send(&path, &told, &[("do", "refund"), ("sure", "yes")]).await;
    assert!(keyless.0 == 422 && keyless.1.contains("Nothing was changed"), "{keyless:?}");
    let sure = [("do", "refund"), ("sure", "yes"), ("key", "a-page-s-key")];
    for _ in 0..2 {
        assert_eq!(browser.send(&path, &told, &sure).await.0, 303);
    }
    house.until_count("refunds where state = 'succeeded'", 1).await;
    let (status, told) = browser.send(&path, &page, &[("do", "refund")]).await;
    assert!(status == 409 && told.contains("Nothing was changed"), "{status} {told}");

    let second = house.packed(&wish("console-cancelled", "SUIT", 1)).await;
    let path = format!("/orders/{}/act", second.order);
    let (status, told) = browser.send(&path, &page, &[("do", "cancel")]).await;
    assert!(status == 200 && told.contains("what was paid goes back"), "{status} {told}");
    assert_eq!(house.timeline(second.order).await.status, "fulfilled", "it was only tried");
    assert_eq!(browser.send(&path, &told, &[("do", "cancel"), ("sure", "yes")]).await.0, 303);
    house.until_order(second.order, "refunded").await;
    assert_eq!(browser.send(&path, &told, &[("do", "nothing")]).await.0, 422);
    for action in ["order.relabel", "order.refund", "order.cancel"] {
        let noted = house.count(&format!("operator_actions where action = '{action}'")).await;
        assert!(noted >= 1, "{action}");
    }
    house.end().await;
}

/// What is filtered for is what is done: the group's button takes what the page shows of it and no more.
#[tokio::test]
async fn a_group_is_narrowed_by_a_form_and_dropped_with_a_reason() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let bought = buried(&house).await;
    let admin = house.staff(Role::Administrator, "shop").await;
    let mut browser = Browser::signed_in(&desk, &admin).await;
    let none = browser.page("/dead?until=2020-01-01T00:00:00Z&lane=&kind=&order=&since=&state=open").await;
    assert!(
        none.contains("No dead letter is like that") && none.contains("value=\"2020-01-01T00:00:00Z\""),
        "{none}"
    );
    let page = browser.page(&format!("/dead?order={}&lane=shipping", bought.order)).await;
    for shown in [
        "Drop all",
        &format!("name=\"order\" value=\"{}\"", bought.order),
        "name=\"lane\" value=\"shipping\"",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let fingerprint = Browser::hidden(&page, "fingerprint");
    let drop = [("fingerprint", fingerprint.as_str()), ("do", "drop")];
    let elsewhere = [&drop[..], &[("why", "not this"), ("until", "2020-01-01T00:00:00Z")]].concat();
    assert!(browser.send("/dead/act", &page, &elsewhere).await.1.contains("0 dropped"));
    assert_eq!(browser.send("/dead/act", &page, &drop).await.0, 422, "it has to say why");
    let said = [&drop[..], &[("why", "nobody wants it"), ("lane", "shipping")]].concat();
    let (_, done) = browser.send("/dead/act", &page, &said).await;
    assert!(done.contains("1 dropped"), "{done}");
    house.end_with_dead(&["shipping-label"]).await;
}

#[tokio::test]
async fn a_letter_is_mended_and_dropped_by_those_who_may() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    buried(&house).await;
    let admin = house.staff(Role::Administrator, "shop").await;
    let mut browser = Browser::signed_in(&desk, &admin).await;
    let list = browser.page("/dead/list").await;
    let letter = format!("dead_{}", Browser::between(&list, "href=\"/dead/dead_", "\""));
    let whole = browser.page(&format!("/dead/{letter}?personal_data=true")).await;
    assert!(whole.contains("<textarea"), "{whole}");
    assert_eq!(house.count("operator_actions where action = 'dead.show'").await, 1);
    let payload = house.value("select payload::text from dead_letters").await;
    let mend = [("payload", payload.as_str().unwrap()), ("why", "as it was")];
    assert_eq!(browser.send(&format!("/dead/{letter}"), &whole, &mend).await.0, 303);
    let shown = browser.page(&format!("/dead/{letter}")).await;
    assert!(
        shown.contains("What stood there before") && shown.matches("&quot;parcel&quot;").count() == 2,
        "{shown}"
    );
    let torn = [("payload", "{"), ("why", "a slip")];
    assert_eq!(browser.send(&format!("/dead/{letter}"), &whole, &torn).await.0, 422);
    for (why, status) in [("", 422), ("bought by hand", 200)] {
        assert_eq!(
            browser.send("/dead/act", &list, &[("id", &letter), ("do", "drop"), ("why", why)]).await.0,
            status
        );
    }
    assert_eq!(
        browser.send("/dead/act", &list, &[("do", "replay")]).await.0,
        422,
        "nothing chosen is nothing done"
    );
    house.end_with_dead(&["shipping-label"]).await;
}

#[tokio::test]
async fn each_role_sees_and_does_its_own() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    buried(&house).await;
    let [viewer, admin] =
        [house.staff(Role::Viewer, "shop").await, house.staff(Role::Administrator, "shop").await];
    let mut browser = Browser::signed_in(&desk, &viewer).await;
    let dead = browser.page("/dead").await;
    assert!(!dead.contains("Replay"), "no button that would be refused");
    let lane = browser.page("/lanes/mail").await;
    for (path, fields) in [
        ("/dead/act", vec![("fingerprint", "shipping-label:x"), ("do", "replay")]),
        ("/lanes/mail", vec![("do", "pause")]),
        ("/workers/drain", vec![("worker", "any")]),
    ] {
        assert_eq!(browser.send(path, &lane, &fields).await.0, 403, "{path}");
    }
    let orders = browser.page("/orders?text=console").await;
    assert!(orders.contains("OF-"), "{orders}");
    let order = browser.page(&format!("/orders/OF-{}", Browser::between(&orders, ">OF-", "<"))).await;
    assert!(!order.contains("console@example.com"), "a viewer is not shown the person");
    let found = browser.page("/orders?text=console%40example.com").await;
    assert!(
        found.contains("No order is like that") && !found.contains(">OF-"),
        "nor finds what they bought: {found}"
    );
    assert!(browser.page("/orders?status=lost").await.contains("must be one of"));

    let mut browser = Browser::signed_in(&desk, &admin).await;
    assert!(browser.page("/orders?text=console%40example.com").await.contains(">OF-"));
    assert!(
        browser
            .page(&format!("/orders/OF-{}", Browser::between(&orders, ">OF-", "<")))
            .await
            .contains("console@example.com")
    );
    let mail = browser.page("/lanes/mail").await;
    for (act, paused) in [("pause", true), ("resume", false)] {
        assert_eq!(browser.send("/lanes/mail", &mail, &[("do", act)]).await.0, 303);
        assert_eq!(house.queue.depth(orderfleet::job::Lane::Mail).await.unwrap().paused, paused);
    }
    let limits = [("do", "limit"), ("concurrency", "8"), ("rate", "")];
    assert_eq!(browser.send("/lanes/mail", &mail, &limits).await.0, 303);
    let settings = browser.page("/settings").await;
    assert!(
        settings.contains("lease_ms")
            && !settings.contains("sk_test_house")
            && !settings.contains("whsec_house")
    );
    for page in ["/", "/doctor", "/lanes/intents"] {
        assert!(browser.page(page).await.contains("<h1>"), "{page}");
    }
    house.end_with_dead(&["shipping-label"]).await;
}

#[tokio::test]
async fn a_sign_in_is_one_key_s_and_ends_with_it() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let viewer = house.staff(Role::Viewer, "shop").await;
    let mut browser = Browser::new(&desk);
    let (status, to) = browser.open("/dead/list?state=any").await;
    assert_eq!((status, to.as_str()), (303, "/sign-in?to=%2Fdead%2Flist%3Fstate%3Dany"));
    for wrong in [
        "",
        "of_live_nobody",
        &house.staff(Role::Service, "shop").await,
        &house.staff(Role::Viewer, "other").await,
    ] {
        let (status, page) = browser.post("/sign-in", &[("key", wrong)], &[]).await;
        assert!(status == 401 && page.contains("Not signed in"), "{status} {page}");
    }
    let (status, to) = browser.post("/sign-in", &[("key", &viewer), ("to", "//evil.example")], &[]).await;
    assert_eq!((status, to.as_str()), (303, "/"), "it leads nowhere but here");
    let cookie = browser.given();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure") && !cookie.contains(&viewer),
        "no TLS in front here, and no key in it"
    );
    let page = browser.page("/").await;
    let token = Browser::hidden(&page, "csrf");
    for (fields, headers) in [
        (vec![("do", "pause")], vec![]),
        (vec![("csrf", "x"), ("do", "pause")], vec![]),
        (vec![("csrf", token.as_str()), ("do", "pause")], vec![("sec-fetch-site", "cross-site")]),
        (vec![("csrf", token.as_str()), ("do", "pause")], vec![("origin", "https://evil.example")]),
    ] {
        let (status, page) = browser.post("/sign-out", &fields, &headers).await;
        assert!(status == 403 && page.contains("Nothing was changed"), "{fields:?} {headers:?} {status}");
    }
    let before = browser.cookie.clone();
    let mut other = Browser::signed_in(&desk, &viewer).await;
    assert_eq!(browser.send("/sign-out", &page, &[]).await.0, 303);
    assert_eq!(browser.open("/").await.0, 303, "signed out");
    browser.cookie = before;
    assert_eq!(browser.open("/").await.0, 303, "and so is whoever copied the cookie");
    assert_eq!(browser.open("/live").await.0, 303);
    assert_eq!(other.open("/").await.0, 200, "another sign-in with the same key is not");
    let ended =
        "ended_sessions where until between now() + interval '7 hours' and now() + interval '8 hours'";
    assert_eq!(house.count(ended).await, 1);
    house.execute("update ended_sessions set until = now() - interval '2 hours'").await.unwrap();
    let page = other.page("/").await;
    assert_eq!(other.send("/sign-out", &page, &[]).await.0, 303);
    assert_eq!(house.count("ended_sessions").await, 1, "what would have ended by itself is forgotten");
    let mut browser = Browser::signed_in(&desk, &viewer).await;
    house.execute("update api_keys set revoked_at = now() where role = 'viewer'").await.unwrap();
    assert_eq!(browser.open("/").await.0, 303, "a revoked key opens nothing");
    browser.cookie = Some("orderfleet=forged".to_owned());
    assert_eq!(browser.open("/").await.0, 303);
    let mut tries = 0;
    while browser.post("/sign-in", &[("key", "of_live_nobody")], &[]).await.0 != 429 {
        tries += 1;
        assert!(tries < 20, "nobody counts");
    }
    house.end().await;
}

#[tokio::test]
async fn every_answer_lets_a_browser_load_nothing_but_our_own() {
    let house = house::plan().set(|settings| settings.ops.tls_in_front = true).open().await;
    let desk = house.open_desk().await;
    let viewer = house.staff(Role::Viewer, "shop").await;
    let mut browser = Browser::signed_in(&desk, &viewer).await;
    let cookie = browser.given();
    assert!(cookie.starts_with("__Host-orderfleet=") && cookie.contains("; Secure"), "{cookie}");
    for path in [
        "/",
        "/sign-in",
        "/dead",
        "/orders",
        "/settings",
        "/dead/nobody",
        "/assets/console.css",
        "/assets/console.js",
    ] {
        let headers = browser.headers(path).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        let told = [&headers["x-content-type-options"], &headers["x-frame-options"]];
        assert_eq!(told, ["nosniff", "DENY"], "{path}");
    }
    // What the policy would refuse is not there: the pages need no more than they may load.
    for path in ["/", "/dead", "/orders", "/settings", "/doctor", "/lanes/mail"] {
        let (status, page) = browser.open(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        assert!(
            !page.contains(" style=") && !page.contains("<style") && !page.contains(" onclick"),
            "{path}"
        );
        assert!(!page.contains("=\"http") && !page.contains("=\"//"), "{path}");
        assert!(page.len() < 100_000, "{path} has {} bytes", page.len());
    }
    let unknown = browser.post("/dead/act", &[], &[]).await;
    assert!(unknown.0 == 403 && unknown.1.contains("<main"), "a problem is a page");
    house.end().await;
}

/// Who fails too often is sent away, and nobody else: behind a proxy each is known by the address that it forwards.
#[tokio::test]
async fn failures_count_by_the_address_that_a_trusted_proxy_tells() {
    let proxy = || "127.0.0.1".to_owned().try_into().unwrap();
    let house = house::plan().set(|settings| settings.ops.trusted_proxies = vec![proxy()]).open().await;
    let desk = house.open_desk().await;
    let viewer = house.staff(Role::Viewer, "shop").await;
    let unknown = unknown_key();
    let mut browser = Browser::new(&desk);
    let mut enter = async |key: &str, from: &str| {
        browser.post("/sign-in", &[("key", key)], &[("x-forwarded-for", from)]).await.0
    };
    for _ in 0..12 {
        assert_eq!(enter(&viewer, "203.0.113.1").await, 303, "who signs in uses nothing up");
    }
    for _ in 0..10 {
        assert_eq!(enter(&unknown, "203.0.113.1").await, 401);
    }
    assert_eq!(enter(&unknown, "203.0.113.1").await, 429);
    assert_eq!(
        enter(&unknown, "198.51.100.9, 203.0.113.1").await,
        429,
        "what stands before is anybody's word"
    );
    assert_eq!(enter(&unknown, "203.0.113.2").await, 401, "another address has its own");
    assert_eq!(enter(&viewer, "203.0.113.2").await, 303);

    let bearer = async |key: &str, from: &str| desk.get_from(key, "/ops/v1/dead", from).await;
    assert_eq!(bearer(&viewer, "203.0.113.1").await.0, 429, "one count for both ways in");
    for _ in 0..10 {
        assert_eq!(bearer(&unknown, "203.0.113.3").await.0, 401);
    }
    let (status, refused) = bearer(&unknown, "203.0.113.3").await;
    assert_eq!((status, &refused["code"]), (429, &json!("too_many_tries")));
    for _ in 0..12 {
        assert_eq!(bearer(&viewer, "203.0.113.4").await.0, 200);
    }
    let told = house.rows("select detail ->> 'address' as at, count(*) as tries from operator_actions where action = 'sign_in.refused' group by 1 order by 1").await;
    let expected = [("203.0.113.1", 10), ("203.0.113.2", 1), ("203.0.113.3", 10)];
    assert_eq!(
        told,
        expected.map(|(at, tries)| json!({"at": at, "tries": tries})),
        "and what was refused is written down"
    );
    house.end().await;
}

#[tokio::test]
async fn nobody_is_believed_to_come_from_elsewhere_who_is_no_trusted_proxy() {
    let house = house::open().await;
    let desk = house.open_desk().await;
    let unknown = unknown_key();
    let mut told = Vec::new();
    for n in 0..11 {
        told.push(desk.get_from(&unknown, "/ops/v1/dead", &format!("203.0.113.{n}")).await.0);
    }
    assert_eq!(told, [[401; 10].as_slice(), &[429]].concat());
    house.end().await;
}

#[tokio::test]
async fn every_answer_of_the_operators_side_says_how_it_may_be_used() {
    for tls in [false, true] {
        let house = house::plan().set(|settings| settings.ops.tls_in_front = tls).open().await;
        let desk = house.open_desk().await;
        let mut browser = Browser::new(&desk);
        for path in [
            "/ops/v1/dead",
            "/ops/v1/openapi.json",
            "/ops/v1/nothing",
            "/sign-in",
            "/assets/console.js",
            "/readyz",
        ] {
            let headers = browser.headers(path).await;
            assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
                "{path}: {policy}"
            );
            let alone = headers.get("strict-transport-security").map(|value| value.to_str().unwrap());
            assert_eq!(alone, tls.then_some("max-age=31536000"), "{path}");
        }
        house.end().await;
    }
}

/// A key as we make them, that nobody stored.
fn unknown_key() -> String {
    orderfleet::auth::new_key().key.expose_secret().to_owned()
}
