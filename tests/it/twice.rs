//! Every kind of job, done once and then delivered again: nothing changes.
//!
//! A house works orders through every kind. Then each copy that was ever in the queue is pushed again under its own id,
//! and each job's row is written again under a new id, as a person who replays would. The tables stay as they were,
//! to the last byte. A kind that the house never met fails the test: whoever adds one adds its sample.

use std::collections::{BTreeMap, BTreeSet};

use orderfleet::auth::Role;
use orderfleet::domain::intent::AcceptedIntent;
use orderfleet::domain::webhook::WebhookPayload;
use orderfleet::ids::{DeadLetterId, IntentId, JobId};
use orderfleet::job::{Band, Listed, NewJob};
use orderfleet::jobs::Kind;
use orderfleet::jobs::mail_news::MailTold;
use orderfleet::jobs::order_intent::OrderIntent;
use orderfleet::jobs::payment_cancel::PaymentCancel;
use orderfleet::jobs::payment_confirmation::PaymentConfirmation;
use orderfleet::jobs::tracking::Tracking;
use orderfleet::queue::{Copy, Origin, Pushed};
use orderfleet::store::{dead_letters, jobs};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::configured_payments;
use crate::house::{self, House, wish};
use crate::mails;

/// Keeps every job row that there ever was: finished ones are deleted.
pub(crate) const KEEP_ROWS: &str = "
    create table met (like jobs);
    create function keep_row() returns trigger language plpgsql as $$ begin insert into met values (new.*); return null; end $$;
    create trigger keep_row after insert on jobs for each row execute function keep_row()";
/// The cart of an order that is called off.
const CALLED_OFF: &str = "called-off";

#[tokio::test]
async fn every_job_done_twice_is_done_once() {
    let house = house::plan().set(configured_payments::with_sandbox).set(mails::with_post).open().await;
    house.execute(KEEP_ROWS).await.unwrap();
    let wishes = [wish("whole", "SUIT", 1), wish("expires", "SUIT", 2), wish("cancelled", "SHIRT", 1)];
    whole_lives(&house, &wishes).await;
    configured_payments::paid_at_the_wallet(&house, "wallet").await;
    let told = mails::told_of_a_stranger(&house, "told-twice").await;
    house.settled().await;

    let mut copies = intake_born(&house, &wishes).await;
    copies.push(copy(told.job_id(), &MailTold(told)));
    copies.extend(row_born(&house).await);
    let met: BTreeSet<&str> = copies.iter().map(|copy| copy.kind.as_str()).collect();
    let all: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(met, all, "a kind without a sample");

    let before = dump(&house).await;
    let pushed = house.queue.push(&copies).await.unwrap();
    assert!(pushed.iter().all(|became| *became == Pushed::Queued), "each is handed over again");
    house.settled().await;
    assert_eq!(dump(&house).await, before, "by its copy");

    house.execute("insert into jobs select gen_random_uuid(), kind, lane, band, payload, now(), 0, 0, null, 'twice' from met").await.unwrap();
    house.settled().await;
    assert_eq!(dump(&house).await, before, "by its row");
    house.end().await;
}

/// How often a worker dies between its commit and the queue's word of it.
const DEATHS: usize = 10;

/// What the queue does then: it hands the same copy to the next worker. Each job of an order's life meets that, its
/// payment's event among them.
#[tokio::test]
async fn p13_a_job_whose_worker_dies_ten_times_after_its_commit_has_one_effect() {
    let house = house::open().await;
    house.execute(KEEP_ROWS).await.unwrap();
    let wish = wish("p13", "SUIT", 1);
    let bought = house.buy_as(&wish).await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    let mut copies = intake_born(&house, &[wish]).await;
    copies.extend(row_born(&house).await);
    let kinds: BTreeSet<&str> = copies.iter().map(|copy| copy.kind.as_str()).collect();
    for kind in
        ["order-intent", "payment-open", "payment-confirmation", "shipping-label", "tracking", "email"]
    {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    let (before, outside) = (dump(&house).await, outside(&house).await);
    for death in 1..=DEATHS {
        let pushed = house.queue.push(&copies).await.unwrap();
        assert!(pushed.iter().all(|became| *became == Pushed::Queued), "handed over again: {pushed:?}");
        house.settled().await;
        assert_eq!(dump(&house).await, before, "after death {death}");
    }
    assert_eq!(self::outside(&house).await, outside, "nobody outside heard of it");
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 1);
    house.end().await;
}

