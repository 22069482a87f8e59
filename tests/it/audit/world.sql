-- A small shop in which everything is right: one order for each state that an invariant looks at.
-- Ids are numbered (u(2) is order 2), so that plants and the sandbox's truth can name them; {order 7} is an id as jobs carry it.

create function u(n integer) returns uuid immutable language sql as
  $$ select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid $$;

insert into skus (sku, name, weight_g, length_mm, width_mm, height_mm, hs_code, origin, customs_description)
  values ('MUG', 'Mug', 300, 100, 100, 100, '6912', 'NP', 'Mug');
insert into stock (sku, on_hand) values ('MUG', 100);
insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved) values ('MUG', 'main', 'receipt', 'r1', 100, 0);

-- Accepts order n: its intent, its line and its hold.
create function place(n integer, total bigint) returns void language plpgsql as $$
begin
  insert into order_intents (id, tenant, customer_id, cart_id, fingerprint, state, order_id, payload)
    values (u(1000 + n), 'shop', 'c' || n, 'cart' || n, sha256('x'), 'accepted', u(n), '{}');
  insert into orders (id, order_number, intent_id, tenant, cart_id, customer_id, customer, shipping_address, shipping_method,
      payment_provider, currency, subtotal_minor, shipping_minor, tax_minor, total_minor, status, priority, score, actor, cause, payable_until)
    values (u(n), 'OF-' || n, u(1000 + n), 'shop', 'cart' || n, 'c' || n, '{}', '{}', 'standard', 'stripe', 'USD',
      total, 0, 0, total, 'pending_payment', 'normal', 0, 'system', 'test', now() + interval '1 hour');
  insert into order_items (order_id, line_no, sku, name, quantity, unit_minor, total_minor, weight_g)
    values (u(n), 1, 'MUG', 'Mug', 2, total / 2, total, 300);
  insert into reservations (id, order_id, sku, quantity, state, expires_at, max_until, max_extensions)
    values (u(2000 + n), u(n), 'MUG', 2, 'active', now() + interval '15 min', now() + interval '30 min', 1);
  insert into stock_movements (sku, location, kind, reservation_id, delta_on_hand, delta_reserved)
    values ('MUG', 'main', 'reserve', u(2000 + n), 0, 2);
  update stock set reserved = reserved + 2;
end $$;

-- Ends order n's hold.
create function close(n integer, how text, movement text, sold bigint) returns void language plpgsql as $$
begin
  update reservations set state = how, resolved_at = now() where order_id = u(n);
  insert into stock_movements (sku, location, kind, reservation_id, delta_on_hand, delta_reserved)
    values ('MUG', 'main', movement, u(2000 + n), -sold, -2);
  update stock set reserved = reserved - 2, on_hand = on_hand - sold;
end $$;

-- Opens a payment of order n at the provider.
create function open_payment(n integer, attempt integer, provider_id text) returns void language plpgsql as $$
begin
  insert into payments (id, order_id, attempt_no, provider, provider_payment_id, amount_minor, currency, state, opened_at)
    values (u(3000 + 100 * attempt + n), u(n), attempt, 'stripe', provider_id, 2000, 'USD', 'pending', now());
  insert into effects (name, id, request, state, job_id, receipt, provider_ref, settled_at)
    values ('pay_create:' || provider_id, u(4000 + 100 * attempt + n), '{}', 'done', u(9999), '{}', provider_id, now());
end $$;

-- Captures it.
create function capture(n integer, attempt integer, as_role text) returns void language plpgsql as $$
declare paid payments;
begin
  update payments set state = 'captured', captured_minor = 2000, role = as_role, settled_at = now()
   where order_id = u(n) and attempt_no = attempt returning * into paid;
  update orders set captured_minor = captured_minor + 2000 where id = u(n);
  insert into inbox (provider, event_id, type, object_id, payload, state, resolved_at)
    values ('stripe', 'evt_' || paid.provider_payment_id, 'payment_intent.succeeded', paid.provider_payment_id, '{}', 'applied', now());
  insert into applied_signals (provider, object_id, signal, amount_minor, event_id)
    values ('stripe', paid.provider_payment_id, 'captured', 2000, 'evt_' || paid.provider_payment_id);
end $$;

-- Tells order n's customer something.
create function told(n integer, what text, to_state text) returns void language plpgsql as $$
begin
  insert into communications (id, order_id, kind, dedupe_key, recipient, recipient_hash, state, message_id, sent_at)
    values (u(5000 + n), u(n), what, 'order:' || n, 'a@example.com', sha256('x'), to_state,
            case when to_state <> 'queued' then 'msg_' || n || '@example.com' end, case when to_state = 'sent' then now() end);
  insert into effects (name, id, request, state, job_id, receipt, provider_ref, settled_at)
    select 'mail:' || n, u(6000 + n), '{}', 'done', u(9999), '{}', 'msg_' || n || '@example.com', now() where to_state = 'sent';
end $$;

