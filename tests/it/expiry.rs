//! Holds whose time is over, and money that comes late.

use orderfleet::auth::Role;
use orderfleet::config::LatePayment;
use orderfleet::job::Payload;
use orderfleet::jobs::order_intent::OrderIntent;
use orderfleet::store::stock::Change;
use serde_json::json;

use crate::house::{self, Bought, House, signed, wish};

/// A house whose holds last so long.
async fn with_holds_of(seconds: u64) -> House {
    house::plan().set(|settings| settings.orders.reservation_seconds = seconds).open().await
}

#[tokio::test]
async fn l01_an_unpaid_order_gives_its_pieces_back_once_its_payment_is_cancelled() {
    let house = with_holds_of(2).await;
    let bought = house.buy("cart-l01").await;
    let state = house.until(bought.intent, "expired").await;
    assert_eq!((&state["success"], &state["client_secret"]), (&json!(false), &json!(null)));
    house.settled().await;
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    assert_ne!(house.pay_with(&bought, "pm_card_visa").await, 200, "the provider takes no money any more");
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    assert_eq!(
        house.value("select kind from communications where state = 'sent'").await,
        "reservation_expired"
    );
    let cancelled = "select e.settled_at <= r.resolved_at from effects e, reservations r where e.name like 'pay_cancel:%'";
    assert_eq!(house.value(cancelled).await, true, "cancelled at the provider before the pieces went back");
    house.end().await;
}

#[tokio::test]
async fn l02_money_that_came_in_time_is_settled_by_the_expiry_where_its_webhook_is_late() {
    let house = with_holds_of(4).await;
    let bought = house.buy("cart-l02").await;
    house.post.keep();
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    let late = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.post.pass_on();
    house.deliver(&late).await;
    house.settled().await;
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 1);
    assert_eq!(house.count("reservations where state = 'committed'").await, 1);
    assert_eq!(house.count("order_exceptions").await, 0);
    house.end().await;
}

#[tokio::test]
async fn l07_a_customer_at_their_banks_page_gets_one_extension() {
    let house = with_holds_of(3).await;
    let bought = house.buy("cart-l07").await;
    assert_eq!(house.pay_with(&bought, "pm_card_threeDSecure2Required").await, 200);
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.value("select extensions from reservations").await, 1);
    assert_eq!(house.truth("payments").await[0]["status"], "canceled");
    house.end().await;
}

#[tokio::test]
async fn l07_money_that_comes_in_the_extension_pays_the_order() {
    let house = with_holds_of(3).await;
    let bought = house.buy("cart-l07-paid").await;
    assert_eq!(house.pay_with(&bought, "pm_card_threeDSecure2Required").await, 200);
    for _ in 0..400 {
        if house.count("reservations where extensions = 1").await == 1 {
            break;
        }
        tokio::time::sleep(house::LOOK).await;
    }
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    house.end().await;
}

#[tokio::test]
async fn l08_a_hold_waits_for_a_provider_that_is_away_until_its_grace_is_over() {
    let house = house::plan().set(|settings| {
        settings.orders.reservation_seconds = 2;
        settings.orders.settlement_grace_seconds = 3;
    });
    let house = house.open().await;
    let bought = house.buy("cart-l08").await;
    house.post.keep();
    house
        .faults(json!([{"at": "stripe.retrieve", "what": {"fail": {"status": 503}}},
                        {"at": "stripe.cancel", "what": {"fail": {"status": 503}}}]))
        .await;
    house.until(bought.intent, "expired").await;
    let waited = "select r.resolved_at - r.expires_at > interval '3 s' as waited from reservations r";
    assert_eq!(house.value(waited).await, true);
    assert_eq!(
        house.value("select type from order_exceptions where state = 'open'").await,
        "expired_unasked"
    );
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    // Nobody told the provider yet: the money that comes is late, and the pieces are still there.
    house.pay(&bought).await;
    house.mend().await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    assert_eq!(house.count("reservations where state = 'committed' and epoch = 2").await, 1);
    house.end().await;
}

