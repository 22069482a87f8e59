//! Coupons: who gets the last use, who does not, and when it comes back.

use orderfleet::auth::Role;
use orderfleet::domain::coupon;
use orderfleet::store::coupons::refusal;
use serde_json::{Value, json};

use crate::house::{self, House, wish};

/// Reads coupons in, as a file brings them.
async fn import(house: &House, file: &str) {
    assert!(coupon::is_in(file));
    house.store.import_coupons(&coupon::read(file).unwrap()).await.unwrap();
}

/// A wish for a suit with a coupon.
fn with(cart: &str, code: &str) -> Value {
    let mut body = wish(cart, "SUIT", 1);
    body["discount_code"] = json!(code);
    body
}

async fn rejected(house: &House, body: &Value) -> Value {
    let key = body["cart_id"].as_str().unwrap();
    let answer = house.place(body, key, true).await.body;
    assert_eq!(answer["status"], "rejected", "{answer}");
    answer["error"].clone()
}

const ONE_USE: &str = "code,percent,max_uses\nlast-one,10,1\n";

#[tokio::test]
async fn r17_of_twenty_orders_at_once_one_gets_the_last_use_of_a_coupon() {
    let house = house::plan().workers(3).set(|settings| {
        settings.lanes.values_mut().for_each(|lane| lane.slice = 4);
    });
    let house = house.open().await;
    import(&house, ONE_USE).await;
    let wishes: Vec<Value> = (0..20).map(|buyer| with(&format!("cart-r17-{buyer}"), "Last-One")).collect();
    let keys: Vec<String> = (0..20).map(|buyer| format!("r17-{buyer}")).collect();
    let posts = wishes.iter().zip(&keys).map(|(body, key)| house.place(body, key, false));
    let posts = futures::future::join_all(posts).await;
    house.settled().await;
    let mut answers = Vec::new();
    for post in posts {
        answers.push(house.state(post.body["intent_id"].as_str().unwrap().parse().unwrap()).await);
    }
    let (got, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|body| body["status"] == "reserved");
    assert_eq!((got.len(), refused.len()), (1, 19));
    assert!(refused.iter().all(|body| body["error"] == "coupon_used_up"), "{refused:?}");
    let winner = house::bought(&got[0]);
    assert_eq!(winner.total, 12_900 - 1_290 + 900);
    assert_eq!(house.count("stock where reserved = 1").await, 1, "who was refused holds nothing");

    // Called off, it is the next one's.
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, winner.order, ("cancel", ""), &json!({})).await.status, 202);
    house.until(winner.intent, "cancelled").await;
    let next = house.buy_as(&with("cart-r17-next", "LAST-ONE")).await;
    house.pay(&next).await;
    house.until_order(next.order, "shipped").await;
    assert_eq!(rejected(&house, &with("cart-r17-late", "last-one")).await, "coupon_used_up");
    let uses =
        house.rows("select given_back_at is not null as back from coupon_uses order by taken_at").await;
    assert_eq!(uses, [json!({"back": true}), json!({"back": false})]);
    house.end().await;
}

#[tokio::test]
async fn r17_a_coupon_stays_with_an_order_that_can_still_be_paid_and_comes_back_when_it_lapses() {
    let house = house::open().await;
    import(&house, ONE_USE).await;
    let bought = house.buy_as(&with("cart-r17-slow", "LAST-ONE")).await;
    house.end_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    assert_eq!(rejected(&house, &with("cart-r17-other", "LAST-ONE")).await, "coupon_used_up");
    // Paid again, it costs what it did.
    let again = house::bought(&house.pay_again(bought.intent, true).await.body);
    assert_eq!(again.total, bought.total);
    house.end_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    house.end_payable(bought.order).await;
    house.until(bought.intent, "cancelled").await;
    house.buy_as(&with("cart-r17-after", "LAST-ONE")).await;
    assert_eq!(house.value("select uses from coupons").await, 1);
    house.end().await;
}

#[tokio::test]
async fn a_coupon_that_is_not_to_be_used_rejects_the_wish_and_says_why() {
    let house = house::open().await;
    import(
        &house,
        "code,percent,usd_minor,npr_minor,usd_minimum,valid_from,valid_until
         EARLY,10,,,,2999-01-01T00:00:00Z,
         LATE,10,,,,,2001-01-01T00:00:00Z
         MUCH,10,,,12901,,
         RUPEES,,,5000,,,
         FIVE,,500,,12900,,
         ALL,100,,,,,",
    )
    .await;
    for (code, why) in [
        ("NOBODY", "unknown_coupon"),
        ("EARLY", "coupon_not_valid"),
        ("LATE", "coupon_not_valid"),
        ("MUCH", "coupon_below_minimum"),
        ("RUPEES", "coupon_not_in_currency"),
    ] {
        assert_eq!(rejected(&house, &with(&format!("cart-{code}"), code)).await, why, "{code}");
    }
    assert_eq!(
        house.count("stock where reserved > 0").await + house.count("coupons where uses > 0").await,
        0
    );
    let five = house.buy_as(&with("cart-five", "five")).await;
    assert_eq!(five.total, 12_900 - 500 + 900);
    let mut all = with("cart-all", "ALL");
    all["expected_total"] = json!(900);
    assert_eq!(house.buy_as(&all).await.total, 900, "never the shipping");
    house.end().await;
}

#[tokio::test]
async fn a_file_of_coupons_read_in_again_keeps_their_uses_and_never_falls_below_them() {
    let house = house::open().await;
    import(&house, "code,percent,max_uses\nTWICE,10,2\n").await;
    for cart in ["cart-twice-1", "cart-twice-2"] {
        house.buy_as(&with(cart, "TWICE")).await;
    }
    import(&house, "code,percent,max_uses\nTWICE,20,3\n").await;
    let stands = house.rows("select uses, max_uses, basis_points from coupons").await;
    assert_eq!(stands, [json!({"uses": 2, "max_uses": 3, "basis_points": 2_000})]);
    let fewer = coupon::read("code,percent,max_uses\nTWICE,20,1\n").unwrap();
    let refused = house.store.import_coupons(&fewer).await.unwrap_err();
    assert!(refusal(&refused).is_some_and(|why| why.contains("max_uses")), "{refused}");
    let nowhere = coupon::read("code,xxx_minor\nNOWHERE,5\n").unwrap();
    let refused = house.store.import_coupons(&nowhere).await.unwrap_err();
    assert!(refusal(&refused).is_some_and(|why| why.contains("currency")), "{refused}");
    // What was given back stays so: the tables say it, whoever asks.
    let again = "update coupon_uses set given_back_at = now(); update coupon_uses set given_back_at = null";
    assert!(house.execute(again).await.unwrap_err().contains("once"));
    assert!(house.execute("delete from coupon_uses").await.is_err());
    house.end().await;
}