-- Moves order n step by step.
create function walk(n integer, variadic way text[]) returns void language plpgsql as $$
declare step text;
begin
  foreach step in array way loop update orders set status = step where id = u(n); end loop;
end $$;

-- Buys order n's label.
create function label(n integer) returns void language plpgsql as $$
begin
  insert into shipments (id, order_id, parcel_no, reference, provider, provider_shipment_id, state, rate_id, template, weight_g)
    values (u(7000 + n), u(n), 1, 'label:' || n || ':1:1', 'easypost', 'shp_' || n, 'label_purchased', 'rate_' || n, 'mailer', 360);
  insert into labels (id, shipment_id, order_id, parcel_no, carrier, service, tracking_code, label_url, cost_minor, currency)
    values (u(8000 + n), u(7000 + n), u(n), 1, 'USPS', 'Priority', 'TRK' || n, 'http://localhost/l', 609, 'USD');
  insert into effects (name, id, request, state, job_id, receipt, provider_ref, settled_at)
    values ('label:' || n || ':1:1:buy', u(8500 + n), '{}', 'done', u(9999), '{}', 'TRK' || n, now());
end $$;

-- Gives part of order n's payment back, and tells the customer.
create function give_back(n integer, attempt integer, amount bigint) returns void language plpgsql as $$
declare paid payments; refund uuid := u(6500 + 100 * attempt + n);
begin
  select * into paid from payments where order_id = u(n) and attempt_no = attempt;
  insert into refunds (id, order_id, payment_id, client_key, provider, amount_minor, currency, state, origin, actor, cause)
    values (refund, u(n), paid.id, 'surplus:' || attempt, 'stripe', amount, 'USD', 'requested', 'surplus', 'system', 'test');
  update refunds set state = 'submitting' where id = refund;
  update refunds set state = 'succeeded', settled_at = now(), provider_refund_id = 're_' || paid.provider_payment_id where id = refund;
  update orders set refunded_minor = refunded_minor + amount where id = u(n);
  insert into effects (name, id, request, state, job_id, receipt, provider_ref, settled_at)
    values ('refund:' || n || ':' || attempt, u(6700 + 100 * attempt + n), '{}', 'done', u(9999), '{}', 're_' || paid.provider_payment_id, now());
  insert into communications (id, order_id, kind, dedupe_key, recipient, recipient_hash, state, message_id, sent_at)
    values (u(5900 + 10 * n + attempt), u(n), 'refund_confirmation', 'refund:' || refund, 'a@example.com', sha256('x'), 'sent', 'msg_' || n || attempt || '@example.com', now());
  insert into effects (name, id, request, state, job_id, receipt, provider_ref, settled_at)
    values ('mail:' || n || attempt, u(6900 + 10 * n + attempt), '{}', 'done', u(9999), '{}', 'msg_' || n || attempt || '@example.com', now());
end $$;

-- 1 awaits its money.
select place(1, 2000), open_payment(1, 1, 'pi_1');

-- 2 is packed, and was paid three times: what was too much went back. The third a bank took as well, and a person was told.
select place(2, 2000), open_payment(2, 1, 'pi_2'), open_payment(2, 2, 'pi_2b'), open_payment(2, 3, 'pi_2c');
select capture(2, 1, 'primary'), close(2, 'committed', 'commit', 2), told(2, 'order_confirmation', 'sent');
select walk(2, 'payment_confirmed', 'processing', 'packaging'), label(2), walk(2, 'fulfilled');
select capture(2, 2, 'surplus'), give_back(2, 2, 2000), capture(2, 3, 'surplus'), give_back(2, 3, 2000);
insert into disputes (id, order_id, payment_id, provider, provider_dispute_id, amount_minor, currency, part_minor, state, closed_at)
  values (u(9403), u(2), u(3302), 'stripe', 'dp_3', 2000, 'USD', 2000, 'lost', now());
insert into order_exceptions (id, order_id, type, severity, detail) values (u(9002), u(2), 'dispute_lost', 'critical', '');
update order_exceptions set state = 'resolved', resolved_at = now() where id = u(9002);

-- 3 is on its way.
select place(3, 2000), open_payment(3, 1, 'pi_3'), capture(3, 1, 'primary');
select close(3, 'committed', 'commit', 2), told(3, 'order_confirmation', 'sent');
select walk(3, 'payment_confirmed', 'processing', 'packaging'), label(3), walk(3, 'fulfilled', 'shipped');
insert into tracking_events (provider, event_id, shipment_id, status, rank) values ('easypost', 'evt_t3', u(7003), 'in_transit', 20);
update shipments set tracking_status = 'in_transit', tracking_rank = 20 where id = u(7003);
insert into inbox (provider, event_id, type, object_id, payload, state, resolved_at)
  values ('easypost', 'evt_t3', 'tracker.updated', 'trk_3', '{}', 'applied', now());

