//! For each invariant a violation that turns that check red and no other: a check that can't fail proves nothing.

use serde_json::{Value, json};

/// What is done to the right world, and the check that must see it.
pub(super) struct Plant {
    pub(super) check: &'static str,
    /// Run without triggers and foreign keys; constraints are dropped where they stand in the way.
    pub(super) sql: &'static str,
    /// What is done to the sandbox's truth. None: it is not compared, because most plants contradict it too.
    pub(super) truth: Option<fn(&mut Value)>,
}

const fn tables(check: &'static str, sql: &'static str) -> Plant {
    Plant { check, sql, truth: None }
}

const fn outside(check: &'static str, truth: fn(&mut Value)) -> Plant {
    Plant { check, sql: "", truth: Some(truth) }
}

fn push(truth: &mut Value, kind: &str, fact: Value) {
    truth[kind].as_array_mut().unwrap().push(fact);
}

fn drop_first(truth: &mut Value, kind: &str) {
    truth[kind].as_array_mut().unwrap().remove(0);
}

pub(super) const PLANTS: &[Plant] = &[
    tables(
        "I1",
        "alter table stock drop constraint stock_never_oversold;
         insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved)
           select sku, 'main', 'adjustment', 'lost', 1 - on_hand, 0 from stock;
         update stock set on_hand = 1",
    ),
    tables(
        "I2",
        "insert into stock_movements (sku, location, kind, reservation_id, delta_on_hand, delta_reserved)
           values ('MUG', 'main', 'reserve', u(77), 0, 1);
         update stock set reserved = reserved + 1",
    ),
    tables("I3", "update stock set on_hand = on_hand + 1"),
    tables("I3", "insert into stock (sku, location, on_hand) values ('MUG', 'attic', 5)"),
    tables(
        "I4",
        "insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved)
           values ('MUG', 'main', 'adjustment', 'a', 0, 1), ('MUG', 'main', 'adjustment', 'b', 0, -1)",
    ),
    tables("I5", "update order_items set quantity = 1, unit_minor = 2000 where order_id = u(1)"),
    tables(
        "I6",
        "insert into stock_movements (sku, location, kind, reservation_id, source, delta_on_hand, delta_reserved)
           values ('MUG', 'main', 'reserve', u(2003), 'x', 0, 2), ('MUG', 'main', 'release', u(2003), 'x', 0, -2)",
    ),
    tables("I7", "delete from jobs where kind = 'reservation-expiry'"),
    tables(
        "I8",
        "insert into reservations (id, order_id, sku, epoch, quantity, state, expires_at, max_until, max_extensions, resolved_at)
           select u(78), order_id, sku, 2, quantity, 'released', expires_at, max_until, 1, now() from reservations where id = u(2003);
         insert into stock_movements (sku, location, kind, reservation_id, delta_on_hand, delta_reserved)
           values ('MUG', 'main', 'reserve', u(78), 0, 2), ('MUG', 'main', 'release', u(78), 0, -2)",
    ),
    tables(
        "I9",
        "update reservations set state = 'active', resolved_at = null where order_id = u(6);
         delete from stock_movements where reservation_id = u(2006) and kind = 'release';
         update stock set reserved = reserved + 2",
    ),
    tables(
        "I9",
        "update reservations set state = 'committed' where order_id = u(6);
         update stock_movements set kind = 'commit', delta_on_hand = -2 where reservation_id = u(2006) and kind = 'release';
         update stock set on_hand = on_hand - 2",
    ),
    tables("I10", "select close(1, 'committed', 'commit', 2)"),
    tables(
        "I11",
        "alter table orders drop constraint orders_intent_id_key;
         update orders set intent_id = u(1002) where id = u(1)",
    ),
    tables(
        "I12",
        "insert into order_intents (id, tenant, customer_id, cart_id, fingerprint, state, order_id, payload)
           values (u(79), 'shop', 'c', 'cart', sha256('x'), 'accepted', u(80), '{}')",
    ),
    tables(
        "I12",
        "alter table order_intents drop constraint order_intents_refused;
         update order_intents set reject_code = null where state = 'rejected'",
    ),
    tables(
        "I13",
        "insert into jobs (id, kind, lane, band, payload, run_at, created_at, caused_by, relayed_at)
           values (u(81), 'order-intent', 'intents', 2, '{}', now(), now() - interval '6 min', 'test', now())",
    ),
    tables(
        "I14",
        "alter table orders drop constraint orders_totals_add_up; update orders set tax_minor = 1 where id = u(1)",
    ),
    tables("I14", "update order_items set unit_minor = 999, total_minor = 1998 where order_id = u(1)"),
    tables("I15", "update orders set status = 'on_hold', resume_to = 'pending_payment' where id = u(1)"),
    tables("I16", "update orders set status_seq = status_seq + 1 where id = u(1)"),
    tables("I16", "update order_events set seq = 7 where order_id = u(3) and seq = 6; update orders set status_seq = 7 where id = u(3)"),
    tables(
        "I17",
        "update order_events set to_status = 'confirmed' where order_id = u(3) and seq = 2;
         update order_events set from_status = 'confirmed' where order_id = u(3) and seq = 3",
    ),
    // Legal moves, which do not follow from each other: of a short way and of a long one.
    tables("I17", "update order_events set from_status = 'confirmed' where order_id = u(3) and seq = 3"),
    tables("I17", "update order_events set from_status = 'exception' where order_id = u(9) and seq = 13"),
    tables("I18", "alter table order_events disable trigger order_events_append_only"),
    tables("I18", "drop trigger orders_moved on orders"),
    tables(
        "I19",
        "drop index payments_one_primary; update payments set role = 'primary' where provider_payment_id = 'pi_2b'",
    ),
    tables(
        "I20",
        "update payments set captured_minor = 1999 where provider_payment_id = 'pi_3';
         update orders set captured_minor = 1999 where id = u(3)",
    ),
    tables(
        "I20",
        "update payments set state = 'captured', role = 'primary', captured_minor = 2000 where provider_payment_id = 'pi_1';
         update orders set captured_minor = 2000 where id = u(1);
         insert into order_exceptions (id, order_id, type, severity, detail) values (u(82), u(1), 'x', 'info', 'x')",
    ),
    // Money that came after the end: nobody was told, and none of it goes back.
    tables(
        "I21",
        "update payments set state = 'captured', captured_minor = 2000 where provider_payment_id = 'pi_6';
         update orders set captured_minor = 2000 where id = u(6)",
    ),
    tables(
        "I22",
        "update refunds set state = 'submitting', settled_at = null where order_id = u(2);
         update orders set refunded_minor = 0 where id = u(2)",
    ),
    // A bank took what had gone back, and nobody was told.
    tables("I22", "delete from order_exceptions where id = u(9002)"),
    tables(
        "I23",
        "alter table orders drop constraint orders_refunds; alter table payments drop constraint payments_refunds;
         select give_back(3, 1, 2001);
         update payments set refund_reserved_minor = 2001 where provider_payment_id = 'pi_3'",
    ),
    tables("I24", "update payments set refund_reserved_minor = 1999 where provider_payment_id = 'pi_3'"),
    tables("I24", "update orders set refunded_minor = 1 where id = u(3)"),
    tables(
        "I25",
        "select give_back(3, 1, 2000); update payments set refund_reserved_minor = 2000 where provider_payment_id = 'pi_3'",
    ),
    tables("I26", "delete from applied_signals where object_id = 'pi_3'"),
    tables(
        "I26",
        "insert into inbox (provider, event_id, type, object_id, payload, state, resolved_at)
           values ('easypost', 'evt_t4', 'tracker.updated', 'trk_3', '{}', 'applied', now())",
    ),
    tables("I27", "delete from jobs where kind = 'payment-confirmation'"),
    tables("I27", "delete from dead_letters where kind = 'payment-confirmation'"),
    tables(
        "I29",
        "drop index labels_one_live;
         insert into labels select u(83), shipment_id, order_id, parcel_no, carrier, service, 'TRK0', tracker_id, label_url, cost_minor, currency
           from labels where order_id = u(3)",
    ),
    tables(
        "I29",
        "insert into shipments (id, order_id, parcel_no, reference, provider, provider_shipment_id, state, rate_id, template, weight_g)
           values (u(84), u(6), 1, 'label:6:1:1', 'easypost', 'shp_6', 'label_purchased', 'rate_6', 'mailer', 360);
         insert into labels (id, shipment_id, order_id, parcel_no, carrier, service, tracking_code, label_url, cost_minor, currency)
           values (u(85), u(84), u(6), 1, 'USPS', 'Priority', 'TRK6', 'http://localhost/l', 609, 'USD')",
    ),
    // Goods that left for money at the door, and were done with before it came.
    tables(
        "I31",
        "update payments set provider = 'cash_on_delivery', state = 'authorized', role = 'candidate', captured_minor = 0
          where provider_payment_id = 'pi_3';
         insert into order_events (order_id, seq, from_status, to_status, actor, cause)
           values (u(3), 7, 'shipped', 'delivered', 'system', 'test'), (u(3), 8, 'delivered', 'completed', 'system', 'test');
         update orders set captured_minor = 0, status = 'completed', status_seq = 8 where id = u(3)",
    ),
    tables("I31", "delete from labels where order_id = u(3); delete from effects where name = 'label:3:1:1:buy'"),
    tables(
        "I32",
        "alter table communications drop constraint communications_kind_dedupe_key_recipient_hash_key;
         insert into communications (id, order_id, kind, dedupe_key, recipient, recipient_hash, state, message_id, sent_at)
           select u(86), order_id, kind, dedupe_key, recipient, recipient_hash, state, null, sent_at from communications where order_id = u(3)",
    ),
    tables("I33", "delete from communications where order_id = u(3); delete from effects where name = 'mail:3'"),
    tables("I33", "delete from communications where id = u(5922); delete from effects where name = 'mail:22'"),
    tables("I34", "insert into effects (name, id, request, state, job_id) values ('pay_cancel:1', u(87), '{\"payment_intent\": \"pi_1\"}', 'in_flight', u(88))"),
    tables("I34", "delete from dead_letters where kind = 'shipping-label'; delete from attempts"),
    tables(
        "I35",
        "insert into jobs (id, kind, lane, band, payload, run_at, created_at, caused_by)
           values (u(89), 'tracking', 'tracking', 2, '{}', now(), now() - interval '2 min', 'test')",
    ),
    tables("I36", "update order_exceptions set state = 'resolved', resolved_at = now() where order_id = u(4)"),
    tables("I36", "alter table orders drop constraint orders_resume; update orders set resume_to = 'fulfilled' where id = u(2)"),
    tables("I37", "update shipments set tracking_rank = 10 where id = u(7003)"),
    tables("I37", "update shipments set tracking_rank = 30 where id = u(7003)"),
    tables("I49", "insert into parcel_lines values (u(3), 1, 1, 1)"),
    tables("I31", "insert into parcel_lines values (u(3), 1, 1, 1), (u(3), 2, 1, 1)"),
    tables("I39", "update coupons set uses = 2"),
    tables(
        "I39",
        "alter table coupons drop constraint coupons_not_overdrawn; update coupons set uses = 2, max_uses = 1;
         insert into coupon_uses (order_id, code, discount_minor) values (u(1), 'TENTH', 0)",
    ),
    tables("I39", "update coupon_uses set discount_minor = 199"),
    tables("I39", "delete from coupon_uses; update coupons set uses = 0"),
    tables(
        "I39",
        "insert into coupon_uses (order_id, code, discount_minor) values (u(6), 'TENTH', 0); update coupons set uses = 2",
    ),
    tables(
        "I40",
        "insert into jobs (id, kind, lane, band, payload, run_at, caused_by, relayed_at)
           values (u(9204), 'shipping-label', 'shipping', 2, '{}', now(), 'test', now())",
    ),
    tables(
        "I40",
        "insert into attempts (job_id, no, worker, class, code, detail, duration_ms) values (u(90), 1, 'w', 'Retry', 'x', '', 5)",
    ),
    tables("I40", "delete from dead_letters where kind = 'email'"),
    tables("I41", "update orders set captured_minor = captured_minor + 1 where id = u(2)"),
    tables("I41", "update orders set captured_minor = captured_minor - 1 where id = u(2)"),
    tables(
        "I42",
        "insert into effect_evidence (name, run, receipt, provider_ref) values ('label:3:1:1:buy', 2, '{}', 'TRK33')",
    ),
    tables("I42", "insert into effect_evidence (name, run, receipt, provider_ref) values ('pay_create:pi_3', 2, '{}', 'pi_33')"),
    tables("I42", "insert into effect_evidence (name, run, receipt, provider_ref) values ('refund:2:2', 2, '{}', 're_33')"),
    tables("I43", "update effects set provider_ref = 'pi_33' where name = 'pay_create:pi_3'"),
    tables("I43", "update effects set provider_ref = 're_33' where name = 'refund:2:2'"),
    tables("I43", "update effects set provider_ref = 'TRK33' where name = 'label:3:1:1:buy'"),
    tables("I43", "update effects set provider_ref = 'msg_33@example.com' where name = 'mail:3'"),
    tables(
        "I45",
        "delete from effects where name = 'pay_cancel:6';
         update payments set state = 'requires_action' where order_id = u(6)",
    ),
    tables("I46", "update disputes set order_id = u(2), payment_id = u(3102) where provider_dispute_id = 'dp_2'"),
    tables("I47", "update payments set lost_minor = 499 where order_id = u(10)"),
    tables("I47", "update disputes set part_minor = 2001 where provider_dispute_id = 'dp_2'"),
    tables(
        "I48",
        "insert into refunds (id, order_id, payment_id, client_key, provider, amount_minor, currency, origin, actor, cause)
           values (u(9500), u(3), u(3103), 'api:k', 'stripe', 100, 'USD', 'api', 'test', 'test');
         update payments set refund_reserved_minor = 100 where id = u(3103)",
    ),
    tables("I44", "delete from jobs where kind = 'email'"),
    outside("I28-payments", |truth| drop_first(truth, "payments")),
    outside("I28-payments", |truth| truth["payments"][3]["amount_received"] = json!(1999)),
    outside("I28-payments", |truth| truth["payments"][0]["status"] = json!("succeeded")),
    outside("I28-payments", |truth| {
        push(truth, "payments", json!({"id": "pi_0", "amount": 1, "amount_received": 0, "currency": "usd", "status": "processing"}));
    }),
    outside("I28-twins", |truth| {
        let twin = truth["payments"][1]["metadata"].clone();
        truth["payments"][2]["metadata"] = twin;
    }),
    outside("I28-refunds", |truth| drop_first(truth, "refunds")),
    outside("I28-refunds", |truth| truth["refunds"][0]["amount"] = json!(1999)),
    outside("I28-refunds", |truth| truth["refunds"][0]["payment_id"] = json!("pi_2")),
    outside("I28-refunds", |truth| truth["refunds"][0]["status"] = json!("failed")),
    outside("I28-refunds", |truth| {
        let twin = truth["refunds"][0]["metadata"].clone();
        push(truth, "refunds", json!({"id": "re_0", "payment_id": "pi_2b", "amount": 2000, "currency": "usd", "status": "succeeded", "metadata": twin}));
    }),
    outside("I28-disputes", |truth| drop_first(truth, "disputes")),
    outside("I28-disputes", |truth| truth["disputes"][0]["status"] = json!("won")),
    outside("I28-disputes", |truth| {
        let other = json!({"id": "dp_3", "payment_id": "pi_3", "amount": 1, "currency": "usd", "status": "lost"});
        push(truth, "disputes", other);
    }),
    outside("I28-mails", |truth| drop_first(truth, "mails")),
    outside("I28-mails", |truth| push(truth, "mails", json!({"message_id": "msg_2@example.com"}))),
    outside("I28-mails", |truth| push(truth, "mails", json!({"message_id": null}))),
    outside("I30", |truth| drop_first(truth, "labels")),
    outside("I30", |truth| truth["labels"][0]["amount_cents"] = json!(610)),
    outside("I30", |truth| {
        push(truth, "labels", json!({"tracking_code": "TRK33", "reference": "label:3:1:1", "amount_cents": 609}));
    }),
];