/// All that providers were asked for, and what came of it.
async fn outside(house: &House) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for kind in ["payments", "labels", "mails", "requests"] {
        all.push(house.truth(kind).await);
    }
    all
}

/// Dead letters of jobs that were done long ago by another way: a thousand, each kind among them.
const SUPERSEDED: &str = "
    insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by)
    select gen_random_uuid(), gen_random_uuid(), kind, lane, band, payload, 12, 'superseded', 'test', kind, 'test'
      from (select * from met, generate_series(1, 1000) order by generate_series, met.id limit 1000) as many";

/// W05: replayed, and replayed again at the same time, they find that everything is done.
#[tokio::test]
async fn w05_a_thousand_superseded_dead_letters_replayed_twice_at_once_change_nothing() {
    let house = house::open().await;
    house.execute(KEEP_ROWS).await.unwrap();
    whole_lives(
        &house,
        &[wish("whole", "SUIT", 1), wish("expires", "SUIT", 2), wish("cancelled", "SHIRT", 1)],
    )
    .await;
    house.execute("drop trigger keep_row on jobs").await.unwrap();
    house.execute(SUPERSEDED).await.unwrap();
    let letters: Vec<DeadLetterId> = house
        .rows("select id from dead_letters")
        .await
        .iter()
        .map(|row| row["id"].as_str().unwrap().parse::<Uuid>().unwrap().into())
        .collect();
    let before = dump(&house).await;
    let replay = async || {
        let mut tx = house.store.begin().await.unwrap();
        let replayed = dead_letters::replay(&mut tx, &letters, "test").await.unwrap();
        tx.commit().await.unwrap();
        replayed
    };
    let (first, second) = tokio::join!(replay(), replay());
    assert_eq!((first.max(second), first.min(second)), (1000, 0), "twice is once");
    house.settled().await;
    let mut after = dump(&house).await;
    assert_eq!(house.count("dead_letters where replayed_at is null").await, 0);
    after.insert("dead_letters".to_owned(), before["dead_letters"].clone());
    assert_eq!(after, before);
    house.execute("delete from dead_letters").await.unwrap();
    house.end().await;
}

/// One order that arrives and was paid twice, one that expires, and one whose payment is cancelled.
async fn whole_lives(house: &House, wishes: &[Value; 3]) {
    let [whole, expires, cancelled] = wishes;
    let whole = house.buy_as(whole).await;
    house.refresh(whole.intent).await;
    house.pay(&whole).await;
    house.until_order(whole.order, "shipped").await;
    let second = house.second_payment(&whole).await;
    house.pay(&second).await;
    house.until_refunds(whole.order, &["succeeded"]).await;
    house.settled().await;
    house.silence().await;
    house.execute("update event_windows set compared_to = now() - interval '1 hour'").await.unwrap();
    house.sweep().await;
    let code = house.value("select tracking_code from labels").await;
    house.scan(code.as_str().unwrap(), "delivered").await;
    house.until_order(whole.order, "delivered").await;
    house.some_days_pass().await;
    house.until_order(whole.order, "completed").await;

    called_off(house).await;
    let cancelled = house.buy_as(cancelled).await;
    let payment = house
        .value(&format!("select id from payments where provider_payment_id = '{}'", cancelled.payment))
        .await;
    let cancel = PaymentCancel { payment: payment.as_str().unwrap().parse::<Uuid>().unwrap().into() };
    let mut tx = house.store.begin().await.unwrap();
    jobs::insert(&mut tx, vec![NewJob::of(&cancel, "twice")]).await.unwrap();
    tx.commit().await.unwrap();
    house.until(cancelled.intent, "expired").await;
    house.hurry_hold(cancelled.order).await;
    house.end_payable(cancelled.order).await;
    house.until(cancelled.intent, "cancelled").await;

    let expires = house.buy_as(expires).await;
    house.end_hold(expires.order).await;
    house.until(expires.intent, "expired").await;
    house.settled().await;
    house.end_payable(expires.order).await;
    house.until(expires.intent, "cancelled").await;
    house.settled().await;
    assert_eq!(house.count("jobs").await, 0, "every job is done");
}

