//! Personal data: an erased customer is found in no table, their orders keep their money; what was kept long enough is
//! emptied, and what is open is not.

use orderfleet::config::RetentionSettings;
use orderfleet::ops::customers::{self, EraseRefused, Report};
use orderfleet::ops::dead_letters as letters;
use orderfleet::store::dead_letters::Selection;
use orderfleet::store::retention::Subject;
use orderfleet::worker::retention::round;
use serde_json::json;

use crate::house::{self, House, signed, signed_by_easypost, wish};

const WHO: &str = "operator mia";
/// As long as the defaults say.
const KEEP: RetentionSettings = RetentionSettings {
    dead_letters_days: 90,
    actions_days: 1_095,
    inbox_days: 30,
    communications_days: 180,
    intents_days: 90,
    orders_days: 3_650,
};
/// Refuses what events tell, as a constraint would that nobody thought of.
const REFUSE: &str = "
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = 'check_violation'; end $$;
    create trigger refuse before insert on applied_signals for each row execute function refuse();
    create trigger refuse before insert on tracking_events for each row execute function refuse()";
const MEND: &str = "drop trigger refuse on applied_signals; drop trigger refuse on tracking_events";

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
    let sweep = async |subject| round(&house.store, subject, &KEEP).await.unwrap();
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
    let forever = RetentionSettings { inbox_days: 0, ..KEEP };
    assert_eq!(round(&house.store, Subject::Inbox, &forever).await.unwrap(), 0);
    house.execute("delete from inbox where event_id = 'evt_open'").await.unwrap();
    delivered(&house, &young).await;
    house.end().await;
}

/// An event that died is kept whole while somebody may replay it, and no longer than a wish is.
#[tokio::test]
async fn an_event_that_died_is_replayed_whole_and_emptied_when_it_was_kept_long_enough() {
    let house = house::open().await;
    house.execute(REFUSE).await.unwrap();
    house.post.keep();
    let bought = house.buy("event").await;
    house.pay(&bought).await;
    let mut event = house.letter("payment_intent.succeeded", &bought.payment).await.event();
    event["data"]["object"]["shipping"] = json!({"name": "Name of event"});
    house.deliver(&signed(&event)).await;
    house.until_count("dead_letters where kind = 'payment-confirmation'", 1).await;
    let old = "update dead_letters set died_at = now() - interval '95 days', replayed_at = replayed_at - interval '95 days'";
    house.execute(old).await.unwrap();
    let sweep = async || round(&house.store, Subject::DeadLetters, &KEEP).await.unwrap();
    assert_eq!(sweep().await, 0, "what is open is needed");

    house.execute(MEND).await.unwrap();
    house.post.pass_on();
    assert_eq!(letters::replay(&house.store, &Selection::default(), WHO, |_| ()).await.unwrap().replayed, 1);
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!(sweep().await, 0, "it was replayed just now");
    assert_eq!(found(&house, "Name of event").await, ["dead_letters"]);
    house.execute(old).await.unwrap();
    assert_eq!((sweep().await, sweep().await), (1, 0), "once");
    assert_eq!(found(&house, "Name of event").await, [""; 0]);
    assert_eq!(house.count("attempts where detail <> ''").await, 0, "failures quote what providers say");
    let left = house.value("select payload from dead_letters").await;
    assert_eq!(
        (&left["event_id"], &left["event"]),
        (&event["id"], &json!({})),
        "the audit compares its name"
    );
    house.end_with_dead(&["payment-confirmation"]).await;
}

/// What died about an order may be money: somebody decides about it first, and then it goes with its person.
#[tokio::test]
async fn an_erased_customer_takes_along_what_events_of_their_orders_said() {
    let house = house::open().await;
    let bought = shipped(&house, "said").await;
    delivered(&house, &bought).await;
    let code = house.value("select tracking_code from labels").await;
    house.execute(REFUSE).await.unwrap();
    let scan = json!({"id": "evt_scan", "description": "tracker.updated", "result": {
        "id": "trk_said", "tracking_code": code, "status": "delivered", "signed_by": "Neighbour of said"}});
    house.deliver(&signed_by_easypost(&scan)).await;
    let refund = json!({"id": "evt_refund", "type": "refund.updated", "data": {"object": {
        "id": "re_said", "object": "refund", "payment_intent": bought.payment, "reason": "Neighbour of said"}}});
    house.deliver(&signed(&refund)).await;
    house.until_count("dead_letters", 2).await;
    house.settled().await;
    let about = format!("dead_letters where order_id = '{}'", bought.order.uuid());
    assert_eq!(house.count(&about).await, 2, "only the events say whose they are");
    let refused = erase(&house, "cus-said").await.unwrap_err().to_string();
    assert!(
        refused.contains("a dead letter: tracking") && refused.contains("payment-confirmation"),
        "{refused}"
    );
    assert_eq!(found(&house, "Neighbour of said").await, ["dead_letters"]);

    letters::drop_all(&house.store, &Selection::default(), WHO, "seen to by hand").await.unwrap();
    // As where the event was there before its payment.
    house.execute("update dead_letters set order_id = null where kind = 'payment-confirmation';
                   update dead_letters set payload = jsonb_set(payload, '{object_id}', to_jsonb(p.provider_payment_id)) from payments p
                    where kind = 'payment-confirmation'").await.unwrap();
    let report = erase(&house, "cus-said").await.unwrap();
    assert_eq!((report.erased.orders, report.erased.letters), (1, 2), "{report:?}");
    assert_eq!(found(&house, "Neighbour of said").await, [""; 0]);
    house.execute(MEND).await.unwrap();
    house.end_with_dead(&["payment-confirmation", "tracking"]).await;
}
