-- Orders {first} to {last} of a shop with a history, written straight into the tables as the fleet would have left them: what
-- became of an order follows from its number. Run without triggers and foreign keys; the audit is the judge of it.

-- Of a hundred orders: 70 completed, 8 on their way, 2 in work, 8 never paid and called off, 3 called off by their customers,
-- 4 paid, called off and refunded, 2 refunded in part, 1 that a person must look at, 1 held, 1 whose hold is over.
create temporary table h on commit drop as
  select n, at, fate, history_id(at, 1, n) as id, history_id(at, 2, n) as intent, history_id(at, 3, n) as payment,
         history_id(at, 4, n) as refund, history_id(at, 5, n) as shipment, history_id(at, 6, n) as dead_job,
         fate in ('completed', 'shipped', 'processing', 'refunded', 'partly', 'exception') as paid,
         fate in ('completed', 'shipped', 'partly') as labelled,
         case when fate in ('completed', 'partly')
                then array['pending_payment', 'payment_confirmed', 'processing', 'packaging', 'shipped', 'out_for_delivery', 'delivered', 'completed']
              when fate = 'shipped' then array['pending_payment', 'payment_confirmed', 'processing', 'packaging', 'shipped']
              when fate = 'processing' then array['pending_payment', 'payment_confirmed', 'processing']
              when fate = 'refunded' then array['pending_payment', 'payment_confirmed', 'processing', 'refunded']
              when fate = 'exception' then array['pending_payment', 'payment_confirmed', 'processing', 'packaging', 'exception']
              when fate in ('lapsed', 'called_off') then array['pending_payment', 'cancelled']
              else array['pending_payment'] end as way
    from (select n, now() - interval '400 days' + n * interval '30 s' as at,
                 case when n % 100 < 70 then 'completed' when n % 100 < 78 then 'shipped' when n % 100 < 80 then 'processing'
                      when n % 100 < 88 then 'lapsed' when n % 100 < 91 then 'called_off' when n % 100 < 95 then 'refunded'
                      when n % 100 < 97 then 'partly' when n % 100 < 98 then 'exception' when n % 100 < 99 then 'held'
                      else 'expired' end as fate
            from generate_series({first}::bigint, {last}::bigint) as n) as fates;

-- Every other order has two lines.
create temporary table l on commit drop as
  select h.n, h.id, h.at, h.fate, h.paid, line, 'HISTORY-' || lpad(((h.n * 7919 + line) % {articles})::text, 4, '0') as sku,
         case line when 1 then 1 + h.n % 3 else 1 end as quantity, 1000 + (h.n % 50) * 100 as unit,
         history_id(h.at, 16 + line, h.n) as hold,
         case when h.fate = 'refunded' then 'restocked' when h.paid then 'committed' when h.fate = 'held' then 'active'
              when h.fate = 'called_off' then 'released' else 'expired' end as hold_state
    from h cross join generate_series(1, 2) as line where line = 1 or h.n % 2 = 1;
create temporary table t on commit drop as
  select id, sum(quantity * unit)::bigint as subtotal, sum(quantity * unit)::bigint + 900 as total from l group by id;
analyze h; analyze l; analyze t;

insert into order_intents (id, tenant, customer_id, cart_id, fingerprint, state, order_id, payload, created_at)
  select intent, 'shop', 'cus_' || n % 200000, 'cart_' || n, sha256(int8send(n)), 'accepted', id,
         jsonb_build_object('cart_id', 'cart_' || n, 'currency', 'USD', 'shipping_method', 'standard', 'customer', jsonb_build_object(
             'id', 'cus_' || n % 200000, 'email', 'buyer' || n || '@example.com', 'name', 'A Buyer')), at from h;
insert into order_intents (id, tenant, customer_id, cart_id, fingerprint, state, reject_code, payload, created_at)
  select history_id(at, 7, n), 'shop', 'cus_' || n % 200000, 'refused_' || n, sha256(int8send(n)), 'rejected',
         'insufficient_stock', '{}', at from h where n % 10 = 0;

insert into orders (id, order_number, intent_id, tenant, cart_id, customer_id, customer, shipping_address, shipping_method,
    payment_provider, currency, subtotal_minor, shipping_minor, tax_minor, total_minor, captured_minor, refunded_minor, status,
    resume_to, cancel_reason, priority, score, version, status_seq, actor, cause, created_at, updated_at, payable_until)
  select h.id, 'H-' || n, intent, 'shop', 'cart_' || n, 'cus_' || n % 200000,
         jsonb_build_object('id', 'cus_' || n % 200000, 'email', 'buyer' || n || '@example.com', 'name', 'A Buyer'),
         '{"name": "A Buyer", "address_line1": "388 Townsend St", "city": "San Francisco", "state": "CA", "postal_code": "94107", "country": "US"}',
         'standard', 'stripe', 'USD', subtotal, 900, 0, total, case when paid then total else 0 end,
         case fate when 'refunded' then total when 'partly' then 500 else 0 end, way[cardinality(way)],
         case fate when 'exception' then 'packaging' end,
         case fate when 'lapsed' then 'expired' when 'called_off' then 'customer' when 'refunded' then 'customer' end,
         'normal', 0, cardinality(way), cardinality(way), 'system', 'history', at, at + interval '9 days',
         case fate when 'held' then now() + interval '1 day' when 'expired' then now() + interval '12 hours' else at + interval '1 day' end
    from h join t on t.id = h.id;