#[tokio::test]
async fn r08_a_hold_that_three_jobs_on_three_workers_end_gives_its_pieces_back_once() {
    let house = house::plan().workers(3).open().await;
    let bought = house.buy("cart-r08").await;
    house.settled().await;
    let due = format!(
        "update reservations set expires_at = clock_timestamp();
         insert into jobs (id, kind, lane, band, payload, run_at, caused_by)
         select gen_random_uuid(), 'reservation-expiry', 'expiry', 2, '{{\"order\": \"{}\", \"epoch\": 1}}', now(), 'test'
           from generate_series(1, 3)",
        bought.order
    );
    house.execute(&due).await.unwrap();
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.count("stock_movements where kind = 'expire'").await, 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn r10_a_hold_whose_job_was_lost_with_redis_ends_all_the_same() {
    let house = with_holds_of(12).await;
    let bought = house.buy("cart-r10").await;
    house.until_count("jobs where kind = 'reservation-expiry' and relayed_at is not null", 1).await;
    house.forget().await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.count("stock_movements where kind = 'expire'").await, 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn n05_a_wiped_redis_loses_no_follow_up_and_a_wish_that_it_had_alone_works_again() {
    const BUYERS: i64 = 30;
    let house = with_holds_of(15).await;
    let keys: Vec<String> = (0..BUYERS).map(|buyer| format!("cart-n05-{buyer}")).collect();
    futures::future::join_all(keys.iter().map(|key| house.buy(key))).await;
    house.until_count("jobs where kind = 'reservation-expiry' and relayed_at is not null", BUYERS).await;
    house.queue.pause(OrderIntent::LANE).await.unwrap();
    let lost = house.place(&wish("cart-lost", "SUIT", 1), "lost", false).await;
    assert_eq!(lost.status, 202);
    house.forget().await;
    let path = format!("/v1/order-intents/{}", lost.body["intent_id"].as_str().unwrap());
    assert_eq!(house.read_as_service(&path).await.status, 404, "nobody pretends to know it");
    let again = house.place(&wish("cart-lost", "SUIT", 1), "lost", true).await;
    assert_eq!((again.status, &again.body["intent_id"]), (201, &lost.body["intent_id"]));
    house.until_count("stock_movements where kind = 'expire'", BUYERS + 1).await;
    house.settled().await;
    assert_eq!(house.count("orders").await, BUYERS + 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn r11_of_hundreds_of_holds_that_end_at_once_one_that_cannot_holds_up_no_other() {
    const BUYERS: i64 = 300;
    /// So few that each is answered in time, however busy the machine is.
    const AT_ONCE: usize = 25;
    let house = house::plan().workers(2);
    let house = house.set(|settings| settings.calls.get_mut("stripe").unwrap().a_second = 0).open().await;
    let keys: Vec<String> = (0..BUYERS).map(|buyer| format!("cart-r11-{buyer}")).collect();
    let mut bought = Vec::new();
    for some in keys.chunks(AT_ONCE) {
        bought.extend(futures::future::join_all(some.iter().map(|key| house.buy(key))).await);
    }
    let corrupt = &bought[137];
    let refuse = format!(
        "create function corrupt() returns trigger language plpgsql as $$ begin
           raise exception 'corrupt' using errcode = 'check_violation'; end $$;
         create trigger corrupt before update of state on reservations for each row
           when (old.order_id = '{}') execute function corrupt()",
        corrupt.order.uuid()
    );
    house.settled().await;
    house.execute(&refuse).await.unwrap();
    house.end_holds().await;
    house.until_count("reservations where state = 'expired'", BUYERS - 1).await;
    house.until_count("dead_letters where kind = 'reservation-expiry'", 1).await;
    house.settled().await;
    let shown =
        house.rows("select order_id, type, severity from order_exceptions where state = 'open'").await;
    let expected =
        json!({"order_id": corrupt.order.uuid(), "type": "not_followed_up", "severity": "critical"});
    assert_eq!(shown, [expected]);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 1").await, 1);
    // Mended, it ends as the others did.
    let again = "drop trigger corrupt on reservations;
                 insert into jobs (id, kind, lane, band, payload, run_at, caused_by)
                 select gen_random_uuid(), kind, lane, band, payload, now(), 'test' from dead_letters
                  where kind = 'reservation-expiry'";
    house.execute(again).await.unwrap();
    house.until(corrupt.intent, "expired").await;
    house.settled().await;
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end_with_dead(&["reservation-expiry"]).await;
}

/// Money for an order whose hold is over, though the provider had cancelled: told in an event of this id.
async fn late_money(house: &House, bought: &Bought, id: &str) {
    let event = json!({"id": id, "type": "payment_intent.succeeded", "data": {"object": {
        "id": bought.payment, "status": "succeeded", "amount": bought.total, "amount_received": bought.total, "currency": "usd"}}});
    house.deliver(&signed(&event)).await;
    house.settled().await;
}

/// An order whose hold is over.
async fn expired(house: &House, cart: &str) -> Bought {
    let bought = house.buy(cart).await;
    house.until(bought.intent, "expired").await;
    house.settled().await;
    bought
}

#[tokio::test]
async fn l03_late_money_holds_the_pieces_again_and_confirms() {
    let house = with_holds_of(2).await;
    let bought = expired(&house, "cart-l03").await;
    late_money(&house, &bought, "evt_l03").await;
    house.until(bought.intent, "paid").await;
    assert_eq!(house.count("order_exceptions").await, 0);
    let holds = house.rows("select epoch, state from reservations order by epoch").await;
    assert_eq!(holds, [json!({"epoch": 1, "state": "expired"}), json!({"epoch": 2, "state": "committed"})]);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 999 and reserved = 0").await, 1);
    late_money(&house, &bought, "evt_l03_again").await;
    assert_eq!(house.count("reservations").await, 2, "told twice is once");
    house.end_with_forged().await;
}

#[tokio::test]
async fn l03_late_money_for_two_orders_and_the_last_piece_confirms_one() {
    let house = house::plan().stock(&[("SUIT", 2)]).workers(2);
    let house = house.set(|settings| settings.orders.reservation_seconds = 2).open().await;
    let (one, other) = tokio::join!(expired(&house, "cart-l03-one"), expired(&house, "cart-l03-other"));
    house.store.change_stock("SUIT", Change::Set(1), "l03").await.unwrap();
    let (one, other) = (house.second_payment(&one).await, house.second_payment(&other).await);
    tokio::join!(house.pay(&one), house.pay(&other));
    for _ in 0..400 {
        if house.count("refunds where state = 'succeeded'").await == 1 {
            break;
        }
        tokio::time::sleep(house::LOOK).await;
    }
    house.settled().await;
    assert_eq!(house.count("refunds where state = 'succeeded'").await, 1);
    assert_eq!(house.count("reservations where state = 'committed'").await, 1);
    assert_eq!(house.count("order_exceptions where type = 'stock_lost_after_payment'").await, 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 0 and reserved = 0").await, 1);
    house.end().await;
}

/// Money that the provider took though the hold was over: by a second payment, because it had cancelled the first.
async fn money_comes_all_the_same(house: &House, bought: &Bought) {
    let second = house.second_payment(bought).await;
    house.pay(&second).await;
    house.until_refunds(bought.order, &["succeeded"]).await;
    house.settled().await;
    let refunds = house.rows("select origin, amount_minor from refunds").await;
    assert_eq!(refunds, [json!({"origin": "late_payment", "amount_minor": bought.total})]);
    assert_eq!(house.truth("refunds").await.len(), 1);
    assert_eq!(house.count("communications where kind = 'refund_confirmation' and state = 'sent'").await, 1);
    assert_eq!(house.timeline(bought.order).await.status, "refunded");
    // Told once more, it is no news.
    let told = house.letter("payment_intent.succeeded", &second.payment).await;
    house.deliver(&told).await;
    house.settled().await;
    assert_eq!(house.count("refunds").await, 1);
}

#[tokio::test]
async fn l04_late_money_for_pieces_that_are_gone_goes_back_and_is_shown() {
    let house = with_holds_of(2).await;
    let bought = expired(&house, "cart-l04").await;
    house.store.change_stock("SUIT", Change::Set(0), "l04").await.unwrap();
    money_comes_all_the_same(&house, &bought).await;
    assert_eq!(
        house.value("select type from order_exceptions where state = 'open'").await,
        "stock_lost_after_payment"
    );
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 0 and reserved = 0").await, 1);
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 0);
    house.end().await;
}

#[tokio::test]
async fn l04_by_policy_a_person_decides_over_late_money() {
    let house = house::plan().set(|settings| {
        settings.orders.reservation_seconds = 2;
        settings.orders.late_payment = LatePayment::HoldForOps;
    });
    let house = house.open().await;
    let bought = expired(&house, "cart-l04-ops").await;
    house.store.change_stock("SUIT", Change::Set(0), "l04").await.unwrap();
    late_money(&house, &bought, "evt_l04_ops").await;
    assert_eq!(
        house.value("select type from order_exceptions where state = 'open'").await,
        "stock_lost_after_payment"
    );
    assert_eq!(house.timeline(bought.order).await.status, "exception");
    assert_eq!(house.count("refunds").await, 0);
    house.end_with_forged().await;
}

#[tokio::test]
async fn l06_an_order_that_gave_back_everything_stays_as_it_is_when_it_is_told_of_the_money_again() {
    let house = house::plan().set(|settings| settings.orders.auto_fulfil = false).open().await;
    let bought = house.buy("cart-l06").await;
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, bought.order, ("refunds", "k"), &json!({})).await.status, 202);
    house.until_order(bought.order, "refunded").await;
    house.settled().await;
    let before = house.dump().await;
    let told = house.letter("payment_intent.succeeded", &bought.payment).await;
    house.deliver(&told).await;
    house.settled().await;
    for table in ["orders", "order_events", "payments", "refunds", "stock", "stock_movements", "reservations"]
    {
        assert_eq!(before[table], house.dump().await[table], "{table}");
    }
    late_money(&house, &bought, "evt_l06").await;
    for table in ["orders", "order_events", "payments", "refunds", "stock", "stock_movements", "reservations"]
    {
        assert_eq!(before[table], house.dump().await[table], "{table}, told by another event");
    }
    house.end().await;
}

#[tokio::test]
async fn l05_money_for_a_cancelled_order_goes_back() {
    let house = with_holds_of(2).await;
    let bought = expired(&house, "cart-l05").await;
    let cancel =
        "update orders set status = 'cancelled', cancel_reason = 'expired', actor = 'test', cause = 'test'";
    house.execute(cancel).await.unwrap();
    money_comes_all_the_same(&house, &bought).await;
    assert_eq!(house.count("order_exceptions").await, 0);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    assert_eq!(house.state(bought.intent).await["status"], "cancelled");
    house.end().await;
}

#[tokio::test]
async fn r09_an_order_paid_in_its_last_moment_is_never_both_expired_and_paid() {
    let house = with_holds_of(2).await;
    let mut bought = Vec::new();
    for buyer in 0..6 {
        bought.push(house.buy(&format!("cart-race-{buyer}")).await);
    }
    // About when the holds end; each payment is either refused by the provider or settled.
    let paid = futures::future::join_all(bought.iter().map(|one| house.pay_with(one, "pm_card_visa"))).await;
    for (one, status) in bought.iter().zip(paid) {
        house.until(one.intent, if status == 200 { "paid" } else { "expired" }).await;
    }
    house.end().await;
}
