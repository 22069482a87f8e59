//! Labels that are bought once whatever happens to the answer, and parcels that are followed.

use orderfleet::auth::Role;
use orderfleet::job::{NewJob, Payload};
use orderfleet::jobs::shipping_label::ShippingLabel;
use orderfleet::jobs::tracking::Tracking;
use orderfleet::ops::dead_letters as letters;
use orderfleet::store::dead_letters::Selection;
use orderfleet::store::{jobs, orders};
use serde_json::{Value, json};

use crate::house::{self, Bought, House, signed_text_by_easypost, wish};
use crate::twice::KEEP_ROWS;

/// An order whose label is bought while this goes wrong at the carriers' broker, once each.
async fn labelled_despite(faults: &[(&str, Value)]) -> (House, Bought) {
    let house = house::open().await;
    for (at, what) in faults {
        house.fault(at, what.clone()).await;
    }
    let bought = house.buy("cart-label").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!((house.truth("labels").await.len(), house.count("labels").await), (1, 1));
    assert_eq!(house.count("order_exceptions").await, 0);
    (house, bought)
}

/// Its parcel's number.
async fn tracking_code(house: &House, bought: &Bought) -> String {
    let code = house
        .value(&format!("select tracking_code from labels where order_id = '{}'", bought.order.uuid()))
        .await;
    code.as_str().unwrap().to_owned()
}

/// An order that is on its way.
async fn shipped() -> (House, Bought, String) {
    let (house, bought) = labelled_despite(&[]).await;
    let code = tracking_code(&house, &bought).await;
    (house, bought, code)
}

/// Waits until so many scans of parcels are kept.
async fn scans(house: &House, count: i64) {
    for _ in 0..400 {
        if house.count("tracking_events").await >= count {
            return house.settled().await;
        }
        tokio::time::sleep(house::LOOK).await;
    }
    panic!("{} scans", house.count("tracking_events").await);
}

/// Twelve jobs for one parcel: a person, a replay and a repeated event may all want it at once.
#[tokio::test]
async fn s01_twelve_requests_for_one_parcel_at_once_buy_one_label() {
    let house = house::plan()
        .workers(2)
        .set(|settings| {
            settings.orders.auto_fulfil = false;
            settings.lanes.get_mut("shipping").unwrap().concurrency = 4;
        })
        .open()
        .await;
    let bought = house.buy("cart-s01").await;
    house.pay(&bought).await;
    house.until(bought.intent, "paid").await;
    house.settled().await;
    let packed = format!(
        "update orders set status = 'processing', actor = 'test', cause = 'test' where id = '{0}';
         update orders set status = 'packaging', actor = 'test', cause = 'test' where id = '{0}'",
        bought.order.uuid()
    );
    house.execute(&packed).await.unwrap();
    let label = ShippingLabel { order: bought.order, parcel: 1, epoch: 1 };
    let requests = (0..12).map(|at| NewJob::of(&label, format!("request {at}")));
    let mut tx = house.store.begin().await.unwrap();
    jobs::insert(&mut tx, requests.collect()).await.unwrap();
    tx.commit().await.unwrap();
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!((house.truth("labels").await.len(), house.count("labels").await), (1, 1));
    assert_eq!(house.calls("POST", "/buy").await, 1, "asked for once");
    house.end().await;
}

#[tokio::test]
async fn s02_a_label_that_was_bought_though_the_answer_was_lost_is_adopted() {
    let (house, _) = labelled_despite(&[("easypost.buy", json!("drop_after"))]).await;
    assert_eq!(house.calls("POST", "/buy").await, 1, "looked up, never bought again");
    house.end().await;
}

