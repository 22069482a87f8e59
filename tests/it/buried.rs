//! Jobs that are given up: each kind leaves its dead letter and tells whom it concerns, and its lane keeps moving.

use std::time::Duration;

use orderfleet::auth::Role;
use orderfleet::ids::PaymentId;
use orderfleet::job::{Lane, NewJob};
use orderfleet::jobs::Kind;
use orderfleet::jobs::payment_cancel::PaymentCancel;
use orderfleet::store::jobs;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::house::{self, Bought, House, Letter, signed, signed_by_easypost, wish};
use crate::mails;

/// What the providers answer to what they will never do.
const NEVER: u16 = 400;
/// Refuses orders of one cart, as a constraint would that nobody thought of.
const REFUSE: &str = "
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = 'check_violation'; end $$;
    create trigger refuse before insert on orders for each row when (new.cart_id = 'refused') execute function refuse()";

/// After every kind was given up once, each for a reason of its own, an order still goes its whole way.
#[tokio::test]
async fn every_kind_that_is_given_up_is_seen_and_its_lane_goes_on() {
    let house = house::plan().set(mails::with_post).open().await;
    house.execute(REFUSE).await.unwrap();
    for kind in Kind::ALL {
        give_up(&house, *kind).await;
        house.settled().await;
        let last = house.rows("select kind from dead_letters order by died_at desc limit 1").await;
        assert_eq!(last, [json!({"kind": kind.name()})]);
    }
    let bought = house.buy("after-all").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    house.end_with_dead(&kinds).await;
}

/// Makes one job of this kind fail for good, and looks at whom that is told.
async fn give_up(house: &House, kind: Kind) {
    let never = |at| house.fault(at, json!({"fail": {"status": NEVER}}));
    match kind {
        Kind::OrderIntent => {
            let answer = house.place(&wish("refused", "SUIT", 1), "refused", true).await.body;
            assert_eq!(
                (&answer["status"], &answer["success"]),
                (&json!("failed"), &json!(false)),
                "{answer}"
            );
            assert!(answer["details"].to_string().contains("retryable"), "{answer}");
        }
        Kind::PaymentOpen => {
            never("stripe.create").await;
            let answer = house.place(&wish("not-opened", "SUIT", 1), "not-opened", false).await.body;
            house.until(answer["intent_id"].as_str().unwrap().parse().unwrap(), "reserved").await;
            until_open(house, "payment_not_opened").await;
        }
        Kind::PaymentCancel => {
            let bought = house.buy("not-cancelled").await;
            never("stripe.cancel").await;
            cancel(house, &bought).await;
            until_open(house, "payment_not_cancelled").await;
        }
        Kind::Refund => give_up_a_refund(house).await,
        Kind::PaymentStatus => not_looked_at(house).await,
        Kind::EventSweep => give_up_a_window(house).await,
        Kind::ParcelLook => give_up_a_look(house).await,
        Kind::RefundSync => {
            let bought = house.buy("refund-not-seen").await;
            house.pay(&bought).await;
            house.until_order(bought.order, "shipped").await;
            never("stripe.refund").await;
            let told = json!({"id": "evt_refund", "type": "charge.refunded", "data": {"object": {
                "id": "ch_1", "object": "charge", "payment_intent": bought.payment}}});
            house.deliver(&signed(&told)).await;
            until_open(house, "refunds_not_seen").await;
        }
        Kind::PaymentConfirmation => {
            let bought = house.buy("not-looked-up").await;
            never("stripe.retrieve").await;
            let thin = json!({"id": "evt_thin", "object": "v2.core.event", "type": "v1.payment_intent.succeeded",
                              "related_object": {"id": bought.payment, "type": "payment_intent"}});
            house.deliver(&signed(&thin)).await;
            until_failed(house, "evt_thin").await;
        }
        Kind::PaymentSync => {
            let bought = house.buy("not-captured").await;
            never("stripe.capture").await;
            house.becomes(&bought.payment, "authorised").await;
            until_open(house, "payment_not_captured").await;
        }
        Kind::ReservationExpiry => not_asked(house).await,
        Kind::OrderLapse => not_lapsed(house).await,
        Kind::OrderCompletion => not_completed(house).await,
        Kind::ShippingLabel => not_labelled(house).await,
        Kind::LabelVoid => give_up_a_void(house).await,
        Kind::Tracking => {
            let senseless =
                json!({"id": "evt_senseless", "description": "tracker.updated", "result": {"id": "trk_1"}});
            house.deliver(&signed_by_easypost(&senseless)).await;
            until_failed(house, "evt_senseless").await;
        }
        Kind::Email => {
            house.fault("smtp.rcpt", json!({"fail": {"status": 550}})).await;
            let bought = house.buy("not-told").await;
            house.pay(&bought).await;
            house.until_order(bought.order, "shipped").await;
            house.settled().await;
            assert_eq!(house.count("communications where state = 'failed'").await, 1);
        }
        Kind::MailTold => give_up_mail_news(house).await,
    }
}

