//! What the database refuses, whoever asks: the last wall, behind every mistake of ours.

use std::collections::BTreeSet;

use orderfleet::domain::order::Status;
use orderfleet::store::{MigrateError, Store};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::house::{self, House};
use crate::shared::{Shared, servers};

/// SQL states: a check, a foreign key, a unique key, and what is append-only.
const CHECK: &str = "23514";
const FOREIGN: &str = "23503";
const UNIQUE: &str = "23505";
const FROZEN: &str = "23001";

/// The database refuses a statement with this state, and is as it was.
async fn refuses(house: &House, state: &str, sql: &str) {
    let before = house.dump().await;
    let refused = house.execute(sql).await.expect_err(sql);
    assert!(refused.starts_with(state), "{sql}: {refused}");
    assert_eq!(house.dump().await, before, "{sql}");
}

/// A house with an order on its way and one that is reserved.
async fn with_orders() -> House {
    let house = house::open().await;
    let shipped = house.buy("shipped").await;
    house.pay(&shipped).await;
    house.until_order(shipped.order, "shipped").await;
    house.buy("reserved").await;
    house.settled().await;
    house
}

#[tokio::test]
async fn the_moves_in_the_code_are_the_moves_in_the_database() {
    let house = house::open().await;
    let rows = house.rows("select from_status as f, to_status as t from legal_transitions").await;
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let in_database: BTreeSet<_> = rows.iter().map(|row| (text(row, "f"), text(row, "t"))).collect();
    let mut in_code = BTreeSet::new();
    for from in Status::ALL {
        let targets = Status::ALL.into_iter().filter(|to| from.may_become(*to));
        in_code.extend(targets.map(|to| (from.name().to_owned(), to.name().to_owned())));
    }
    let (missing, unknown): (Vec<_>, Vec<_>) =
        (in_database.difference(&in_code).collect(), in_code.difference(&in_database).collect());
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "only in the database: {missing:?}; only in the code: {unknown:?}"
    );
    let known = house.rows("select status from order_statuses").await;
    assert_eq!(known.len(), Status::ALL.len());
    house.end().await;
}

#[tokio::test]
async fn a01_an_illegal_move_and_an_edited_history_are_refused() {
    let house = with_orders().await;
    refuses(&house, FOREIGN, "update orders set status = 'delivered' where status = 'pending_payment'").await;
    refuses(&house, FOREIGN, "update orders set status = 'pending_payment' where status = 'shipped'").await;
    refuses(&house, CHECK, "update orders set status = 'exception' where status = 'shipped'").await;
    refuses(&house, CHECK, "update orders set status = 'cancelled' where status = 'pending_payment'").await;
    for table in ["order_events", "stock_movements", "order_items"] {
        refuses(&house, FROZEN, &format!("delete from {table}")).await;
        refuses(&house, FROZEN, &format!("truncate {table} cascade")).await;
    }
    refuses(&house, FROZEN, "update order_events set actor = 'nobody'").await;
    refuses(&house, FROZEN, "update stock_movements set delta_reserved = 0").await;
    refuses(&house, FROZEN, "update order_items set unit_minor = 1, total_minor = quantity").await;
    house.end().await;
}

#[tokio::test]
async fn stock_money_and_labels_can_not_be_written_wrong() {
    let house = with_orders().await;
    refuses(&house, CHECK, "update stock set reserved = on_hand + 1 where sku = 'SUIT'").await;
    refuses(&house, CHECK, "update stock set on_hand = 0 where sku = 'SUIT'").await;
    refuses(&house, CHECK, "update stock set reserved = -1 where sku = 'SUIT'").await;
    let second_payment = "insert into payments (id, order_id, attempt_no, provider, amount_minor, currency, state, captured_minor, role)
        select gen_random_uuid(), order_id, 2, provider, amount_minor, currency, 'captured', amount_minor, 'primary' from payments where role = 'primary'";
    refuses(&house, UNIQUE, second_payment).await;
    let second_label = "insert into labels (id, shipment_id, order_id, parcel_no, carrier, service, tracking_code, label_url, cost_minor, currency)
        select gen_random_uuid(), shipment_id, order_id, parcel_no, carrier, service, 'another', label_url, cost_minor, currency from labels";
    refuses(&house, UNIQUE, second_label).await;
    refuses(&house, CHECK, "update orders set total_minor = total_minor - 1 where status = 'shipped'").await;
    refuses(&house, CHECK, "update orders set refunded_minor = captured_minor + 1 where status = 'shipped'")
        .await;
    for to in ["active", "released", "expired"] {
        refuses(&house, CHECK, &format!("update reservations set state = '{to}' where state = 'committed'"))
            .await;
    }
    let second_cart = "insert into orders (id, order_number, intent_id, tenant, cart_id, customer_id, customer, shipping_address, shipping_method,
            payment_provider, currency, subtotal_minor, shipping_minor, tax_minor, total_minor, status, priority, score, actor, cause, payable_until)
        select gen_random_uuid(), 'second', gen_random_uuid(), tenant, cart_id, customer_id, customer, shipping_address, shipping_method,
            payment_provider, currency, subtotal_minor, shipping_minor, tax_minor, total_minor, status, priority, score, actor, cause, payable_until
          from orders where status = 'pending_payment'";
    refuses(&house, UNIQUE, second_cart).await;
    house.end().await;
}

#[tokio::test]
async fn migrations_run_once_and_a_newer_schema_is_left_alone() {
    let settings = servers().bare_database(&Shared::name()).await;
    let store = Store::new(&settings).unwrap();
    assert!(store.pending_migrations().await.unwrap() > 0);
    let newest = store.migrate().await.unwrap();
    assert_eq!(store.pending_migrations().await.unwrap(), 0);
    assert_eq!(store.migrate().await.unwrap(), newest, "twice is once");

    let mut connection = PgConnection::connect(settings.url.expose_secret()).await.unwrap();
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'of tomorrow', true, 'x', 0)";
    sqlx::raw_sql(AssertSqlSafe(newer)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let refused = store.migrate().await.unwrap_err();
    assert!(matches!(refused, MigrateError::Newer(9999, here) if here == newest), "{refused}");
    store.close().await;
}
