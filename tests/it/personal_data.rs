//! Personal data: an erased customer is found in no table, their orders keep their money; what was kept long enough is
//! emptied, and what is open is not.

use orderfleet::config::RetentionSettings;
use orderfleet::ops::customers::{self, EraseRefused, Report};
use orderfleet::store::retention::Subject;
use orderfleet::worker::retention::round;
use serde_json::json;

use crate::house::{self, House, wish};

const WHO: &str = "operator mia";

async fn erase(house: &House, customer: &str) -> Result<Report, EraseRefused> {
    customers::erase(&house.store, ("shop", customer), WHO, "they asked").await
}

/// Tables in which this text stands anywhere.
async fn found(house: &House, text: &str) -> Vec<String> {
    let tables = house.rows("select tablename from pg_tables where schemaname = 'public' order by 1").await;
    let mut found = Vec::new();
    for table in tables.iter().filter_map(|table| table["tablename"].as_str()) {
        if house.count(&format!("{table} t where t::text like '%{text}%'")).await > 0 {
            found.push(table.to_owned());
        }
    }
    found
}

/// An order on the way to its customer's door.
async fn shipped(house: &House, cart: &str) -> house::Bought {
    let mut wish = wish(cart, "SUIT", 1);
    wish["lines"][0]["attributes"] = json!({"monogram": format!("monogram of {cart}")});
    wish["metadata"] = json!({"gift": format!("gift of {cart}")});
    wish["shipping_address"]["address_line1"] = json!(format!("{cart} street 1"));
    let bought = house.buy_as(&wish).await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    bought
}

async fn delivered(house: &House, bought: &house::Bought) {
    let label = house
        .value(&format!("select tracking_code from labels where order_id = '{}'", bought.order.uuid()))
        .await;
    house.scan(label.as_str().unwrap(), "delivered").await;
    house.until_order(bought.order, "delivered").await;
    house.settled().await;
}

#[tokio::test]
async fn an_erased_customer_is_found_nowhere_and_their_order_keeps_its_money() {
    let house = house::open().await;
    let gone = shipped(&house, "gone").await;
    let stays = shipped(&house, "stays").await;
    house.settled().await;
    let refused = erase(&house, "cus-gone").await.unwrap_err().to_string();
    assert!(refused.contains("(shipped)") && refused.contains("nothing was erased"), "{refused}");
    delivered(&house, &gone).await;
    let money = "select total_minor, captured_minor, status, order_number from orders order by order_number";
    let before = house.rows(money).await;
    for text in ["gone@example.com", "gone street 1", "monogram of gone", "gift of gone", "cus-gone"] {
        assert!(!found(&house, text).await.is_empty(), "{text} stood somewhere");
    }

    let report = erase(&house, "cus-gone").await.unwrap();
    assert_eq!((report.erased.orders, report.erased.intents, report.erased.letters), (1, 1, 0));
    assert!(report.erased.mails >= 2, "{report:?}");
    for text in ["gone@example.com", "gone street 1", "monogram of gone", "gift of gone", "cus-gone"] {
        assert_eq!(found(&house, text).await, [""; 0], "{text}");
    }
    assert_eq!(house.rows(money).await, before);
    assert!(found(&house, "stays street 1").await.len() >= 2, "another customer's is as it was");

    let again = erase(&house, "cus-gone").await.unwrap();
    assert!(again.erased.is_nothing() && again.instead.is_none(), "twice is once: {again:?}");
    let told = house
        .rows("select actor, action, detail ->> 'customer' as customer from operator_actions order by id")
        .await;
    assert!(
        told.len() == 2 && told.iter().all(|row| row["actor"] == WHO && row["action"] == "customers.erase"),
        "{told:?}"
    );
    assert_eq!(told[0]["customer"].as_str(), report.instead.as_deref(), "the record does not lead back");
    // What was promised of an order may not be rewritten under the cover of an erasure.
    let other = house.execute("update order_items set quantity = 2, attributes = '{}'").await.unwrap_err();
    assert!(other.starts_with("23001"), "{other}");
    delivered(&house, &stays).await;
    house.end().await;
}