/// As if a worker had died between each purchase and its commit: nobody knows what became of any.
#[tokio::test]
async fn s02_twenty_purchases_of_which_no_answer_came_are_twenty_labels() {
    let house = house::open().await;
    house.faults(json!([{"at": "easypost.buy", "what": "drop_after", "next": 20}])).await;
    let mut all = Vec::new();
    for at in 0..20 {
        let bought = house.buy(&format!("cart-s02-{at}")).await;
        house.pay(&bought).await;
        all.push(bought);
    }
    for bought in &all {
        house.until_order(bought.order, "shipped").await;
    }
    house.settled().await;
    assert_eq!((house.truth("labels").await.len(), house.count("labels").await), (20, 20));
    assert_eq!(house.calls("POST", "/buy").await, 20, "none was bought again");
    assert_eq!(house.truth("shipments").await.len(), 20);
    house.end().await;
}

/// What the broker says of a carrier that does not answer.
fn silent() -> Value {
    json!({"status": 422, "code": "SHIPMENT.POSTAGE.NO_RESPONSE"})
}

/// The line breaks, the carrier does not answer the broker, or a gateway the shop: the shipment tells that it is not bought.
#[tokio::test]
async fn s03_a_label_that_was_not_bought_is_bought_for_the_same_shipment() {
    for lost in
        [json!("drop_before"), json!({"fail": silent()}), json!({"fail": {"status": 502, "html": true}})]
    {
        let (house, _) = labelled_despite(&[("easypost.buy", lost.clone())]).await;
        assert_eq!(house.calls("POST", "/buy").await, 2, "{lost}");
        assert_eq!(house.truth("shipments").await.len(), 1);
        house.end().await;
    }
}

/// The same where it is.
#[tokio::test]
async fn s02_a_broker_that_fails_in_any_words_after_it_has_bought_is_looked_up() {
    let hidden = [json!({"status": 500}), json!({"status": 502, "html": true}), silent()];
    for mut fail in hidden {
        fail["after"] = json!(true);
        let (house, _) = labelled_despite(&[("easypost.buy", json!({"fail": fail}))]).await;
        assert_eq!(house.calls("POST", "/buy").await, 1, "{fail}");
        house.end().await;
    }
}

#[tokio::test]
async fn a_shipment_that_was_made_though_the_answer_was_lost_costs_nothing() {
    let (house, _) = labelled_despite(&[("easypost.create", json!("drop_after"))]).await;
    let bought = house.truth("shipments").await.iter().filter(|shipment| shipment["bought"] == true).count();
    assert_eq!(bought, 1);
    house.end().await;
}

#[tokio::test]
async fn s07_scans_that_come_twice_and_backwards_deliver_once() {
    let (house, bought, code) = shipped().await;
    let before = house.count("tracking_events").await;
    house.scan(&code, "delivered").await;
    house.until_order(bought.order, "delivered").await;
    house.scan(&code, "in_transit").await;
    house.scan(&code, "delivered").await;
    scans(&house, before + 3).await;
    assert_eq!(house.timeline(bought.order).await.status, "delivered");
    assert_eq!(house.count("order_events where to_status = 'delivered'").await, 1);
    assert_eq!(
        house.count("communications where kind = 'delivery_confirmation' and state = 'sent'").await,
        1
    );
    assert_eq!(house.value("select tracking_status from shipments").await, "delivered");
    house.end().await;
}

#[tokio::test]
async fn s07_a_parcel_goes_out_for_delivery_and_arrives_and_each_is_told_once() {
    let (house, bought, code) = shipped().await;
    for status in ["out_for_delivery", "delivered"] {
        for _ in 0..2 {
            house.scan(&code, status).await;
        }
        house.until_order(bought.order, status).await;
    }
    house.settled().await;
    for kind in ["shipping_notification", "out_for_delivery", "delivery_confirmation"] {
        let told = house.count(&format!("communications where kind = '{kind}' and state = 'sent'")).await;
        assert_eq!(told, 1, "{kind}");
    }
    house.end().await;
}