/// A window of events whose list is never told stays open: the next sweep goes on with it.
async fn give_up_a_window(house: &House) {
    house.fault("stripe.events", json!({"fail": {"status": NEVER}})).await;
    house.execute("update event_windows set compared_to = now() - interval '1 hour'").await.unwrap();
    house.sweep().await;
    house.until_count("dead_letters where kind = 'event-sweep'", 1).await;
    house.sweep().await;
    house.until_count("event_windows where compares_to is null", 1).await;
}

/// A silent parcel that the carrier knows nothing of.
async fn give_up_a_look(house: &House) {
    house.fault("easypost.tracker", json!({"fail": {"status": NEVER}})).await;
    house.silence().await;
    house.sweep().await;
    house.until_count("dead_letters where kind = 'parcel-look'", 1).await;
}

/// A mail service's word that can not be written.
async fn give_up_mail_news(house: &House) {
    let refuse = "create trigger refuse before insert on suppressions for each row execute function refuse()";
    house.execute(refuse).await.unwrap();
    mails::told_of_a_stranger(house, "told-for-good").await;
    until_failed(house, "told-for-good").await;
    house.execute("drop trigger refuse on suppressions").await.unwrap();
}

/// A payment of a provider that was taken out of the settings meanwhile.
async fn not_looked_at(house: &House) {
    let bought = house.buy("not-looked-at").await;
    let of = format!("payments where provider_payment_id = '{}'", bought.payment);
    let id = house.value(&format!("select id from {of}")).await;
    let payment = PaymentId::from(id.as_str().unwrap().parse::<Uuid>().unwrap());
    house.execute(&format!("update {}", of.replace("where", "set provider = 'gone' where"))).await.unwrap();
    let row = format!(
        "insert into jobs (id, kind, lane, band, payload, run_at, caused_by) values (gen_random_uuid(),
         'payment-status', 'payments-in', 2, '{}', now(), 'test')",
        json!({"order": bought.order, "payment": payment, "look": null})
    );
    house.execute(&row).await.unwrap();
    until(house, "dead_letters where kind = 'payment-status'").await;
    house.execute(&format!("update {}", of.replace("where", "set provider = 'stripe' where"))).await.unwrap();
}

/// An unpaid order that the database does not let go.
async fn not_lapsed(house: &House) {
    let stay = "create trigger stay before update on orders for each row
                when (new.status = 'cancelled' and new.cart_id = 'not-lapsed') execute function refuse()";
    house.execute(stay).await.unwrap();
    let bought = house.buy("not-lapsed").await;
    house.end_hold(bought.order).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    house.end_payable(bought.order).await;
    until_open(house, "order_not_lapsed").await;
}

/// Its order is set aside, and its money is safe.
async fn not_labelled(house: &House) {
    house.fault("easypost.create", json!({"fail": {"status": NEVER}})).await;
    let bought = house.buy("not-labelled").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "exception").await;
    until_open(house, "label_not_bought").await;
    assert_eq!(house.state(bought.intent).await["status"], "paid", "its money is safe");
}

/// It stays delivered, and nobody is owed anything.
async fn not_completed(house: &House) {
    let stay = "create trigger stay_delivered before update on orders for each row
                when (new.status = 'completed' and new.cart_id = 'not-completed') execute function refuse()";
    house.execute(stay).await.unwrap();
    let bought = house.buy("not-completed").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    let code = format!("select tracking_code from labels where order_id = '{}'", bought.order.uuid());
    house.scan(house.value(&code).await.as_str().unwrap(), "delivered").await;
    house.until_order(bought.order, "delivered").await;
    house.some_days_pass().await;
    house.until_count("dead_letters where kind = 'order-completion'", 1).await;
    assert_eq!(house.timeline(bought.order).await.status, "delivered");
}