-- 4 could not be labelled, and its confirmation could not be sent: both are buried.
select place(4, 2000), open_payment(4, 1, 'pi_4'), capture(4, 1, 'primary');
select close(4, 'committed', 'commit', 2), told(4, 'order_confirmation', 'failed');
select walk(4, 'payment_confirmed', 'processing', 'packaging');
update orders set status = 'exception', resume_to = 'packaging' where id = u(4);
insert into order_exceptions (id, order_id, type, severity, detail) values (u(9004), u(4), 'label_not_bought', 'critical', 'no rate');
insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by) values
  (u(9104), u(9204), 'shipping-label', 'shipping', 2, '{}', 12, 'no_rate', '', '', 'test'),
  (u(9114), u(9214), 'email', 'mail', 2, '{"communication": "{notice 5004}"}', 15, 'refused', '', '', 'test');
insert into attempts (job_id, no, worker, class, code, detail, duration_ms) values (u(9204), 12, 'w', 'Permanent', 'no_rate', '', 5);
insert into effects (name, id, request, state, job_id) values ('label:4:1:1:create', u(9304), '{}', 'unknown', u(9204));

-- 5 cost nothing; its confirmation is on its way.
select place(5, 0), close(5, 'committed', 'commit', 2), told(5, 'order_confirmation', 'queued'), walk(5, 'payment_confirmed');
insert into jobs (id, kind, lane, band, payload, run_at, caused_by, relayed_at)
  values (u(9205), 'email', 'mail', 2, '{"communication": "{notice 5005}"}', now(), 'test', now());

-- 6 was cancelled, and its payment's cancellation was overtaken by the provider's own.
select place(6, 2000), open_payment(6, 1, 'pi_6'), close(6, 'released', 'release', 0);
update orders set status = 'cancelled', cancel_reason = 'customer' where id = u(6);
update payments set state = 'cancelled' where order_id = u(6);
insert into effects (name, id, request, state, job_id) values ('pay_cancel:6', u(9306), '{"payment_intent": "pi_6"}', 'in_flight', u(9206));

-- 7's time is over, and its job is about to see to it.
select place(7, 2000);
update reservations set expires_at = now() - interval '10 min' where order_id = u(7);
insert into jobs (id, kind, lane, band, payload, run_at, caused_by, relayed_at)
  values (u(9207), 'reservation-expiry', 'expiry', 2, '{"order": "{order 7}", "epoch": 1}', now(), 'test', now());

-- 8 awaits its money too: a tenth less, by a coupon that can be used once more.
select place(8, 2000);
insert into coupons (code, basis_points, max_uses) values ('TENTH', 1000, 2);
insert into coupon_uses (order_id, code, discount_minor) values (u(8), 'TENTH', 200);
update orders set discount_minor = 200, total_minor = 1800 where id = u(8);

-- 9 was held back and taken up again six times: a way that is longer than most.
select place(9, 2000);
do $$ begin
  for turn in 1..6 loop
    update orders set status = 'on_hold', resume_to = 'pending_payment' where id = u(9);
    update orders set status = 'pending_payment', resume_to = null where id = u(9);
  end loop;
end $$;

-- 10 is paid and waits: a bank took a quarter of it for good, and wants the rest.
select place(10, 2000), open_payment(10, 1, 'pi_10'), capture(10, 1, 'primary');
select close(10, 'committed', 'commit', 2), told(10, 'order_confirmation', 'sent'), walk(10, 'payment_confirmed');
update orders set status = 'on_hold', resume_to = 'payment_confirmed' where id = u(10);
insert into disputes (id, order_id, payment_id, provider, provider_dispute_id, amount_minor, currency, part_minor, state, closed_at)
  select u(9400 + n), u(10), u(3110), 'stripe', 'dp_' || n, part, 'USD', part, state, closed
    from (values (1, 500, 'lost', now()), (2, 1500, 'open', null)) as d (n, part, state, closed);
insert into order_exceptions (id, order_id, type, severity, detail) values
  (u(9010), u(10), 'dispute_lost', 'critical', ''), (u(9020), u(10), 'disputed', 'critical', '');

-- A wish that could not be fulfilled, an event that came too early, and one that nobody could read.
insert into order_intents (id, tenant, customer_id, cart_id, fingerprint, state, reject_code, payload)
  values (u(1100), 'shop', 'c', 'cart', sha256('x'), 'rejected', 'insufficient_stock', '{}');
insert into inbox (provider, event_id, type, object_id, payload, state, received_at) values
  ('stripe', 'evt_early', 'payment_intent.succeeded', 'pi_9', '{}', 'parked', now() - interval '10 min'),
  ('stripe', 'evt_odd', 'payment_intent.succeeded', 'pi_8', '{}', 'failed', now() - interval '10 min');
insert into jobs (id, kind, lane, band, payload, run_at, caused_by, relayed_at)
  values (u(9208), 'payment-confirmation', 'payments-in', 1, '{"provider": "stripe", "event_id": "evt_early"}', now(), 'test', now());
insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by)
  values (u(9109), u(9209), 'payment-confirmation', 'payments-in', 1, '{"provider": "stripe", "event_id": "evt_odd"}', 1, 'x', '', '', 'test');