/// Everybody locks orders in one order, whatever order their news come in: a slice that waits for its first holds no other.
#[tokio::test]
async fn scans_of_two_parcels_in_one_slice_lock_their_orders_in_the_order_of_everybody() {
    let house = house::open().await;
    let mut codes = Vec::new();
    for cart in ["lock-1", "lock-2"] {
        let bought = house.buy(cart).await;
        house.pay(&bought).await;
        house.until_order(bought.order, "shipped").await;
        codes.push((tracking_code(&house, &bought).await, bought.order.uuid()));
    }
    house.settled().await;
    house.queue.pause(Tracking::LANE).await.unwrap();
    let waiting = async || house.queue.depth(Tracking::LANE).await.unwrap().bands.iter().sum::<u64>();
    // The second's scan comes first.
    for (number, (code, _)) in (1..).zip(codes.iter().rev()) {
        house.scan(code, "delivered").await;
        while waiting().await < number {
            tokio::time::sleep(house::LOOK).await;
        }
    }
    let mut first = house.store.begin().await.unwrap();
    orders::lock(&mut first, &[codes[0].1.into()]).await.unwrap();
    house.queue.resume(Tracking::LANE).await.unwrap();
    let waits = "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    house.until_count(waits, 1).await;
    let second = format!("select 1 from orders where id = '{}' for no key update nowait", codes[1].1);
    house.execute(&second).await.unwrap();
    first.commit().await.unwrap();
    for (_, order) in codes {
        house.until_order(order.into(), "delivered").await;
    }
    house.end().await;
}

#[tokio::test]
async fn s08_a_parcel_that_comes_back_is_shown_to_a_person_and_rewrites_nothing() {
    let (house, bought, code) = shipped().await;
    let before = house.count("tracking_events").await;
    house.scan(&code, "return_to_sender").await;
    house.scan(&code, "return_to_sender").await;
    scans(&house, before + 2).await;
    assert_eq!(
        house.count("communications where kind = 'delay_or_exception' and state = 'sent'").await,
        1,
        "the customer is told once"
    );
    assert_eq!(
        house.value("select type from order_exceptions where state = 'open'").await,
        "return_to_sender"
    );
    assert_eq!(house.timeline(bought.order).await.status, "shipped");
    house.end().await;
}

/// A wish whose parcel goes to this street.
fn to_street(cart: &str, street: &str) -> Value {
    let mut wish = wish(cart, "SUIT", 1);
    wish["shipping_address"]["address_line1"] = json!(street);
    wish
}

/// A person takes what is wrong as it is, and has the label bought all the same.
async fn replayed(house: &House, bought: &Bought) {
    let all = Selection::default();
    assert_eq!(letters::replay(&house.store, &all, "operator mia", |_| ()).await.unwrap().replayed, 1);
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!(house.count("order_exceptions where state <> 'resolved'").await, 0);
    assert_eq!(house.truth("labels").await.len(), 1);
}

#[tokio::test]
async fn s04_a_rate_that_expired_is_bought_anew_of_the_same_shipment_and_service() {
    let gone = json!({"fail": {"status": 422, "code": "SHIPMENT.RATE.UNAVAILABLE"}});
    let (house, _) = labelled_despite(&[("easypost.buy", gone)]).await;
    assert_eq!((house.calls("POST", "/rerate").await, house.calls("POST", "/buy").await), (1, 2));
    assert_eq!(house.truth("shipments").await.len(), 1);
    assert_eq!(house.value("select service from labels").await, "GroundAdvantage");
    house.end().await;
}

/// New rates were made, and the answer was lost: the old rate is nothing that anybody knows any more.
#[tokio::test]
async fn s04_a_rate_of_before_a_rerating_that_nobody_heard_of_is_bought_anew() {
    let gone = json!({"fail": {"status": 422, "code": "SHIPMENT.RATE.UNAVAILABLE"}});
    let lost = json!("drop_after");
    let (house, _) = labelled_despite(&[("easypost.buy", gone), ("easypost.rerate", lost)]).await;
    assert_eq!((house.calls("POST", "/rerate").await, house.calls("POST", "/buy").await), (2, 3));
    assert_eq!(house.truth("shipments").await.len(), 1);
    house.end().await;
}

