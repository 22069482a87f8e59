//! Mails: once each whatever the mail server does, none to who bounced or complained, and in the customer's language.

use orderfleet::auth::Role;
use orderfleet::config::{MailProviderSettings, Settings, Sources, load};
use orderfleet::domain::mail_news::MailReading;
use orderfleet::domain::notice::{Notice, Once};
use orderfleet::domain::order::Status;
use orderfleet::domain::webhook::WebhookPayload;
use orderfleet::ids::OrderId;
use orderfleet::job::NewJob;
use orderfleet::jobs::email::Email;
use orderfleet::jobs::letter::{self, Preview};
use orderfleet::ops::dead_letters as letters;
use orderfleet::roles;
use orderfleet::store::communications::{self, Telling};
use orderfleet::store::dead_letters::Selection;
use orderfleet::store::jobs;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::house::{self, House, wish};

/// How the mail service `post` signs.
const SECRET: &str = "of a mail service";

fn post() -> MailProviderSettings {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[mail_providers.post]\nsignature.secrets = [\"{SECRET}\"]\nevent.id = \"/id\"\nevent.list = \"/events\"\n")
        .unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    load(&sources).unwrap().mail_providers.remove("post").unwrap()
}

/// The mail service `post` may tell what became of mails.
pub(crate) fn with_post(settings: &mut Settings) {
    settings.mail_providers.insert("post".to_owned(), post());
}

/// The mail service tells that a stranger's mail came back; what the intake made of it.
pub(crate) async fn told_of_a_stranger(house: &House, event: &str) -> WebhookPayload {
    let message = json!({"id": event, "events": [{"event": "bounce", "recipient": "stranger@example.com"}]});
    house.post_says(SECRET, &message).await;
    WebhookPayload::mail("post", &message, &MailReading::new(&post().event)).unwrap()
}

/// An order that is paid and shipped, with its two mails sent, or not.
async fn shipped(house: &House, cart: &str) -> OrderId {
    let bought = house.buy(cart).await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    bought.order
}

async fn mails_to(house: &House, cart: &str) -> usize {
    let address = format!("{cart}@example.com");
    house.truth("mails").await.iter().filter(|mail| mail["to"][0] == address.as_str()).count()
}

async fn preview(house: &House, order: OrderId, notice: Notice, locale: Option<&str>) -> Preview {
    let wording = roles::wording(&house.settings).unwrap();
    let mut tx = house.store.begin().await.unwrap();
    let words = (&house.settings.shop, &wording);
    let seen = letter::preview(&mut tx, words, (order, notice), locale).await.unwrap().unwrap();
    tx.rollback().await.unwrap();
    seen
}

#[tokio::test]
async fn e02_orders_go_on_while_the_mail_server_is_away_and_then_each_mail_goes_out_once() {
    let house = house::open().await;
    house.faults(json!([{"at": "smtp.connect", "what": {"fail": {"status": 421}}}])).await;
    for cart in ["e02-a", "e02-b"] {
        let bought = house.buy(cart).await;
        house.pay(&bought).await;
        house.until_order(bought.order, "shipped").await;
    }
    assert_eq!(house.truth("mails").await.len(), 0);
    assert_eq!(house.count("dead_letters").await, 0);
    house.mend().await;
    house.until_count("communications where state = 'sent'", 4).await;
    house.settled().await;
    assert_eq!((mails_to(&house, "e02-a").await, mails_to(&house, "e02-b").await), (2, 2));
    house.end().await;
}

#[tokio::test]
async fn e03_of_three_recipients_only_the_one_that_was_turned_away_is_tried_again() {
    let house = house::open().await;
    house.fault("smtp.rcpt", json!({"fail": {"status": 450}})).await;
    for cart in ["e03-a", "e03-b", "e03-c"] {
        shipped(&house, cart).await;
        assert_eq!(mails_to(&house, cart).await, 2, "{cart}");
    }
    assert_eq!(house.value("select sum(possible_duplicates) from communications").await, json!(0));
    house.end().await;
}

#[tokio::test]
async fn e01_a_line_that_broke_after_the_text_is_one_possible_duplicate_however_often_it_is_tried() {
    let house = house::open().await;
    let order = shipped(&house, "e01").await;
    // The first try comes as far as its text, the next two are turned away before it.
    let falls = |seed: &u64| {
        let mut dice = StdRng::seed_from_u64(*seed);
        [false, true, true].iter().all(|hit| dice.random_bool(0.5) == *hit)
    };
    let seed = (0..u64::from(u16::MAX)).find(falls).unwrap();
    house
        .faults(json!([
            {"at": "smtp.data", "what": "drop_after", "next": 1},
            {"at": "smtp.rcpt", "what": {"fail": {"status": 450}}, "rate": 0.5, "seed": seed, "next": 2},
        ]))
        .await;
    let mut tx = house.store.begin().await.unwrap();
    let key = Once::Order(order.uuid()).key();
    let telling = Telling { order, notice: Notice::Cancellation, key, facts: json!({}) };
    let told = communications::notify(&mut tx, vec![telling]).await.unwrap();
    let mails = told.into_iter().map(|(_, communication)| NewJob::of(&Email { communication }, "test"));
    jobs::insert(&mut tx, mails.collect()).await.unwrap();
    tx.commit().await.unwrap();
    house.until_count("communications where state = 'sent'", 3).await;
    assert_eq!(mails_to(&house, "e01").await, 4, "two of the order, two copies of this one");
    assert_eq!(house.value("select sum(possible_duplicates) from communications").await, json!(1));
    house.end().await;
}

