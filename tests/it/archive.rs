//! Orders that ended years ago leave, with everything that hangs on them; what is young or open stays, and nothing is lost
//! that counts beyond them.

use orderfleet::auth::Role;
use orderfleet::domain::coupon;
use orderfleet::ids::OrderId;
use orderfleet::store::retention::Subject;
use orderfleet::worker::retention::round;
use serde_json::json;

use crate::house::{self, Bought, House, wish};

/// Everything that is there happened so long ago.
async fn years_pass(house: &House) {
    let ago = "interval '11 years'";
    let sql = format!(
        "set session_replication_role = replica;
         update orders set updated_at = updated_at - {ago}, created_at = created_at - {ago};
         update stock_movements set at = at - {ago};
         update order_intents set created_at = created_at - {ago};
         set session_replication_role = default"
    );
    house.execute(&sql).await.unwrap();
}

async fn archive(house: &House) -> u64 {
    round(&house.store, Subject::Orders, &house.settings.retention).await.unwrap()
}

/// Tables that still speak of an order, of its payments, parcels and mails.
async fn speak_of(house: &House, order: OrderId, payment: &str) -> Vec<String> {
    // One job of each kind is kept to compare formats by, without what leads to a person.
    let tables =
        "select tablename from pg_tables where schemaname = 'public' and tablename <> 'exemplars' order by 1";
    let tables = house.rows(tables).await;
    let mut found = Vec::new();
    for table in tables.iter().filter_map(|table| table["tablename"].as_str()) {
        for text in [order.uuid().to_string(), order.to_string(), payment.to_owned()] {
            if house.count(&format!("{table} t where t::text like '%{text}%'")).await > 0 {
                found.push(format!("{table}: {text}"));
            }
        }
    }
    found
}

/// An order that was delivered and is done with.
async fn completed(house: &House, cart: &str) -> Bought {
    let mut wish = wish(cart, "SUIT", 2);
    house
        .store
        .import_coupons(&coupon::read("code,percent,max_uses\narchive,10,9\n").unwrap())
        .await
        .unwrap();
    wish["discount_code"] = json!("ARCHIVE");
    let bought = house.buy_as(&wish).await;
    assert_eq!(house.pay_with(&bought, "pm_card_chargeDeclined").await, 402);
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    let code = house
        .value(&format!("select tracking_code from labels where order_id = '{}'", bought.order.uuid()))
        .await;
    house.scan(code.as_str().unwrap(), "delivered").await;
    house.until_order(bought.order, "delivered").await;
    house.settled().await;
    house.some_days_pass().await;
    house.until_order(bought.order, "completed").await;
    bought
}

#[tokio::test]
async fn what_ended_years_ago_leaves_and_neither_stock_nor_coupons_forget_it() {
    let house = house::open().await;
    let done = completed(&house, "archive-done").await;
    let cancelled = house.packed(&wish("archive-cancelled", "SUIT", 1)).await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, cancelled.order, ("cancel", ""), &json!({})).await.status, 202);
    house.until_refunds(cancelled.order, &["succeeded"]).await;
    house.until_count("labels where void_state = 'voided'", 1).await;
    let open = house.buy("archive-open").await;
    let refused = house.place(&wish("archive-refused", "SUIT", 2_000), "archive-refused", true).await;
    assert_eq!(refused.body["status"], "rejected", "{}", refused.body);
    house.settled().await;
    let stock = house.rows("select on_hand, reserved from stock where sku = 'SUIT'").await;
    let uses = house.rows("select code, uses from coupons where uses > 0").await;
    assert_eq!(uses.len(), 1);

    assert_eq!(archive(&house).await, 0, "nothing is old");
    years_pass(&house).await;
    let shown = format!(
        "insert into order_exceptions (id, order_id, type, severity, detail)
         values (gen_random_uuid(), '{}', 'test', 'warning', '')",
        cancelled.order.uuid()
    );
    house.execute(&shown).await.unwrap();
    assert_eq!(archive(&house).await, 2, "one order, and the wish that became none");
    assert_eq!(speak_of(&house, done.order, &done.payment).await, [""; 0]);
    assert_eq!(house.count("orders").await, 2, "what is open stays, and so does what somebody has to see to");
    assert_eq!(house.rows("select on_hand, reserved from stock where sku = 'SUIT'").await, stock);
    assert_eq!(house.rows("select code, uses from coupons where uses > 0").await, uses);
    house.audit(false).await;

    house.execute("update order_exceptions set state = 'resolved', resolved_at = now()").await.unwrap();
    assert_eq!(archive(&house).await, 1);
    assert_eq!(speak_of(&house, cancelled.order, &cancelled.payment).await, [""; 0]);
    assert_eq!(archive(&house).await, 0, "twice is once");
    assert_eq!(house.state(open.intent).await["status"], "reserved");
    house.end_with_forged().await;
}

#[tokio::test]
async fn the_database_deletes_nothing_that_is_young_or_open() {
    let house = house::open().await;
    completed(&house, "archive-young").await;
    let packed = house.packed(&wish("archive-packed", "SUIT", 70)).await;
    let mia = house.key(Role::Manager, "mia").await;
    let some = json!({ "amount": 100 });
    assert_eq!(house.ask(&mia, packed.order, ("refunds", "k"), &some).await.status, 202);
    house.until_refunds(packed.order, &["succeeded"]).await;
    house.settled().await;
    let guarded = [
        "order_events",
        "order_items",
        "coupon_uses",
        "refunds",
        "stock_movements",
        "parcel_lines",
        "orders",
    ];
    for table in guarded {
        assert!(house.count(table).await > 0, "{table} has none");
        let refused = house.execute(&format!("delete from {table}")).await.unwrap_err();
        assert!(refused.starts_with("23001"), "{table}: {refused}");
        let refused = house.execute(&format!("truncate {table} cascade")).await.unwrap_err();
        assert!(refused.starts_with("23001"), "{table}: {refused}");
    }
    years_pass(&house).await;
    let open = format!("delete from order_events where order_id = '{}'", packed.order.uuid());
    assert!(house.execute(&open).await.unwrap_err().starts_with("23001"), "it is old, and open");
    house.end().await;
}