#[tokio::test]
async fn s04_a_service_that_is_offered_no_more_is_not_replaced_in_silence() {
    let house = house::open().await;
    house.fault("easypost.buy", json!({"fail": {"status": 422, "code": "SHIPMENT.RATE.UNAVAILABLE"}})).await;
    let bought = house.buy_as(&to_street("cart-s04", "1 Service Ends Road")).await;
    house.pay(&bought).await;
    house.until_order(bought.order, "exception").await;
    house.settled().await;
    assert_eq!(house.count("order_exceptions where type = 'rate_changed' and state = 'open'").await, 1);
    assert_eq!(house.truth("labels").await.len(), 0, "nothing was bought");
    replayed(&house, &bought).await;
    assert_eq!(house.truth("shipments").await.len(), 1, "the same shipment");
    assert_ne!(house.value("select service from labels").await, "GroundAdvantage");
    house.end_with_dead(&["shipping-label"]).await;
}

#[tokio::test]
async fn s05_an_address_that_does_not_exist_is_shown_by_its_fields_and_nothing_is_bought() {
    let faults =
        [("1 Undeliverable Way", "street1: E.HOUSE_NUMBER.MISSING"), ("9 Nowhere", "Address not found")];
    for (street, fault) in faults {
        let house = house::open().await;
        let bought = house.buy_as(&to_street("cart-s05", street)).await;
        house.pay(&bought).await;
        house.until_order(bought.order, "exception").await;
        house.settled().await;
        let detail = house.value("select detail from order_exceptions where type = 'address_invalid'").await;
        assert!(detail.as_str().unwrap().contains(fault), "{detail}");
        assert_eq!(house.calls("POST", "/v2/shipments").await, 0);
        // The sandbox's carriers have no rates for the one, and deliver to the other.
        if street.contains("Nowhere") {
            replayed(&house, &bought).await;
            assert_eq!(house.calls("POST", "/v2/addresses").await, 1, "a person took it as it is");
        }
        house.end_with_dead(&["shipping-label"]).await;
    }
}

#[tokio::test]
async fn a_shop_chooses_its_services_and_what_is_insured() {
    let house = house::plan()
        .set(|settings| {
            settings.shipping.services = vec!["UPS Ground".to_owned()];
            settings.shipping.insure_from_cents = 10_000;
        })
        .open()
        .await;
    let bought = house.buy("cart-policy").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    let label = &house.truth("labels").await[0];
    assert_eq!((&label["carrier"], &label["service"]), (&json!("UPS"), &json!("Ground")));
    assert_eq!(label["insurance"], "129.00", "what the goods cost, and not their way");
    assert_eq!(house.value("select insured_minor from labels").await, 12_900);
    house.end().await;
}

/// The settings, the rate or the goods may be others by the time that a purchase is asked for again: its row decides.
#[tokio::test]
async fn what_is_bought_is_what_was_kept_and_not_what_the_settings_say_by_then() {
    let house = house::open().await;
    let kept_before = r#"create function kept_before() returns trigger language plpgsql as $$
         begin
           new.request = jsonb_set(new.request, '{insurance}', '{"minor": 5000, "currency": "USD"}');
           return new;
         end $$;
         create trigger kept_before before insert on effects
           for each row when (new.name like 'label:%:buy') execute function kept_before()"#;
    house.execute(kept_before).await.unwrap();
    let bought = house.buy("cart-kept").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!(house.truth("labels").await[0]["insurance"], "50.00");
    house.end().await;
}