#[tokio::test]
async fn e04_a_transaction_that_rolls_back_leaves_neither_mail_nor_job() {
    let house = house::open().await;
    let bought = house.buy("e04").await;
    let mut tx = house.store.begin().await.unwrap();
    let order = bought.order;
    let key = Once::Order(order.uuid()).key();
    let telling = Telling { order, notice: Notice::Cancellation, key, facts: json!({}) };
    let told = communications::notify(&mut tx, vec![telling]).await.unwrap();
    let mails = told.into_iter().map(|(_, communication)| NewJob::of(&Email { communication }, "test"));
    assert_eq!(jobs::insert(&mut tx, mails.collect()).await.unwrap(), 1);
    tx.rollback().await.unwrap();
    house.settled().await;
    assert_eq!(house.count("communications").await + house.count("jobs where kind = 'email'").await, 0);
    assert_eq!(house.truth("mails").await.len(), 0);
    house.end().await;
}

#[tokio::test]
async fn e05_a_mail_that_failed_for_good_is_no_sent_one_is_seen_and_is_sent_when_it_is_replayed() {
    let house = house::open().await;
    house.fault("smtp.rcpt", json!({"fail": {"status": 550}})).await;
    shipped(&house, "e05").await;
    let failed = house.rows("select state, sent_at from communications where state = 'failed'").await;
    assert_eq!(failed, [json!({"state": "failed", "sent_at": null})]);
    let selection = Selection { kind: Some("email".to_owned()), ..Selection::default() };
    assert_eq!(house.store.dead_letters(&selection, None, 10).await.unwrap().len(), 1);
    assert_eq!(letters::replay(&house.store, &selection, "mia", |_| ()).await.unwrap().replayed, 1);
    house.until_count("communications where state = 'sent'", 2).await;
    assert_eq!(mails_to(&house, "e05").await, 2);
    house.end_with_dead(&["email"]).await;
}

/// What came back, and whoever complained, is marked on the mail, and its address gets no more: no dead letter, and the
/// order goes on. Told twenty times it is told once.
#[tokio::test]
async fn an_address_that_bounced_or_complained_gets_no_more_mail() {
    let house = house::plan().set(with_post).open().await;
    let order = shipped(&house, "gone").await;
    let sent = house.value("select message_id from communications where kind = 'order_confirmation'").await;
    let later =
        house.value("select message_id from communications where kind = 'shipping_notification'").await;
    let events = json!([
        {"event": "delivered", "message_id": format!("<{}>", sent.as_str().unwrap())},
        {"event": "bounce", "message_id": later},
        {"event": "complaint", "recipient": "Loud@Example.com"},
        {"event": "deferred", "recipient": "slow@example.com"},
        {"event": "opened", "recipient": "fond@example.com"},
    ]);
    for _ in 0..20 {
        house.post_says(SECRET, &json!({"id": "told-1", "events": events})).await;
    }
    house.settled().await;
    let outcomes = house.rows("select outcome from communications order by kind").await;
    assert_eq!(outcomes, [json!({"outcome": "delivered"}), json!({"outcome": "bounced"})]);
    assert_eq!(house.count("suppressions").await, 2);
    assert_eq!(house.count("inbox where provider = 'mail:post' and state = 'applied'").await, 1);
    // A graver word stays.
    let late = json!({"id": "told-2", "events": [{"event": "delivered", "message_id": later}]});
    house.post_says(SECRET, &late).await;
    house.settled().await;
    assert_eq!(house.count("communications where outcome = 'bounced'").await, 1);

    for cart in ["gone", "loud", "slow"] {
        let mut again = wish(&format!("{cart}-2"), "SUIT", 1);
        again["customer"]["email"] = json!(format!("{cart}@example.com"));
        let bought = house.buy_as(&again).await;
        house.pay(&bought).await;
        house.until_order(bought.order, "shipped").await;
    }
    house.settled().await;
    assert_eq!(mails_to(&house, "gone").await, 2, "those before the bounce");
    assert_eq!((mails_to(&house, "loud").await, mails_to(&house, "slow").await), (0, 2));
    let kept = "communications where state = 'suppressed' and outcome = 'suppressed' and sent_at is null";
    assert_eq!(house.count(kept).await, 4);
    assert_eq!(house.count("dead_letters").await, 0);
    assert_ne!(
        house.value(&format!("select status from orders where id = '{}'", order.uuid())).await,
        "exception"
    );
    assert!(!house.dump().await.get("inbox").is_some_and(|rows| rows.to_string().contains("xample.com")));
    house.end().await;
}