/// A wish that died took its person into its dead letter: it goes with them, and nobody replays it any more.
#[tokio::test]
async fn a_dead_letter_of_an_erased_customer_is_dropped_and_emptied() {
    let house = house::open().await;
    house
        .execute(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = 'check_violation'; end $$;
             create trigger refuse before insert on orders for each row execute function refuse()",
        )
        .await
        .unwrap();
    house.place(&wish("dead", "SUIT", 1), "key-dead", false).await;
    house.until_count("dead_letters", 1).await;
    house.settled().await;
    assert!(!found(&house, "dead@example.com").await.is_empty());
    let report = erase(&house, "cus-dead").await.unwrap();
    assert_eq!(report.erased.letters, 1, "{report:?}");
    assert_eq!(found(&house, "dead@example.com").await, [""; 0]);
    assert_eq!(house.count("dead_letters where dropped_at is not null and payload = '{}'").await, 1);
    house.end_with_dead(&["order-intent"]).await;
}

#[tokio::test]
async fn what_was_kept_long_enough_is_emptied_once_and_what_is_open_or_young_is_not() {
    let house = house::open().await;
    let bought = shipped(&house, "old").await;
    delivered(&house, &bought).await;
    house
        .execute(
            "update inbox set received_at = now() - interval '35 days';
             update communications set created_at = now() - interval '185 days';
             update order_intents set created_at = now() - interval '95 days';
             insert into inbox (provider, event_id, type, object_id, payload, state, received_at)
             values ('stripe', 'evt_open', 'x', 'x', '{\"open\": 1}', 'parked', now() - interval '35 days')",
        )
        .await
        .unwrap();
    let young = shipped(&house, "young").await;
    house.settled().await;
    let keep = RetentionSettings {
        dead_letters_days: 90,
        inbox_days: 30,
        communications_days: 180,
        intents_days: 90,
    };
    let sweep = async |subject| round(&house.store, subject, &keep).await.unwrap();
    let (events, mails) = (
        house.count("inbox where event_id <> 'evt_open' and received_at < now() - interval '1 day'").await,
        house.count("communications where created_at < now() - interval '1 day'").await,
    );
    assert!(events >= 2 && mails >= 2, "{events} events, {mails} mails");
    assert_eq!(i64::try_from(sweep(Subject::Inbox).await).unwrap(), events);
    assert_eq!(i64::try_from(sweep(Subject::Communications).await).unwrap(), mails);
    assert_eq!((sweep(Subject::Intents).await, sweep(Subject::DeadLetters).await), (1, 0));
    for subject in Subject::ALL {
        assert_eq!(sweep(subject).await, 0, "{} twice", subject.name());
    }
    assert_eq!(
        house.count("inbox where payload = '{\"open\": 1}'").await,
        1,
        "what waits keeps what it says"
    );
    assert_eq!(house.count("communications where recipient = ''").await, mails);
    assert_eq!(house.count("communications where recipient = 'young@example.com'").await, 2);
    assert_eq!(house.count("order_intents where payload <> '{}'").await, 1);
    assert_eq!(
        house.count("orders where customer ->> 'email' = 'old@example.com'").await,
        1,
        "an order keeps its person"
    );

    // Kept for ever is never looked at.
    house.execute("update inbox set received_at = now() - interval '999 days'; update sweeps set swept_until = null").await.unwrap();
    let forever = RetentionSettings { inbox_days: 0, ..keep };
    assert_eq!(round(&house.store, Subject::Inbox, &forever).await.unwrap(), 0);
    house.execute("delete from inbox where event_id = 'evt_open'").await.unwrap();
    delivered(&house, &young).await;
    house.end().await;
}
