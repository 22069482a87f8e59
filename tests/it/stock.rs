//! Who gets the pieces: a herd for a few, lines that add up, wishes that cannot be met.

use orderfleet::auth::Role;
use orderfleet::jobs::commands::correct_stock::correct_stock;
use orderfleet::queue::Pushed;
use orderfleet::store::stock::{Change, is_below_held, limit_backorders};
use serde_json::{Value, json};

use crate::house::{self, House, wish};
use crate::twice;

/// Places a wish that is to be rejected; its code and its details.
async fn rejected(house: &House, body: &Value, key: &str) -> (String, Value) {
    let answer = house.place(body, key, true).await.body;
    assert_eq!((&answer["status"], &answer["success"]), (&json!("rejected"), &json!(false)), "{answer}");
    (answer["error"].as_str().unwrap().to_owned(), answer["details"].clone())
}

#[tokio::test]
async fn r01_two_hundred_buyers_for_twenty_pieces_are_twenty_orders_and_the_rest_is_told() {
    let house = house::plan().stock(&[("SUIT", 20)]).workers(2).open().await;
    let wishes: Vec<Value> = (0..200).map(|buyer| wish(&format!("herd-{buyer}"), "SUIT", 1)).collect();
    let keys: Vec<String> = (0..200).map(|buyer| format!("r01-{buyer}")).collect();
    let posts = wishes.iter().zip(&keys).map(|(body, key)| house.place(body, key, false));
    let answers = futures::future::join_all(posts).await;
    house.settled().await;
    let mut statuses = std::collections::BTreeMap::new();
    for answer in answers {
        if answer.status == 409 {
            // The door had heard of it already: the same news.
            assert_eq!(answer.body["code"], "sold_out");
            *statuses.entry(("rejected".to_owned(), Some("insufficient_stock".to_owned()))).or_insert(0) += 1;
            continue;
        }
        assert_eq!(answer.status, 202, "{}", answer.body);
        let state = house.state(answer.body["intent_id"].as_str().unwrap().parse().unwrap()).await;
        let told = (state["status"].as_str().unwrap().to_owned(), state["error"].as_str().map(str::to_owned));
        *statuses.entry(told).or_insert(0) += 1;
    }
    let sold_out = ("rejected".to_owned(), Some("insufficient_stock".to_owned()));
    assert_eq!(statuses, [(sold_out, 180), (("reserved".to_owned(), None), 20)].into());
    assert_eq!(house.count("stock where on_hand = 20 and reserved = 20").await, 1);
    assert_eq!(house.count("reservations where state = 'active'").await, 20);
    house.end().await;
}