#[tokio::test]
async fn a_mail_is_in_its_customer_s_language_with_its_sums_and_its_links() {
    let house = house::open().await;
    let file = "code,percent\nten,10\n";
    house.store.import_coupons(&orderfleet::domain::coupon::read(file).unwrap()).await.unwrap();
    let mut nepali = wish("ne", "SUIT", 1);
    nepali["customer"]["locale"] = json!("ne-NP");
    nepali["discount_code"] = json!("ten");
    let bought = house.buy_as(&nepali).await;
    let before = preview(&house, bought.order, Notice::OrderConfirmation, None).await;
    assert!(!before.is_told && before.language == "ne", "{}", before.mail.text);
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    for n in 0..house.truth("mails").await.len() {
        let raw = house.raw_mail(n).await;
        assert!(raw.contains("multipart/alternative") && raw.contains("text/html"), "{raw}");
    }
    let told = preview(&house, bought.order, Notice::OrderConfirmation, None).await;
    assert!(told.is_told && told.mail.text.contains("छुट: USD -"), "{}", told.mail.text);
    assert!(told.mail.html.unwrap().contains("lang=\"ne\""));
    let english = preview(&house, bought.order, Notice::ShippingNotification, Some("en")).await.mail;
    assert!(english.text.contains("Follow it here: https://tools.usps.com/go/"), "{}", english.text);
    for notice in Notice::ALL {
        for locale in ["en", "ne", "am"] {
            assert!(
                !preview(&house, bought.order, *notice, Some(locale))
                    .await
                    .mail
                    .written()
                    .unwrap()
                    .is_empty()
            );
        }
    }
    house.end().await;
}

/// Every kind is told where its shop wants it, once.
#[tokio::test]
async fn an_order_s_way_is_told_kind_by_kind_and_each_once() {
    let all = ["order_received", "payment_confirmation", "processing_update", "satisfaction_survey"];
    let house = house::plan()
        .set(|settings| {
            settings.orders.more_mails = all.map(str::to_owned).into();
            settings.orders.auto_fulfil = false;
        })
        .open()
        .await;
    let bought = house.buy("told").await;
    house.settled().await;
    for card in 0..4 {
        assert_eq!(house.pay_with(&bought, "pm_card_visa_chargeDeclined").await, 402, "{card}");
        house.settled().await;
    }
    house.pay(&bought).await;
    house.until_order(bought.order, "payment_confirmed").await;
    house.settled().await;
    let boss = house.key(Role::Manager, "boss").await;
    let version = house.value("select version from orders").await.as_i64().unwrap();
    let to = Status::Processing.name();
    assert_eq!(house.put_status(&boss, bought.order, Some(version), to).await.status, 200);
    house.settled().await;
    let told = house.rows("select kind, count(*) as n from communications group by kind order by kind").await;
    let count = |kind: &str, n: i64| json!({"kind": kind, "n": n});
    assert_eq!(
        told,
        [
            count("order_confirmation", 1),
            count("order_received", 1),
            // Of four declined cards the first two are told.
            count("payment_confirmation", 1),
            count("payment_failed", 2),
            count("processing_update", 1),
        ]
    );
    let expected: Vec<Value> = house.rows("select state from communications where state <> 'sent'").await;
    assert_eq!(expected, [Value::Null; 0]);
    house.end().await;
}

/// A letter by hand goes to the order's customer, once for each name that it was given.
#[tokio::test]
async fn staff_writes_to_a_customer_and_the_same_letter_twice_is_one() {
    let house = house::open().await;
    let order = shipped(&house, "written").await;
    let before = mails_to(&house, "written").await;
    let (boss, pia) = (house.key(Role::Manager, "boss").await, house.key(Role::Processor, "pia").await);
    let letter = json!({"subject": "The trousers of your suit", "message": "Dear A.,\n\nwith cuffs?"});
    let write = async |who: &str, key: &str, body: &Value| house.ask(who, order, ("emails", key), body).await;
    assert_eq!(write(&pia, "cuffs", &letter).await.status, 403);
    let (first, second) = tokio::join!(write(&boss, "cuffs", &letter), write(&boss, "cuffs", &letter));
    assert_eq!((first.status, second.status), (202, 202), "{:?} {:?}", first.body, second.body);
    assert_eq!(first.body, second.body);
    assert!(first.is_replay != second.is_replay, "one of them was first");
    let other = write(&boss, "cuffs", &json!({"subject": "No", "message": "No"})).await;
    assert_eq!((other.status, &other.body["code"]), (422, &json!("idempotency_key_reused")));
    let faulty = write(&boss, "more", &json!({"subject": "a\nBcc: all", "text": "?"})).await;
    assert_eq!((faulty.status, faulty.body["errors"].as_array().map(Vec::len)), (422, Some(3)));
    house.settled().await;
    assert_eq!(mails_to(&house, "written").await, before + 1);
    let raw = house.raw_mail(house.truth("mails").await.len() - 1).await;
    assert!(raw.contains("Subject: The trousers of your suit") && raw.contains("with cuffs?"), "{raw}");
    let noted = house.rows("select action, detail::text from operator_actions").await;
    assert!(
        noted.len() == 1 && !noted[0].to_string().contains("cuffs?"),
        "the text is the customer's: {noted:?}"
    );
    house.end().await;
}