/// A hold whose payment the provider will not tell of.
async fn not_asked(house: &House) {
    let bought = house.buy("not-asked").await;
    house.fault("stripe.retrieve", json!({"fail": {"status": NEVER}})).await;
    let order = bought.order.uuid();
    let due = format!("update reservations set expires_at = clock_timestamp() where order_id = '{order}';
                       update jobs set run_at = now(), relayed_at = null where kind = 'reservation-expiry' and payload ->> 'order' = '{}'", bought.order);
    house.execute(&due).await.unwrap();
    house.until(bought.intent, "expired").await;
    until_open(house, "expired_unasked").await;
}

/// A surplus payment that the provider will not give back: the money is ours again, and shown.
async fn give_up_a_refund(house: &House) {
    let bought = house.buy("not-given-back").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.fault("stripe.refund", json!({"fail": {"status": NEVER}})).await;
    let second = house.second_payment(&bought).await;
    house.pay(&second).await;
    house.until_refunds(bought.order, &["failed"]).await;
    until_open(house, "refund_failed").await;
    assert_eq!(house.value("select sum(refund_reserved_minor) from payments").await, 0);
}

/// A cancelled order's label that the provider will not take back.
async fn give_up_a_void(house: &House) {
    let bought = house.buy("not-voided").await;
    house.post.keep();
    house.pay(&bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.deliver(&letter).await;
    house.until_order(bought.order, "fulfilled").await;
    house.post.pass_on();
    house.fault("easypost.refund", json!({"fail": {"status": NEVER}})).await;
    let mia = house.key(Role::Manager, "mia").await;
    let cancelled = house.ask(&mia, bought.order, ("cancel", ""), &json!({})).await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    until_open(house, "label_not_voided").await;
}

async fn cancel(house: &House, bought: &Bought) {
    let id = house
        .value(&format!("select id from payments where provider_payment_id = '{}'", bought.payment))
        .await;
    let payment = PaymentId::from(id.as_str().unwrap().parse::<Uuid>().unwrap());
    let mut tx = house.store.begin().await.unwrap();
    jobs::insert(&mut tx, vec![NewJob::of(&PaymentCancel { payment }, "test")]).await.unwrap();
    tx.commit().await.unwrap();
}

/// A hold of forty minutes must not be an old job when it ends.
#[tokio::test]
async fn a_job_grows_old_from_its_first_deadline_on() {
    const MINUTE: Duration = Duration::from_mins(1);
    let house = house::plan().workers(0).open().await;
    let payload = PaymentCancel { payment: PaymentId::new() };
    let job = NewJob::of(&payload, "test").after(MINUTE * 40);
    let id = job.id;
    let mut tx = house.store.begin().await.unwrap();
    jobs::insert(&mut tx, vec![job]).await.unwrap();
    tx.commit().await.unwrap();
    for (passed, age) in [(30, 0), (11, 1), (9, 10)] {
        let shift = format!("interval '{passed} min'");
        let pass = format!(
            "created_at = created_at - {shift}, run_at = run_at - {shift}, due_at = due_at - {shift}"
        );
        house.execute(&format!("update jobs set {pass}")).await.unwrap();
        let mut tx = house.store.begin().await.unwrap();
        let locked = jobs::lock(&mut tx, &[id]).await.unwrap()[&id];
        assert_eq!(locked.age.as_secs() / 60, age, "{passed} more minutes later");
        // Put off, it is as old as before.
        jobs::postpone(&mut tx, id, MINUTE, 0).await.unwrap();
        tx.commit().await.unwrap();
    }
    house.execute("delete from jobs").await.unwrap();
    house.end().await;
}

/// Waits until an exception of this type is open.
async fn until_open(house: &House, kind: &str) {
    until(house, &format!("order_exceptions where type = '{kind}' and state = 'open'")).await;
}

/// Waits until the inbox says that an event was given up.
async fn until_failed(house: &House, event: &str) {
    until(house, &format!("inbox where event_id = '{event}' and state = 'failed'")).await;
}

async fn until(house: &House, row: &str) {
    for _ in 0..400 {
        if house.count(row).await == 1 {
            return;
        }
        tokio::time::sleep(house::LOOK).await;
    }
    panic!("no {row}; {:#?}", house.rows("select * from dead_letters").await);
}

/// Inserts a job of each kind with these fields, as JSON.
async fn one_of_each(house: &House, fields: &str) {
    for kind in Kind::ALL {
        let row = format!(
            "insert into jobs (id, kind, lane, band, payload, run_at, caused_by)
             values (gen_random_uuid(), '{}', '{}', 2, '{fields}', now(), 'test')",
            kind.name(),
            kind.lane()
        );
        house.execute(&row).await.unwrap();
    }
}

/// Fields that no version can read wait in Redis until a worker has moved them where a person finds them.
#[tokio::test]
async fn a_payload_that_nobody_can_read_ends_as_a_dead_letter_of_its_kind() {
    let house = house::plan().workers(0).open().await;
    one_of_each(&house, "\"tomorrow\"").await;
    house.work();
    let all = Kind::ALL.len();
    until(&house, &format!("(select from dead_letters having count(*) = {all}) all_of_them")).await;
    assert_eq!(
        house.count("dead_letters where code = 'unreadable_payload'").await,
        i64::try_from(all).unwrap()
    );
    assert_eq!(house.count("jobs").await, 0);
    let bought = house.buy("after-all").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    house.end_with_dead(&kinds).await;
}

/// Jobs that wait for a worker that knows them.
async fn parked(house: &House) -> u64 {
    let mut parked = 0;
    for lane in Lane::ALL {
        parked += house.queue.depth(lane).await.unwrap().parked;
    }
    parked
}

/// A field more than this version knows may change what the job means: it is a newer worker's.
#[tokio::test]
async fn what_a_newer_version_wrote_waits_for_one_that_reads_it_and_is_never_given_up() {
    let house = house::plan().workers(0).open().await;
    let fields = r#"{"order": "ord_01jd0000000000000000000000", "parcel": 1, "epoch": 1, "wrapped": true}"#;
    one_of_each(&house, fields).await;
    house.work();
    let all = u64::try_from(Kind::ALL.len()).unwrap();
    for _ in 0..400 {
        if parked(&house).await == all {
            break;
        }
        tokio::time::sleep(house::LOOK).await;
    }
    // Some looks later they are parked still: nobody takes back what it can not read.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((parked(&house).await, house.count("dead_letters").await), (all, 0));
    let bought = house.buy("beside").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.execute("delete from jobs where caused_by = 'test'").await.unwrap();
    house.forget().await;
    house.end().await;
}

/// JSON may hold a NUL character and Postgres may not: such a wish must not hang about for ever.
#[tokio::test]
async fn n08_a_wish_with_a_nul_character_is_refused_at_the_door() {
    let house = house::open().await;
    let mut places: Vec<Value> = Vec::new();
    for (field, value) in [
        ("metadata", json!({"note": "a\u{0}b"})),
        ("metadata", json!({"a\u{0}b": 1})),
        ("cart_id", json!("a\u{0}b")),
    ] {
        let mut body = wish("nul", "SUIT", 1);
        body[field] = value;
        places.push(body);
    }
    let mut engraved = wish("nul", "SUIT", 1);
    engraved["lines"][0]["attributes"] = json!({"engraving": {"text": ["\u{0}"]}});
    places.push(engraved);
    let mut named = wish("nul", "SUIT", 1);
    named["customer"]["name"] = json!("A.\u{0}Buyer");
    places.push(named);
    for (n, body) in places.iter().enumerate() {
        let answer = house.place(body, &format!("nul-{n}"), false).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.body);
    }
    house.end().await;
}

/// The same from a provider: it is taken with 200, and given up where a person finds it.
#[tokio::test]
async fn an_event_with_a_nul_character_does_not_hang_about() {
    let house = house::open().await;
    let bought = house.buy("nul-event").await;
    let event = json!({"id": "evt_nul", "type": "payment_intent.processing", "data": {"object": {
        "id": bought.payment, "status": "processing", "description": "a\u{0}b"}}});
    let letters: [Letter; 2] = [
        signed(&event),
        signed_by_easypost(
            &json!({"id": "evt_nul_2", "description": "tracker.updated", "result": {"id": "trk\u{0}"}}),
        ),
    ];
    for letter in &letters {
        let status = house.post.deliver(letter).await;
        assert!(status.is_success() || status.is_client_error(), "{status}");
    }
    house.settled().await;
    let found = house.dead_letters().await;
    let kinds: Vec<String> = found.iter().map(|dead| dead["kind"].as_str().unwrap().to_owned()).collect();
    house.end_with_dead(&kinds.iter().map(String::as_str).collect::<Vec<_>>()).await;
}