/// Its webhooks were lost: the carrier is asked, what it says counts as a scan, and asking again changes nothing.
#[tokio::test]
async fn a_parcel_of_which_nobody_tells_is_asked_for_and_asking_again_changes_nothing() {
    let (house, bought, code) = shipped().await;
    house.post.keep();
    house.scan(&code, "delivered").await;
    let looks = "met where kind = 'parcel-look'";
    house.execute(KEEP_ROWS).await.unwrap();
    house.sweep().await;
    assert_eq!(house.count(looks).await, 0, "it was scanned a moment ago");
    house.silence().await;
    tokio::join!(house.sweep(), house.sweep());
    assert_eq!(house.count(looks).await, 1, "two workers take it once");
    house.until_order(bought.order, "delivered").await;
    house.settled().await;
    assert_eq!(house.count("tracking_events where event_id like 'look:%:delivered'").await, 1);
    house.silence().await;
    house.sweep().await;
    assert_eq!(house.count(looks).await, 1, "it has arrived");
    for letter in house.post.letters() {
        house.deliver(&letter).await;
    }
    house.settled().await;
    assert_eq!(house.count("order_events where to_status = 'delivered'").await, 1);
    assert_eq!(house.count("communications where kind = 'delivery_confirmation'").await, 1);
    house.execute("drop table met cascade").await.unwrap();
    house.end().await;
}

/// The purchase did not say by which tracker its parcel is followed: it is followed from now on.
#[tokio::test]
async fn a_silent_parcel_without_a_tracker_is_given_one_and_one_without_news_stays_where_it_is() {
    let (house, bought, _) = shipped().await;
    house.execute("update labels set tracker_id = null").await.unwrap();
    for _ in 0..2 {
        house.silence().await;
        house.sweep().await;
        house.settled().await;
    }
    assert_eq!(house.calls("POST", "/v2/trackers").await, 2);
    assert_eq!(house.timeline(bought.order).await.status, "shipped");
    assert_eq!(house.count("tracking_events where event_id like 'look:%:in_transit'").await, 1);
    house.end().await;
}

/// One official client writes `700` as `700.0` before it hashes; the bytes that came are what was signed.
#[tokio::test]
async fn s10_a_signature_is_of_the_bytes_that_came_however_their_numbers_are_written() {
    let (house, bought, code) = shipped().await;
    let event = |weight: &str| {
        let text = format!(
            r#"{{"id":"evt_s10_{weight}","description":"tracker.updated","result":{{"id":"trk_s10",
               "tracking_code":"{code}","status":"delivered","weight":{weight}}}}}"#
        );
        signed_text_by_easypost(text)
    };
    house.deliver(&event("700")).await;
    house.until_order(bought.order, "delivered").await;
    house.deliver(&event("700.0")).await;
    let mut altered = event("24");
    altered.body = String::from_utf8(altered.body.to_vec()).unwrap().replace("24", "24.0").into();
    assert_eq!(house.post.deliver(&altered).await, 400, "other bytes");
    house.settled().await;
    assert_eq!(house.count("inbox where event_id like 'evt_s10_%' and state = 'applied'").await, 2);
    house.end().await;
}

#[tokio::test]
async fn a_label_that_nobody_wants_any_more_leaves_no_question_open() {
    let house = house::open().await;
    let late = json!({"fail": {"status": 500}});
    house
        .faults(json!([{"at": "easypost.create", "what": late, "next": 2},
                        {"at": "easypost.create", "what": {"delay": {"ms": 700}}}]))
        .await;
    let bought = house.buy("cart-unwanted").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "packaging").await;
    house.until_calls("POST", "/v2/shipments", 1).await;
    let mia = house.key(Role::Manager, "mia").await;
    assert_eq!(house.ask(&mia, bought.order, ("cancel", ""), &json!({})).await.status, 202);
    house.until_order(bought.order, "refunded").await;
    house.settled().await;
    assert_eq!(house.count("effects where name like 'label:%' and state = 'failed'").await, 1);
    assert_eq!(house.count("attempts").await, 0);
    house.end().await;
}