/// One order that is called off when its label was bought.
async fn called_off(house: &House) {
    let called_off = house.buy_as(&wish(CALLED_OFF, "SUIT", 1)).await;
    house.post.keep();
    house.pay(&called_off).await;
    let letter = house.letter("payment_intent.succeeded", &called_off.payment).await;
    house.deliver(&letter).await;
    house.until_order(called_off.order, "fulfilled").await;
    house.post.pass_on();
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, called_off.order, ("cancel", ""), &json!({})).await.status, 202);
    house.until_order(called_off.order, "refunded").await;
    for kept in house.post.letters() {
        house.deliver(&kept).await;
    }
}

/// The copies that the intake pushed: wishes, and each webhook.
pub(crate) async fn intake_born(house: &House, wishes: &[Value]) -> Vec<Copy> {
    let mut copies = Vec::new();
    for wish in wishes {
        let cart = wish["cart_id"].as_str().unwrap();
        let row = house.rows(&format!("select id, tenant, encode(fingerprint, 'hex') as f, payload from order_intents where cart_id = '{cart}'")).await.remove(0);
        let intent = IntentId::from(row["id"].as_str().unwrap().parse::<Uuid>().unwrap());
        let accepted = AcceptedIntent {
            intent_id: intent,
            tenant: row["tenant"].as_str().unwrap().to_owned(),
            fingerprint: row["f"].as_str().unwrap().to_owned(),
            body: serde_json::from_value(row["payload"].clone()).unwrap(),
        };
        copies.push(copy(JobId::from(intent.uuid()), &OrderIntent(accepted)));
    }
    for letter in house.post.letters() {
        if letter.provider == "stripe" {
            let event = WebhookPayload::stripe(letter.event()).unwrap();
            copies.push(copy(event.job_id(), &PaymentConfirmation(event)));
        } else {
            let event = WebhookPayload::easypost(letter.event()).unwrap();
            copies.push(copy(event.job_id(), &Tracking(event)));
        }
    }
    copies
}

fn copy<J: Listed>(id: JobId, job: &J) -> Copy {
    Copy {
        id,
        kind: J::KIND.to_owned(),
        lane: J::LANE,
        band: Band::Normal,
        origin: Origin::Intake,
        attempts: 0,
        delay: std::time::Duration::ZERO,
        body: serde_json::to_vec(job).unwrap(),
        traceparent: None,
    }
}

/// The copies that the relay pushed. Rows of jobs that the intake took in are among the others already.
async fn row_born(house: &House) -> Vec<Copy> {
    let rows = house.rows("select id, kind, payload from met where kind not in ('order-intent', 'payment-confirmation', 'tracking', 'mail-news')").await;
    let copies = rows.into_iter().map(|row| {
        let kind = Kind::named(row["kind"].as_str().unwrap()).unwrap();
        Copy {
            id: JobId::from(row["id"].as_str().unwrap().parse::<Uuid>().unwrap()),
            kind: kind.name().to_owned(),
            lane: kind.lane(),
            band: Band::Normal,
            origin: Origin::Row,
            attempts: 0,
            delay: std::time::Duration::ZERO,
            body: row["payload"].to_string().into_bytes(),
            traceparent: None,
        }
    });
    copies.collect()
}

/// All tables but the log of this test.
async fn dump(house: &House) -> BTreeMap<String, Value> {
    let mut dump = house.dump().await;
    dump.remove("met");
    dump
}