insert into order_items (order_id, line_no, sku, name, quantity, unit_minor, total_minor, weight_g)
  select id, line, sku, 'Suit', quantity, unit, quantity * unit, 400 from l;
insert into order_events (order_id, seq, from_status, to_status, actor, cause, at)
  select id, seq, way[seq - 1], way[seq], 'system', 'history', at + seq * interval '1 hour'
    from h cross join generate_series(1, 8) as seq where seq <= cardinality(way);

insert into reservations (id, order_id, sku, quantity, state, expires_at, max_until, max_extensions, resolved_at, created_at)
  select hold, id, sku, quantity, hold_state, due, due + interval '15 min', 1, case when hold_state <> 'active' then due end, at
    from l cross join lateral (select case fate when 'held' then now() + interval '12 hours' else at + interval '15 min' end as due) as d;
insert into stock_movements (sku, location, kind, reservation_id, source, delta_on_hand, delta_reserved, at)
  select sku, 'main', kind, hold, source, on_hand, reserved, at from l
    cross join lateral (
      select 'reserve' as kind, '' as source, 0 as on_hand, quantity as reserved
      union all select 'commit', '', -quantity, -quantity where hold_state in ('committed', 'restocked')
      union all select 'release', '', 0, -quantity where hold_state = 'released'
      union all select 'expire', '', 0, -quantity where hold_state = 'expired'
      union all select 'restock', 'cancel', quantity, 0 where hold_state = 'restocked') as m;

insert into payments (id, order_id, attempt_no, provider, provider_payment_id, amount_minor, currency, state, captured_minor,
    refund_reserved_minor, role, created_at, opened_at, settled_at)
  select payment, h.id, 1, 'stripe', 'pi_history_' || n, total, 'USD',
         case when paid then 'captured' when fate = 'held' then 'pending' else 'cancelled' end, case when paid then total else 0 end,
         case fate when 'refunded' then total when 'partly' then 500 else 0 end, case when paid then 'primary' else 'candidate' end,
         at, at, case when fate <> 'held' then at end
    from h join t on t.id = h.id;
insert into inbox (provider, event_id, type, object_id, payload, state, received_at, resolved_at)
  select 'stripe', 'evt_history_' || n, 'payment_intent.' || case when paid then 'succeeded' else 'canceled' end, 'pi_history_' || n,
         jsonb_build_object('id', 'evt_history_' || n, 'type', 'payment_intent', 'object', jsonb_build_object('id', 'pi_history_' || n)),
         'applied', at, at from h where fate <> 'held';
insert into applied_signals (provider, object_id, signal, amount_minor, event_id, at)
  select 'stripe', 'pi_history_' || n, case when paid then 'captured' else 'cancelled' end, case when paid then total else 0 end,
         'evt_history_' || n, at from h join t on t.id = h.id where fate <> 'held';
insert into refunds (id, order_id, payment_id, client_key, provider, provider_refund_id, amount_minor, currency, state, origin,
    actor, cause, created_at, settled_at)
  select refund, h.id, payment, case fate when 'refunded' then 'cancel:' else 'api:' end || n, 'stripe', 're_history_' || n,
         case fate when 'refunded' then total else 500 end, 'USD', 'succeeded', case fate when 'refunded' then 'cancel' else 'api' end,
         'system', 'history', at, at from h join t on t.id = h.id where fate in ('refunded', 'partly');

insert into shipments (id, order_id, parcel_no, reference, provider, provider_shipment_id, state, rate_id, template, weight_g,
    tracking_status, tracking_rank, created_at)
  select shipment, id, 1, 'label:' || id || ':1:1', 'easypost', 'shp_history_' || n, 'label_purchased', 'rate_' || n, 'mailer', 460,
         case fate when 'shipped' then 'in_transit' else 'delivered' end, case fate when 'shipped' then 20 else 40 end, at
    from h where labelled;
insert into labels (id, shipment_id, order_id, parcel_no, carrier, service, tracking_code, tracker_id, label_url, cost_minor,
    currency, purchased_at)
  select history_id(at, 8, n), shipment, id, 1, 'USPS', 'Priority', 'TRKHISTORY' || n, 'trk_history_' || n,
         'https://example.com/labels/' || n, 609, 'USD', at from h where labelled;
