//! Orders as they are read: by the page, one with all that belongs to it, by those whom it concerns.

use orderfleet::auth::Role;
use serde_json::{Value, json};

use crate::house::{self, House, wish};

fn numbers(page: &Value) -> Vec<&str> {
    page["orders"].as_array().unwrap().iter().map(|order| order["order_number"].as_str().unwrap()).collect()
}

async fn page(house: &House, who: &str, query: &str) -> Value {
    let answer = house.read(who, &format!("/v1/orders?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.body
}

/// Every page of a list, one after the other.
async fn pages(house: &House, who: &str, query: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(house, who, &format!("{query}&cursor={cursor}")).await;
        pages.push(numbers(&page).into_iter().map(str::to_owned).collect());
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_by_what_one_looks_for() {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    let vic = house.key(Role::Processor, "vic").await;
    let mut bought = Vec::new();
    for cart in ["views-one", "views-two", "views-three"] {
        bought.push(house.buy(cart).await);
    }
    house.pay(&bought[1]).await;
    house.until_order(bought[1].order, "payment_confirmed").await;
    let whole = pages(&house, &vic, "limit=100").await;
    assert_eq!((whole.len(), whole[0].len()), (1, 3));
    let by_two = pages(&house, &vic, "limit=2").await;
    assert_eq!(by_two.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(by_two.concat(), whole[0]);
    let newest_first: Vec<&str> = whole[0].iter().map(String::as_str).collect();
    let [three, two, one] = newest_first.try_into().unwrap();

    let payment = &bought[0].payment;
    for (query, found) in [
        ("status=payment_confirmed".to_owned(), vec![two]),
        ("status=pending&vocabulary=shop".to_owned(), vec![three, one]),
        ("status=pending&vocabulary=admin".to_owned(), vec![three, two, one]),
        ("payment_status=captured".to_owned(), vec![two]),
        ("payment_status=awaiting&fulfilment_status=unfulfilled".to_owned(), vec![three, one]),
        (format!("order_number={one}"), vec![one]),
        (format!("provider_payment_id={payment}"), vec![one]),
        (format!("provider_payment_id={payment}&status=payment_confirmed"), vec![]),
        ("order_number=OF-none".to_owned(), vec![]),
        ("text=VIEWS-TWO@example".to_owned(), vec![two]),
        ("text=100%25".to_owned(), vec![]),
        ("customer_id=cus-views-three".to_owned(), vec![three]),
        ("created_from=2000-01-01&created_until=2001-01-01".to_owned(), vec![]),
        ("created_from=2000-01-01&created_until=2100-01-01".to_owned(), vec![three, two, one]),
    ] {
        assert_eq!(numbers(&page(&house, &vic, &query).await), found, "{query}");
    }
    let shop = page(&house, &vic, &format!("order_number={two}&vocabulary=shop")).await;
    assert_eq!(shop["orders"][0]["status"], "paid");
    let wrong = house.read(&vic, "/v1/orders?limit=0&colour=blue&cursor=x").await;
    let fields: Vec<_> =
        wrong.body["errors"].as_array().unwrap().iter().map(|fault| fault["field"].clone()).collect();
    assert_eq!((wrong.status, fields), (422, vec![json!("limit"), json!("colour")]));
    let torn = house.read(&vic, "/v1/orders?cursor=x").await;
    assert_eq!((torn.status, &torn.body["errors"][0]["field"]), (422, &json!("cursor")));
    house.end().await;
}

#[tokio::test]
async fn each_sees_what_is_theirs() {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    house.execute("update skus set vendor = 'tailor' where sku = 'SHIRT'").await.unwrap();
    let mut both = wish("views-both", "SUIT", 1);
    both["lines"] = json!([{"sku": "SUIT", "quantity": 1}, {"sku": "SHIRT", "quantity": 2}]);
    let bought = house.buy_as(&both).await;
    let other = house.buy("views-other").await;
    let [buyer, tailor, pia] = [
        house.key(Role::Customer, "cus-views-both").await,
        house.key(Role::Vendor, "tailor").await,
        house.key(Role::Processor, "pia").await,
    ];
    let of = |order: orderfleet::ids::OrderId| format!("/v1/orders/{order}");
    for who in [&buyer, &tailor] {
        assert_eq!(page(&house, who, "").await["orders"].as_array().unwrap().len(), 1);
        assert_eq!(house.read(who, &of(other.order)).await.body["code"], "unknown_order");
    }
    let theirs = house.read(&buyer, &of(bought.order)).await.body;
    assert_eq!(
        (theirs["totals"]["total"].as_i64(), &theirs["items"][1]["quantity"]),
        (Some(bought.total), &json!(2))
    );
    assert_eq!(theirs["payments"][0]["provider_payment_id"], json!(bought.payment));
    assert_eq!(theirs["customer"]["email"], "views-both@example.com");
    assert!(theirs["timeline"].is_null() && theirs["events"][0]["actor"].is_null(), "{theirs}");
    let lines = house.read(&tailor, &of(bought.order)).await.body;
    assert_eq!(lines["items"].as_array().unwrap().len(), 1, "{lines}");
    for hidden in ["customer", "customer_id", "totals", "payments", "shipping_address", "mails"] {
        assert!(lines[hidden].is_null(), "{hidden}");
    }
    let staff = house.read(&pia, &of(bought.order)).await;
    assert_eq!(staff.body["events"][0]["actor"], "system");
    assert!(!staff.body["timeline"].as_array().unwrap().is_empty());
    let service = house.read_as_service("/v1/orders").await;
    assert_eq!((service.status, &service.body["code"]), (403, &json!("forbidden")));
    house.end().await;
}

#[tokio::test]
async fn the_version_that_was_read_is_the_one_to_move_from() {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    let bought = house.buy("views-version").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "payment_confirmed").await;
    house.settled().await;
    let pia = house.key(Role::Processor, "pia").await;
    let seen = house.read(&pia, &format!("/v1/orders/{}", bought.order)).await;
    let version = seen.body["version"].as_i64();
    assert_eq!(seen.etag, version.map(|version| format!("\"{version}\"")));
    let moved = house.put_status(&pia, bought.order, version, "processing").await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    house.end().await;
}

#[tokio::test]
async fn availability_is_told_of_every_article_that_is_asked_for() {
    let house = house::plan().stock(&[("SUIT", 3), ("SHIRT", 1)]).open().await;
    house.buy_as(&wish("views-stock", "SUIT", 2)).await;
    let told = house.read_as_service("/v1/availability?sku=SUIT&sku=SHIRT&sku=NOPE").await;
    assert_eq!(
        told.body["items"],
        json!([{"sku": "NOPE", "available": 0, "is_sold": false}, {"sku": "SHIRT", "available": 1, "is_sold": true},
               {"sku": "SUIT", "available": 1, "is_sold": true}]),
        "{}",
        told.body
    );
    let nothing = house.read_as_service("/v1/availability").await;
    assert_eq!((nothing.status, &nothing.body["errors"][0]["code"]), (422, &json!("missing")));
    let buyer = house.key(Role::Customer, "cus-views-stock").await;
    assert_eq!(house.read(&buyer, "/v1/availability?sku=SUIT").await.status, 403);
    house.end().await;
}

/// A find tells who bought as much as a look does: whoever may not see a person finds nothing by one.
#[tokio::test]
async fn a_viewer_is_neither_told_who_bought_nor_finds_it_out() {
    let house = house::open().await;
    let bought = house.buy("discreet").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    let of = format!("/v1/orders/{}", bought.order);
    for (role, sees) in
        [(Role::Viewer, false), (Role::Processor, true), (Role::Manager, true), (Role::Administrator, true)]
    {
        let key = house.key(role, role.name()).await;
        let told = house.read(&key, &of).await.body;
        for field in ["customer", "shipping_address", "metadata"] {
            assert_eq!(told.get(field).is_some(), sees, "{role}: {field}");
        }
        assert_eq!(
            told["shipments"][0].get("label_url").is_some(),
            sees,
            "{role}: its picture shows the address"
        );
        assert_eq!(told.to_string().contains("discreet@example.com"), sees, "{role}");
        assert_eq!(told["shipping_method"], "standard", "{role}: how it goes is no person");
        for (text, finds) in [("discreet@example.com", sees), ("Buyer", sees), ("discreet", true)] {
            let found = page(&house, &key, &format!("text={text}")).await;
            assert_eq!(numbers(&found).len(), usize::from(finds), "{role}: {text}");
        }
    }
    let buyer = house.key(Role::Customer, "cus-discreet").await;
    let theirs = house.read(&buyer, &of).await.body;
    assert_eq!(theirs["customer"]["email"], "discreet@example.com");
    assert!(theirs["shipments"][0].get("label_url").is_none());
    assert_eq!(numbers(&page(&house, &buyer, "text=discreet@example.com").await).len(), 1);
    house.end().await;
}
