//! Money that has no cents, or a thousand of them, or that the provider counts in another way: to the minor unit, in and
//! back out.

use orderfleet::auth::Role;
use serde_json::{Value, json};

use crate::house::{self, House, wish};

/// Sells a suit at this price in a currency, shipped for nothing.
async fn sell(house: &House, currency: &str, minor: i64) {
    let offer = format!(
        "insert into prices (sku, currency, unit_minor) values ('SUIT', '{currency}', {minor})
           on conflict (sku, currency) do update set unit_minor = excluded.unit_minor;
         insert into shipping_rates values ('standard', '*', '{currency}', 0, 30) on conflict do nothing"
    );
    house.execute(&offer).await.unwrap();
}

/// A house where nothing is sent by itself.
async fn open() -> House {
    house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await
}

fn wish_in(currency: &str, cart: &str) -> Value {
    let mut body = wish(cart, "SUIT", 1);
    body["currency"] = json!(currency);
    body
}

/// What such an order is rejected with.
async fn rejected(house: &House, currency: &str, cart: &str) -> (Value, String) {
    let answer = house.place(&wish_in(currency, cart), cart, true).await.body;
    assert_eq!(answer["status"], "rejected", "{answer}");
    (answer["error"].clone(), answer["details"][0]["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn m01_every_currency_is_charged_and_given_back_to_its_minor_unit() {
    let house = open().await;
    let mia = house.key(Role::Manager, "mia").await;
    // In our minor units: the price, and a part of it; then what the provider calls them.
    for (currency, price, part, (charged, first, rest)) in [
        ("JPY", 500, 120, (500, 120, 380)),
        ("KWD", 1_230, 410, (1_230, 410, 820)),
        ("HUF", 250_050, 50, (250_050, 50, 250_000)),
        ("TWD", 12_345, 45, (12_345, 45, 12_300)),
        ("UGX", 18_001, 1, (1_800_100, 100, 1_800_000)),
    ] {
        sell(&house, currency, price).await;
        let bought = house.buy_as(&wish_in(currency, &format!("cart-m01-{currency}"))).await;
        assert_eq!(bought.total, price, "{currency}");
        house.pay(&bought).await;
        house.until(bought.intent, "paid").await;
        for (key, body) in [("part", json!({ "amount": part })), ("rest", json!({}))] {
            let asked = house.ask(&mia, bought.order, ("refunds", key), &body).await;
            assert_eq!(asked.status, 202, "{currency}: {asked:?}");
        }
        house.until_order(bought.order, "refunded").await;
        let of = format!("from orders where id = '{}'", bought.order.uuid());
        let ours = house.rows(&format!("select total_minor, captured_minor, refunded_minor {of}")).await;
        let whole = json!({"total_minor": price, "captured_minor": price, "refunded_minor": price});
        assert_eq!(ours, [whole], "{currency}");
        let about = |truth: Vec<Value>, key: &str| {
            truth.into_iter().filter(|row| row[key] == bought.payment.as_str()).collect::<Vec<_>>()
        };
        let payment = about(house.truth("payments").await, "id").remove(0);
        assert_eq!(payment["currency"], currency.to_lowercase());
        assert_eq!((&payment["amount"], &payment["amount_received"]), (&json!(charged), &json!(charged)));
        let back = about(house.truth("refunds").await, "payment_id");
        let back: Vec<_> = back.iter().map(|refund| refund["amount"].as_i64().unwrap()).collect();
        assert_eq!(back.iter().sum::<i64>(), charged, "{currency}: {back:?}");
        assert!(back.contains(&first) && back.contains(&rest), "{currency}: {back:?}");
    }
    house.end().await;
}

#[tokio::test]
async fn m01_what_the_provider_cannot_say_is_rejected_and_never_rounded() {
    let house = open().await;
    sell(&house, "KWD", 1_234).await;
    let (code, detail) = rejected(&house, "KWD", "cart-m01-fils").await;
    assert_eq!((&code, detail.contains("KWD 1234")), (&json!("amount_not_payable"), true), "{detail}");
    assert!(house.truth("payments").await.is_empty());

    // A refund that can't be said is refused where it is asked for; the money stays.
    sell(&house, "KWD", 1_230).await;
    let bought = house.buy_as(&wish_in("KWD", "cart-m01-dinar")).await;
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    let mia = house.key(Role::Manager, "mia").await;
    let asked = house.ask(&mia, bought.order, ("refunds", "odd"), &json!({"amount": 5})).await;
    assert_eq!(asked.status, 422, "{asked:?}");
    assert_eq!(house.count("refunds").await, 0);
    house.end().await;
}

#[tokio::test]
async fn a_total_below_what_the_provider_charges_is_rejected() {
    let house = open().await;
    for (currency, least) in [("JPY", 50), ("HUF", 17_500), ("USD", 50)] {
        sell(&house, currency, least - 1).await;
        house.execute("update shipping_rates set amount_minor = 0").await.unwrap();
        let cart = format!("cart-least-{currency}");
        let (code, detail) = rejected(&house, currency, &cart).await;
        assert_eq!(code, "amount_not_payable", "{currency}");
        assert!(detail.contains("below the least") && detail.contains(&least.to_string()), "{detail}");
        sell(&house, currency, least).await;
        assert_eq!(house.buy_as(&wish_in(currency, &cart)).await.total, least);
    }
    assert_eq!(
        house.count("stock where sku = 'SUIT' and reserved = 3").await,
        1,
        "the rejected hold nothing"
    );
    house.end().await;
}