#[tokio::test]
async fn r02_two_lines_of_one_article_need_both_pieces() {
    let house = house::plan().stock(&[("SUIT", 1)]).open().await;
    let mut body = wish("cart-r02", "SUIT", 1);
    body["lines"] = json!([{"sku": "SUIT", "quantity": 1}, {"sku": "SUIT", "quantity": 1}]);
    let (code, details) = rejected(&house, &body, "r02").await;
    assert_eq!(code, "insufficient_stock");
    assert_eq!((&details[0]["requested"], &details[0]["available"]), (&json!(2), &json!(1)), "{details}");
    assert_eq!(house.count("stock where reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn r03_an_article_that_is_out_holds_nothing_of_the_others() {
    let house = house::plan().stock(&[("SUIT", 5), ("SHIRT", 0)]).open().await;
    let mut body = wish("cart-r03", "SUIT", 2);
    body["lines"] = json!([{"sku": "SUIT", "quantity": 2}, {"sku": "SHIRT", "quantity": 1}]);
    let (code, details) = rejected(&house, &body, "r03").await;
    assert_eq!((code.as_str(), details.as_array().unwrap().len()), ("insufficient_stock", 1));
    assert_eq!((&details[0]["sku"], &details[0]["available"]), (&json!("SHIRT"), &json!(0)));
    assert_eq!(house.count("stock where reserved > 0").await, 0);
    house.end().await;
}

/// A wish for these pieces of two articles, of which what is there is taken.
fn available_of(cart: &str, suits: i64, shirts: i64) -> Value {
    let mut body = wish(cart, "SUIT", suits);
    body["lines"] = json!([{"sku": "SUIT", "quantity": suits}, {"sku": "SHIRT", "quantity": shirts}]);
    body["on_shortage"] = json!("accept_available");
    body
}

#[tokio::test]
async fn r04_what_is_there_is_held_and_what_is_short_is_told() {
    let house = house::plan().stock(&[("SUIT", 5), ("SHIRT", 1)]).open().await;
    let part = house.place(&available_of("cart-r04", 2, 3), "r04", true).await.body;
    let bought = house::bought(&part);
    assert_eq!(bought.total, 3 * 12_900 + 900, "two suits, one shirt and the shipping");
    assert_eq!(part["error"], Value::Null);
    let short = &part["details"];
    assert_eq!((short.as_array().unwrap().len(), &short[0]["sku"]), (1, &json!("SHIRT")), "{short}");
    assert_eq!((&short[0]["requested"], &short[0]["available"]), (&json!(3), &json!(1)), "{short}");
    let lines = house.rows("select sku, quantity from order_items order by line_no").await;
    assert_eq!(lines, [json!({"sku": "SUIT", "quantity": 2}), json!({"sku": "SHIRT", "quantity": 1})]);

    // The shirts are gone: a line of which nothing is left is gone too, also where the door knows of it.
    let shirts = until_closed(&house, "SHIRT").await;
    assert_eq!(shirts["details"][0]["sku"], "SHIRT", "{shirts}");
    let none = house.place(&available_of("cart-r04-none", 1, 1), "r04-none", true).await.body;
    assert_eq!(house::bought(&none).total, 12_900 + 900);
    assert_eq!(none["details"][0]["available"], 0, "{none}");
    assert_eq!(house.count("order_items where sku = 'SHIRT'").await, 1);
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.end().await;
}

#[tokio::test]
async fn r04_nobody_pays_another_total_than_they_saw_and_nothing_at_all_is_no_order() {
    let house = house::plan().stock(&[("SUIT", 5), ("SHIRT", 0)]).open().await;
    let mut body = available_of("cart-r04-total", 1, 1);
    body["expected_total"] = json!(2 * 12_900 + 900);
    let (code, details) = rejected(&house, &body, "r04-all").await;
    assert_eq!((code.as_str(), &details[1]["sku"]), ("total_changed", &json!("SHIRT")), "{details}");
    assert_eq!(house.count("stock where reserved > 0").await, 0);
    body["expected_total"] = json!(12_900 + 900);
    house.buy_as(&body).await;

    let mut nothing = available_of("cart-r04-nothing", 1, 1);
    nothing["lines"] = json!([{"sku": "SHIRT", "quantity": 2}]);
    let answer = house.place(&nothing, "r04-nothing", true).await;
    let told = (answer.status, answer.body["code"].as_str().or(answer.body["error"].as_str()));
    assert!(matches!(told, (409, Some("sold_out")) | (201, Some("insufficient_stock"))), "{answer:?}");
    house.end().await;
}

#[tokio::test]
async fn r05_orders_of_two_articles_in_both_orders_never_lock_each_other_out() {
    const BUYERS: usize = 160;
    /// Slices of all three workers, and so few that each is answered in time.
    const AT_ONCE: usize = 40;
    let house = house::plan().workers(3).set(|settings| {
        // The provider's rate is not what is looked at.
        settings.calls.get_mut("stripe").unwrap().a_second = 0;
        settings.lanes.values_mut().for_each(|lane| lane.slice = 8);
    });
    let house = house.open().await;
    let wishes: Vec<Value> = (0..BUYERS)
        .map(|buyer| {
            let mut lines = [json!({"sku": "SUIT", "quantity": 1}), json!({"sku": "SHIRT", "quantity": 1})];
            lines.rotate_left(buyer % 2);
            let mut body = wish(&format!("cart-r05-{buyer}"), "SUIT", 1);
            body["lines"] = json!(lines);
            body
        })
        .collect();
    let keys: Vec<String> = (0..BUYERS).map(|buyer| format!("r05-{buyer}")).collect();
    let posts: Vec<_> = wishes.iter().zip(&keys).collect();
    for some in posts.chunks(AT_ONCE) {
        let posts = some.iter().map(|(body, key)| house.place(body, key, true));
        for answer in futures::future::join_all(posts).await {
            assert_eq!(answer.body["status"], "reserved", "{}", answer.body);
        }
    }
    // Held in both orders, and given back so: all holds end at once.
    house.end_holds().await;
    house.until_count("reservations where state = 'expired'", 2 * i64::try_from(BUYERS).unwrap()).await;
    house.settled().await;
    assert_eq!(house.count("stock where on_hand = 1000 and reserved = 0").await, 2);
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(house.value(deadlocks).await, 0);
    house.end().await;
}

#[tokio::test]
async fn another_total_than_the_customer_was_shown_is_rejected() {
    let house = house::open().await;
    let mut body = wish("cart-total", "SUIT", 1);
    body["expected_total"] = json!(1);
    assert_eq!(rejected(&house, &body, "total").await.0, "total_changed");
    body["expected_total"] = json!(13_800);
    house.buy_as(&body).await;
    house.end().await;
}

#[tokio::test]
async fn an_article_that_went_out_of_sale_behind_the_door_is_the_workers_to_reject() {
    let house = house::plan().workers(0).open().await;
    let body = wish("cart-gone", "SUIT", 1);
    let answer = house.place(&body, "gone", false).await;
    assert_eq!(answer.status, 202);
    house.execute("update skus set is_sold = false where sku = 'SUIT'").await.unwrap();
    house.work();
    let state = house.until(answer.body["intent_id"].as_str().unwrap().parse().unwrap(), "rejected").await;
    assert_eq!(state["error"], "unknown_sku");
    house.end().await;
}

#[tokio::test]
async fn r16_a_poisoned_wish_fails_alone_and_its_neighbours_are_served() {
    let house = house::plan().workers(0).open().await;
    let refuse = "create function poison() returns trigger language plpgsql as $$ begin
                    raise exception 'poison' using errcode = 'check_violation'; end $$;
                  create trigger poison before insert on orders for each row when (new.cart_id = 'poison-3') execute function poison()";
    house.execute(refuse).await.unwrap();
    let mut intents = Vec::new();
    for buyer in 0..8 {
        let answer =
            house.place(&wish(&format!("poison-{buyer}"), "SUIT", 1), &format!("r16-{buyer}"), false).await;
        intents.push(answer.body["intent_id"].as_str().unwrap().parse().unwrap());
    }
    house.work();
    for (buyer, intent) in intents.into_iter().enumerate() {
        let state = house.until(intent, if buyer == 3 { "failed" } else { "reserved" }).await;
        assert_eq!(state["success"], buyer != 3);
    }
    house.end_with_dead(&["order-intent"]).await;
}

/// Places wishes, each under a key of its own, until one is answered like this.
async fn until_answered(house: &House, name: &str, waits: bool, wanted: impl Fn(u16, &Value) -> bool) {
    for number in 0..house::PATIENCE.as_millis() / 100 {
        let key = format!("{name}-{number}");
        let answer = house.place(&wish(&key, "SUIT", 1), &key, waits).await;
        if wanted(answer.status, &answer.body) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{name}: never answered as wanted");
}

fn is_sold_out(status: u16, body: &Value) -> bool {
    status == 409 && body["code"] == "sold_out" && body["details"][0]["sku"] == "SUIT"
}

/// Waits until the door is closed for an article alone; its answer.
async fn until_closed(house: &House, sku: &str) -> Value {
    for number in 0..house::PATIENCE.as_millis() / 100 {
        let key = format!("closed-{sku}-{number}");
        let answer = house.place(&wish(&key, sku, 1), &key, true).await;
        if answer.status == 409 {
            return answer.body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the door was never closed for {sku}");
}

#[tokio::test]
async fn r13_fewer_pieces_than_are_held_are_refused_or_end_the_youngest_holds() {
    let house = house::plan().stock(&[("SUIT", 5)]).open().await;
    let mut bought = Vec::new();
    for buyer in 0..3 {
        bought.push(house.buy(&format!("cart-r13-{buyer}")).await);
    }
    house.settled().await;
    let refused = house.store.change_stock("SUIT", Change::Set(1), "r13").await.unwrap_err();
    assert!(is_below_held(&refused), "{refused}");
    assert_eq!(house.count("stock where on_hand = 5 and reserved = 3").await, 1);

    let mut tx = house.store.begin().await.unwrap();
    let corrected = correct_stock(&mut tx, "SUIT", Change::Set(1), "r13-forced").await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!((corrected.level.on_hand, corrected.level.reserved, corrected.shorted), (1, 1, 2));
    for shorted in &bought[1..] {
        house.until(shorted.intent, "expired").await;
    }
    house.settled().await;
    let shown = house
        .rows("select order_id from order_exceptions where type = 'stock_corrected' order by order_id")
        .await;
    let expected: Vec<Value> = bought[1..].iter().map(|one| json!({"order_id": one.order.uuid()})).collect();
    assert_eq!(shown, expected);
    assert_ne!(house.pay_with(&bought[2], "pm_card_visa").await, 200, "its payment is cancelled");
    assert_eq!(house.pay_again(bought[1].intent, false).await.body["code"], "insufficient_stock");
    house.pay(&bought[0]).await;
    house.until(bought[0].intent, "paid").await;
    assert_eq!(house.count("stock where on_hand = 0 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn pieces_that_may_be_sold_before_they_come_are_owed_and_never_more_than_the_limit() {
    let plan = house::plan().stock(&[("SUIT", 2)]);
    let house = plan.set(|settings| settings.orders.auto_fulfil = false).open().await;
    let limit = async |pieces: i64| {
        let mut tx = house.store.begin().await.unwrap();
        let level = limit_backorders(&mut tx, "SUIT", pieces).await?;
        tx.commit().await?;
        Ok::<_, orderfleet::store::StoreError>(level.unwrap())
    };
    assert_eq!(limit(3).await.unwrap().available(), 5);
    let mut bought = Vec::new();
    for buyer in 0..5 {
        bought.push(house.buy(&format!("cart-owed-{buyer}")).await);
    }
    let late = house.place(&wish("owed-late", "SUIT", 1), "key-owed-late", true).await;
    assert!(
        is_sold_out(late.status, &late.body) || late.body["error"] == "insufficient_stock",
        "{}",
        late.body
    );
    for one in &bought {
        house.pay(one).await;
        house.until(one.intent, "paid").await;
    }
    house.settled().await;
    let stands = async |on_hand: u32, owed: u32| {
        let stands = format!("stock where on_hand = {on_hand} and backordered = {owed} and reserved = 0");
        assert_eq!(house.count(&stands).await, 1, "{:?}", house.rows("select * from stock").await);
    };
    stands(0, 3).await;
    assert!(is_below_held(&limit(2).await.unwrap_err()), "three are owed");
    let again = house.place(&wish("owed-more", "SUIT", 1), "key-owed-more", true).await;
    assert!(
        is_sold_out(again.status, &again.body) || again.body["error"] == "insufficient_stock",
        "{}",
        again.body
    );
    let refused = house.store.change_stock("SUIT", Change::Adjust(-1), "owed-less").await.unwrap_err();
    assert!(is_below_held(&refused), "none is there to be taken away: {refused}");

    // One is called off: what it was owed is owed to nobody.
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, bought[4].order, ("cancel", ""), &json!({})).await.status, 202);
    house.until_order(bought[4].order, "refunded").await;
    stands(0, 2).await;
    let level = house.store.change_stock("SUIT", Change::Adjust(5), "owed-came").await.unwrap().unwrap();
    assert_eq!((level.on_hand, level.backordered, level.available()), (3, 0, 6));
    assert_eq!(limit(0).await.unwrap().available(), 3);
    house.end().await;
}

#[tokio::test]
async fn r14_who_comes_after_the_last_piece_is_told_at_the_door_and_its_holder_never() {
    let house = house::plan().stock(&[("SUIT", 1)]).open().await;
    let holder = house.buy("r14").await;
    // The door knows of nothing yet, or knows it already: whoever comes in all the same is rejected by the worker.
    until_answered(&house, "r14-late", true, |status, body| {
        assert!(is_sold_out(status, body) || body["error"] == "insufficient_stock", "{body}");
        is_sold_out(status, body)
    })
    .await;
    let again = house.place(&wish("r14", "SUIT", 1), "key-r14", true).await;
    assert_eq!((again.status, again.is_replay), (200, true), "{}", again.body);
    assert_eq!(again.body["order_id"], holder.order.to_string());
    assert_eq!(house.count("stock where on_hand = 1 and reserved = 1").await, 1);
    house.end().await;
}

#[tokio::test]
async fn r15_a_hint_that_stock_is_gone_is_corrected_by_what_is_there() {
    let house = house::plan().stock(&[("SUIT", 5)]).workers(0).open().await;
    // A leak: the hint is of a version that the row never had, and says that nothing is left.
    let gone = orderfleet::domain::stock::Left { sku: "SUIT".to_owned(), version: 1_000_000, available: 0 };
    house.queue.correct_left(&[gone]).await.unwrap();
    until_answered(&house, "r15-shut", false, is_sold_out).await;
    house.work();
    until_answered(&house, "r15-open", true, |status, body| status == 201 && body["status"] == "reserved")
        .await;
    house.end().await;
}

#[tokio::test]
async fn what_was_given_back_is_sold_again() {
    let short = |settings: &mut orderfleet::config::Settings| settings.orders.reservation_seconds = 3;
    let house = house::plan().stock(&[("SUIT", 1)]).set(short).open().await;
    house.buy("given-back").await;
    until_answered(&house, "while-held", true, is_sold_out).await;
    until_answered(&house, "afterwards", true, |status, body| status == 201 && body["status"] == "reserved")
        .await;
    house.end().await;
}

/// The first transaction that holds a piece loses its connection between the stock's row and its own end.
const DIE_ONCE: &str = "
    create sequence deaths;
    create function die_once() returns trigger language plpgsql as $$
    begin if nextval('deaths') = 1 then perform pg_terminate_backend(pg_backend_pid()); end if; return null; end $$;
    create trigger die_once after insert on reservations for each row execute function die_once()";

#[tokio::test]
async fn r06_a_wish_whose_transaction_dies_in_its_middle_holds_its_piece_once() {
    let house = house::open().await;
    house.execute(DIE_ONCE).await.unwrap();
    let bought = house.buy("cart-r06").await;
    assert_eq!(
        house.value("select last_value from deaths").await,
        2,
        "it died, and was held at the second try"
    );
    assert_eq!(house.count("reservations where state = 'active' and quantity = 1").await, 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 1").await, 1);
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    house.end().await;
}

#[tokio::test]
async fn r07_a_wish_that_is_delivered_again_after_its_commit_holds_nothing_more() {
    let house = house::open().await;
    let bought = house.buy("cart-r07").await;
    house.settled().await;
    let copies = twice::intake_born(&house, &[wish("cart-r07", "SUIT", 1)]).await;
    let pushed = house.queue.push(&copies).await.unwrap();
    assert!(
        !pushed.is_empty() && pushed.iter().all(|became| *became == Pushed::Queued),
        "as if nobody had heard: {pushed:?}"
    );
    house.settled().await;
    assert_eq!(house.count("reservations").await, 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 1").await, 1);
    assert_eq!(house.state(bought.intent).await["status"], "reserved");
    house.end().await;
}
