//! What payment providers tell us: often, out of order, wrong, too early and too late.

use orderfleet::config::Mismatch;
use orderfleet::ids::DeadLetterId;
use orderfleet::store::dead_letters;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::house::{self, Bought, House, Letter, signed, signed_ago};

/// A success of a payment, told in an event of this id.
fn success(bought: &Bought, id: &str, units: i64, currency: &str) -> Value {
    json!({"id": id, "object": "event", "type": "payment_intent.succeeded", "created": 1, "data": {"object": {
        "id": bought.payment, "object": "payment_intent", "status": "succeeded", "amount": units,
        "amount_received": units, "currency": currency, "metadata": {}}}})
}

/// The same event with another type and status, and no money.
fn other(bought: &Bought, id: &str, kind: &str, status: &str) -> Letter {
    let mut event = success(bought, id, 0, "usd");
    event["type"] = json!(kind);
    event["data"]["object"]["status"] = json!(status);
    signed(&event)
}

/// An order that is paid at the provider, of which nobody told us yet; and the letter that does.
async fn paid_in_silence(house: &House, cart: &str) -> (Bought, Letter) {
    let bought = house.buy(cart).await;
    house.post.keep();
    house.pay(&bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    (bought, letter)
}

/// The order was paid once, and its customer was told once.
async fn is_paid_once(house: &House, bought: &Bought) {
    house.until(bought.intent, "paid").await;
    house.settled().await;
    let order = bought.order.uuid();
    assert_eq!(
        house
            .count(&format!("order_events where order_id = '{order}' and to_status = 'payment_confirmed'"))
            .await,
        1
    );
    assert_eq!(house.count(&format!("payments where order_id = '{order}' and role = 'primary'")).await, 1);
    assert_eq!(
        house
            .count(&format!("communications where order_id = '{order}' and kind = 'order_confirmation'"))
            .await,
        1
    );
    assert_eq!(
        house
            .count(&format!(
                "stock_movements m join reservations r on r.id = m.reservation_id
                                     where r.order_id = '{order}' and m.kind = 'commit'"
            ))
            .await,
        1
    );
}

/// The open exceptions of an order.
async fn exceptions(house: &House, bought: &Bought) -> Vec<String> {
    let order = bought.order.uuid();
    let rows = house
        .rows(&format!(
            "select type from order_exceptions where order_id = '{order}' and state = 'open' order by 1"
        ))
        .await;
    rows.iter().map(|row| row["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn p01_one_event_delivered_twenty_times_at_once_settles_once() {
    let house = house::plan().workers(2).open().await;
    let (bought, letter) = paid_in_silence(&house, "cart-p01").await;
    futures::future::join_all((0..20).map(|_| house.deliver(&letter))).await;
    is_paid_once(&house, &bought).await;
    let event = letter.event()["id"].as_str().unwrap().to_owned();
    assert_eq!(house.count(&format!("inbox where event_id = '{event}' and state = 'applied'")).await, 1);
    house.end().await;
}

#[tokio::test]
async fn p02_two_events_that_tell_one_success_settle_once() {
    let house = house::open().await;
    let (bought, letter) = paid_in_silence(&house, "cart-p02").await;
    let again = signed(&success(&bought, "evt_p02_again", bought.total, "usd"));
    tokio::join!(house.deliver(&letter), house.deliver(&again));
    is_paid_once(&house, &bought).await;
    assert_eq!(house.count("inbox where type = 'payment_intent.succeeded' and state = 'applied'").await, 2);
    house.end().await;
}

#[tokio::test]
async fn p04_an_event_that_overtakes_our_own_commit_is_parked_and_taken_up() {
    let house = house::open().await;
    house.fault("stripe.create", json!({"delay": {"ms": 2_500, "after": true}})).await;
    let answer = house.place(&house::wish("cart-p04", "SUIT", 1), "p04", false).await;
    let intent = answer.body["intent_id"].as_str().unwrap().parse().unwrap();
    // The provider tells of the payment that it is still about to answer us with.
    let letter = house.letter("payment_intent.created", "pi_").await;
    let event = letter.event();
    let payment = event["data"]["object"]["id"].as_str().unwrap();
    let parked = format!("inbox where object_id = '{payment}' and state = 'parked'");
    for _ in 0..200 {
        if house.count(&parked).await == 1 {
            break;
        }
        tokio::time::sleep(house::LOOK).await;
    }
    assert_eq!(house.count(&parked).await, 1);
    let early = Bought {
        intent,
        order: house.until(intent, "reserved").await["order_id"].as_str().unwrap().parse().unwrap(),
        payment: payment.to_owned(),
        secret: event["data"]["object"]["client_secret"].as_str().unwrap().to_owned(),
        total: 13_800,
    };
    house.pay(&early).await;
    is_paid_once(&house, &early).await;
    assert_eq!(house.count("inbox where state = 'parked'").await, 0);
    house.end().await;
}

#[tokio::test]
async fn p05_a_failure_told_after_the_success_changes_nothing() {
    let house = house::open().await;
    let bought = house.buy("cart-p05").await;
    house.post.keep();
    assert_eq!(house.pay_with(&bought, "pm_card_chargeDeclined").await, 402);
    house.pay(&bought).await;
    let failed = house.letter("payment_intent.payment_failed", &bought.payment).await;
    let succeeded = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.deliver(&succeeded).await;
    house.until(bought.intent, "paid").await;
    house.deliver(&failed).await;
    is_paid_once(&house, &bought).await;
    assert_eq!(
        house.count("payment_attempts where outcome = 'failed' and code = 'generic_decline'").await,
        1
    );
    house.end().await;
}

#[tokio::test]
async fn p06_a_failure_does_not_stand_in_the_way_of_the_next_card() {
    let house = house::open().await;
    let bought = house.buy("cart-p06").await;
    assert_eq!(house.pay_with(&bought, "pm_card_chargeDeclinedInsufficientFunds").await, 402);
    house.letter("payment_intent.payment_failed", &bought.payment).await;
    house.settled().await;
    assert_eq!(house.state(bought.intent).await["status"], "reserved");
    house.pay(&bought).await;
    is_paid_once(&house, &bought).await;
    assert_eq!(house.count("payment_attempts where code = 'insufficient_funds'").await, 1);
    house.end().await;
}

#[tokio::test]
async fn p07_created_processing_and_requires_action_move_nothing_but_the_rank() {
    let house = house::open().await;
    let bought = house.buy("cart-p07").await;
    let version = house.value("select version from orders").await;
    for (kind, status) in [
        ("created", "requires_payment_method"),
        ("requires_action", "requires_action"),
        ("processing", "processing"),
    ] {
        house
            .deliver(&other(&bought, &format!("evt_p07_{kind}"), &format!("payment_intent.{kind}"), status))
            .await;
    }
    house.settled().await;
    assert_eq!(house.value("select version from orders").await, version);
    assert_eq!(house.value("select state from payments").await, "processing");
    assert_eq!(house.count("order_events").await, 1);
    assert_eq!(house.count("communications").await, 0);
    house.end().await;
}

#[tokio::test]
async fn p08_a_cancellation_told_after_the_money_changes_nothing() {
    let house = house::open().await;
    let bought = house.buy("cart-p08").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    let before = house.rows("select status, version from orders").await;
    house.deliver(&other(&bought, "evt_p08", "payment_intent.canceled", "canceled")).await;
    house.settled().await;
    assert_eq!(house.rows("select status, version from orders").await, before);
    assert_eq!(house.value("select state from payments").await, "captured");
    house.end().await;
}

#[tokio::test]
async fn p09_another_amount_goes_back_and_is_shown_to_a_person() {
    let house = house::open().await;
    let bought = house.buy("p09-back").await;
    let more = house.second_payment(&Bought { total: bought.total + 1, ..bought.clone() }).await;
    house.pay(&more).await;
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    assert_eq!(exceptions(&house, &bought).await, ["amount_mismatch"]);
    let refunds = house.rows("select origin, amount_minor from refunds").await;
    assert_eq!(refunds, [json!({"origin": "mismatch", "amount_minor": bought.total + 1})]);
    assert_eq!(house.timeline(bought.order).await.status, "refunded");
    assert_eq!(house.count("labels").await, 0);
    house.end().await;
}

#[tokio::test]
async fn p09_another_amount_or_currency_is_held_where_a_person_shall_decide() {
    let house = house::plan().set(|settings| settings.orders.mismatch = Mismatch::Hold).open().await;
    for (cart, units, currency) in
        [("p09-less", 13_799, "usd"), ("p09-more", 13_801, "usd"), ("p09-euro", 13_800, "eur")]
    {
        let bought = house.buy(cart).await;
        house.deliver(&signed(&success(&bought, &format!("evt_{cart}"), units, currency))).await;
        house.until_order(bought.order, "exception").await;
        assert_eq!(exceptions(&house, &bought).await, ["amount_mismatch"]);
        let order = bought.order.uuid();
        assert_eq!(
            house
                .count(&format!(
                    "payments where order_id = '{order}' and captured_minor = {units} and role = 'candidate'"
                ))
                .await,
            1
        );
        assert_eq!(house.state(bought.intent).await["status"], "reserved", "{cart}");
    }
    assert_eq!(house.count("labels").await + house.count("communications").await, 0);
    house.end_with_forged().await;
}

#[tokio::test]
async fn p10_what_is_not_signed_by_the_provider_leaves_nothing() {
    let house = house::open().await;
    let bought = house.buy("cart-p10").await;
    house.settled().await;
    let before = house.dump().await;
    let right = signed(&success(&bought, "evt_p10", bought.total, "usd"));
    let changed = Letter { body: right.body.iter().copied().chain(*b" ").collect(), ..right.clone() };
    let old = signed_ago(&right.event(), 400);
    let none = Letter { signature: String::new(), ..right.clone() };
    let easypost =
        Letter { provider: "easypost".to_owned(), signature: "hmac-sha256-hex=00".to_owned(), ..right };
    for letter in [changed, old, none, easypost] {
        assert_eq!(house.post.deliver(&letter).await, 400, "{letter:?}");
    }
    house.settled().await;
    assert_eq!(house.dump().await, before);
    house.end().await;
}

#[tokio::test]
async fn p11_while_secrets_rotate_what_the_previous_one_signed_is_accepted() {
    let rotating = ["whsec_next", "whsec_house"].map(Into::into).to_vec();
    let house = house::plan().set(|settings| settings.stripe.webhook_secrets = rotating).open().await;
    let bought = house.buy("cart-p11").await;
    house.post.keep();
    house.pay(&bought).await;
    let letter = house.letter("payment_intent.succeeded", &bought.payment).await;
    // Signed once more, with the secret of before: whsec_house.
    house.deliver(&signed(&letter.event())).await;
    house.until(bought.intent, "paid").await;
    house.post.pass_on();
    house.deliver(&letter).await;
    house.end().await;
}

#[tokio::test]
async fn p12_an_unknown_type_is_taken_in_and_ignored() {
    let house = house::open().await;
    let event =
        json!({"id": "evt_p12", "type": "balance.available", "data": {"object": {"object": "balance"}}});
    house.deliver(&signed(&event)).await;
    house.settled().await;
    assert_eq!(
        house.rows("select event_id, state from inbox").await,
        [json!({"event_id": "evt_p12", "state": "ignored"})]
    );
    house.end().await;
}

#[tokio::test]
async fn p12_a_payment_that_nobody_knows_ends_as_a_dead_letter_and_not_in_silence() {
    let house = house::open().await;
    let stranger = Bought { payment: "pi_stranger".to_owned(), ..house.buy("cart-p12").await };
    house.deliver(&signed(&success(&stranger, "evt_stranger", 500, "usd"))).await;
    for _ in 0..200 {
        if house.count("inbox where event_id = 'evt_stranger' and state = 'parked'").await == 1 {
            break;
        }
        tokio::time::sleep(house::LOOK).await;
    }
    // Past the age at which it is given up.
    house
        .execute("update jobs set due_at = now() - interval '31 minutes' where kind = 'payment-confirmation'")
        .await
        .unwrap();
    house.settled().await;
    assert_eq!(house.value("select state from inbox where event_id = 'evt_stranger'").await, "failed");
    house.end_with_dead(&["payment-confirmation"]).await;
}

#[tokio::test]
async fn p15_a_second_success_of_one_order_is_surplus_and_goes_back_once() {
    let house = house::open().await;
    let (bought, letter) = paid_in_silence(&house, "cart-p15").await;
    house.deliver(&letter).await;
    house.until(bought.intent, "paid").await;
    let second = house.second_payment(&bought).await;
    house.pay(&second).await;
    let told = house.letter("payment_intent.succeeded", &second.payment).await;
    house.deliver(&told).await;
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.deliver(&told).await;
    house.settled().await;
    let refunds = house.rows("select origin, state, amount_minor from refunds").await;
    assert_eq!(refunds, [json!({"origin": "surplus", "state": "succeeded", "amount_minor": bought.total})]);
    assert_eq!(house.truth("refunds").await.len(), 1);
    assert_eq!(exceptions(&house, &bought).await, Vec::<String>::new());
    assert_eq!(house.count("communications where kind = 'refund_confirmation' and state = 'sent'").await, 1);
    assert_eq!(house.count("payments where role = 'surplus'").await, 1);
    is_paid_once(&house, &bought).await;
    house.end().await;
}

#[tokio::test]
async fn p16_an_event_for_a_shipped_order_is_taken_and_does_nothing() {
    let house = house::open().await;
    let bought = house.buy("cart-p16").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    house.deliver(&signed(&success(&bought, "evt_p16", bought.total, "usd"))).await;
    house.settled().await;
    assert_eq!(house.timeline(bought.order).await.status, "shipped");
    is_paid_once(&house, &bought).await;
    house.end().await;
}

/// A fault of ours, as nobody thought of it: the database refuses what settles this payment.
const FAULT: &str = "
    create function fault() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = 'check_violation'; end $$;
    create trigger fault before update on payments for each row when (new.state = 'captured') execute function fault()";

#[tokio::test]
async fn p17_an_event_that_met_a_fault_of_ours_is_worked_on_once_that_is_mended() {
    let house = house::open().await;
    let (bought, letter) = paid_in_silence(&house, "cart-p17").await;
    house.execute(FAULT).await.unwrap();
    house.deliver(&letter).await;
    house.until_count("dead_letters where kind = 'payment-confirmation'", 1).await;
    assert_eq!(house.count("inbox where state = 'failed'").await, 1);
    house.execute("drop trigger fault on payments").await.unwrap();
    let letter = house.value("select id from dead_letters").await;
    let letter: DeadLetterId = letter.as_str().unwrap().parse::<Uuid>().unwrap().into();
    let mut tx = house.store.begin().await.unwrap();
    assert_eq!(dead_letters::replay(&mut tx, &[letter], "test").await.unwrap(), 1);
    tx.commit().await.unwrap();
    is_paid_once(&house, &bought).await;
    assert_eq!(house.count("inbox where state = 'failed'").await, 0);
    house.execute("delete from dead_letters; delete from attempts").await.unwrap();
    house.end().await;
}

#[tokio::test]
async fn a_call_that_may_have_worked_stays_in_doubt_though_the_next_is_sent_away() {
    let house = house::plan().set(|settings| settings.stripe.timeout_ms = 400).open().await;
    house
        .execute(
            "create table told (at bigint generated always as identity, state text);
             create function tell() returns trigger language plpgsql as
               $$ begin insert into told (state) values (new.state); return null; end $$;
             create trigger tell after update on effects for each row when (new.name like 'pay_create:%')
               execute function tell()",
        )
        .await
        .unwrap();
    // Still at work over there when it is asked again under the same key: that answer says nothing of the first request.
    house.fault("stripe.create", json!({"delay": {"ms": 2_500}})).await;
    house.buy("in-doubt").await;
    house.settled().await;
    let told = house.rows("select state from told order by at").await;
    let told: Vec<&str> = told.iter().map(|row| row["state"].as_str().unwrap()).collect();
    let doubt = told.iter().position(|state| *state == "unknown").expect("the first call was never answered");
    assert!(!told[doubt..].contains(&"pending"), "{told:?}");
    assert_eq!(told.last(), Some(&"done"));
    assert_eq!(house.truth("payments").await.len(), 1);
    house.end().await;
}

/// Whoever wanted to cancel it would wait for an id that it never gets.
#[tokio::test]
async fn a_payment_that_was_never_opened_ends_with_the_hold_that_it_was_for() {
    let house = house::plan().set(|settings| settings.orders.reservation_seconds = 2).open().await;
    house.faults(json!([{"at": "stripe.create", "what": {"fail": {"status": 429}}}])).await;
    let answer = house.place(&house::wish("cart-unopened", "SUIT", 1), "unopened", false).await;
    house.until(answer.body["intent_id"].as_str().unwrap().parse().unwrap(), "expired").await;
    house.settled().await;
    assert_eq!(house.rows("select state from payments").await, [json!({"state": "cancelled"})]);
    assert_eq!(house.value("select state from effects where name like 'pay_create:%'").await, "failed");
    house.end().await;
}