create temporary table scans on commit drop as
  select n, shipment, at, rank, 'evt_history_' || n || '_' || rank as event_id,
         case rank when 20 then 'in_transit' when 30 then 'out_for_delivery' else 'delivered' end as status
    from h cross join unnest(array[20, 30, 40]) as rank where labelled and (rank = 20 or fate <> 'shipped');
insert into tracking_events (provider, event_id, shipment_id, status, rank, occurred_at, received_at)
  select 'easypost', event_id, shipment, status, rank, at, at from scans;
insert into inbox (provider, event_id, type, object_id, payload, state, received_at, resolved_at)
  select 'easypost', event_id, 'tracker.updated', 'trk_history_' || n,
         jsonb_build_object('id', event_id, 'status', status, 'tracker', 'trk_history_' || n), 'applied', at, at from scans;

create temporary table told on commit drop as
  select history_id(at, 32 + which, n) as id, h.id as order_id, n, at, kind,
         case kind when 'reservation_expired' then 'order:' || h.id || ':hold:1' when 'refund_confirmation' then 'refund:' || refund
                   else 'order:' || h.id end as dedupe_key
    from h cross join lateral (
      select 1 as which, 'order_confirmation' as kind where paid
      union all select 2, 'shipping_notification' where labelled
      union all select 3, 'reservation_expired' where fate in ('lapsed', 'expired')
      union all select 4, 'cancellation' where fate in ('called_off', 'lapsed')
      union all select 5, 'refund_confirmation' where fate in ('refunded', 'partly')) as notices;
insert into communications (id, order_id, kind, dedupe_key, recipient, recipient_hash, state, message_id, created_at, sent_at)
  select id, order_id, kind, dedupe_key, 'buyer' || n || '@example.com', sha256(int8send(n)), 'sent', id || '@orders.example.com', at, at
    from told;

insert into effects (name, id, request, state, job_id, receipt, provider_ref, created_at, settled_at)
  select name, history_id(at, 48 + kind, n), request, 'done', history_id(at, 64 + kind, n), jsonb_build_object('id', ref), ref, at, at
    from (
      select 'pay_create:' || payment as name, 0 as kind, n, at, 'pi_history_' || n as ref,
             jsonb_build_object('amount', n % 100000, 'currency', 'usd', 'metadata', jsonb_build_object('payment_id', payment)) as request
        from h
      union all
      select 'label:' || id || ':1:1:' || step, case step when 'create' then 1 else 2 end, n, at,
             case step when 'create' then 'shp_history_' else 'TRKHISTORY' end || n,
             jsonb_build_object('reference', 'label:' || id || ':1:1', 'rate', 'rate_' || n)
        from h cross join unnest(array['create', 'buy']) as step where labelled
      union all
      select 'refund:' || refund, 3, n, at, 're_history_' || n, jsonb_build_object('payment_intent', 'pi_history_' || n)
        from h where fate in ('refunded', 'partly')
      union all
      select 'mail:' || id, 3 + ('x' || substr(id::text, 17, 2))::bit(8)::integer, n, at, id || '@orders.example.com',
             jsonb_build_object('kind', kind, 'message_id', id || '@orders.example.com')
        from told) as done;

-- What a person must look at: no label could be bought, and the job that tried is buried.
insert into order_exceptions (id, order_id, type, severity, detail, opened_at)
  select history_id(at, 9, n), id, 'label_not_bought', 'critical', 'no rate', at from h where fate = 'exception';
insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by, died_at)
  select history_id(at, 10, n), dead_job, 'shipping-label', 'shipping', 2, '{}', 12, 'no_rate', '', '', 'history', at
    from h where fate = 'exception';
insert into attempts (job_id, no, worker, class, code, detail, duration_ms, at)
  select dead_job, 12, 'history', 'Permanent', 'no_rate', '', 5, at from h where fate = 'exception';
insert into effects (name, id, request, state, job_id, created_at)
  select 'label:' || id || ':1:1:create', history_id(at, 49, n), '{}', 'unknown', dead_job, at from h where fate = 'exception';

-- What is still to come: the ends of holds, and of orders that can be paid again.
insert into jobs (id, kind, lane, band, payload, run_at, due_at, dedupe_key, caused_by, created_at)
  select history_id(at, 11, n), case fate when 'held' then 'reservation-expiry' else 'order-lapse' end, 'expiry', 2,
         jsonb_build_object('order', public_id('ord', id)) || case fate when 'held' then '{"epoch": 1}' else '{}' end::jsonb,
         now() + interval '12 hours', now() + interval '12 hours',
         case fate when 'held' then 'hold:' || public_id('ord', id) || ':1' else 'order-lapse:' || public_id('ord', id) end, 'history', at
    from h where fate in ('held', 'expired');
