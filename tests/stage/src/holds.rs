//! Orders that hold a piece each and that nobody pays, so that their holds run out together.
//!
//! They are written straight into the tables, as the worker that accepts orders would have left them, because no front
//! door makes ten thousand orders that end in one second. No payment of theirs is known to the provider.

use crate::fleet::Fleet;
use crate::sql::PUBLIC_ID;

/// Every other hold is of the first article, as after a flash sale; the others are spread over the rest.
const ARTICLES: u32 = 1_000;

impl Fleet {
    /// Inserts so many orders whose holds end within one second, which begins so many seconds from now. Their jobs are
    /// rows that workers relay.
    pub async fn insert_holds(&self, count: u32, due_in: u32) {
        let statement = format!(
            "{PUBLIC_ID}
             insert into skus (sku, name, weight_g, length_mm, width_mm, height_mm, hs_code, origin, customs_description)
               select 'HELD-' || lpad(n::text, 4, '0'), 'Suit', 400, 300, 200, 30, '6203.11', 'US', 'suit' from generate_series(0, {ARTICLES} - 1) n;
             insert into prices (sku, currency, unit_minor)
               select 'HELD-' || lpad(n::text, 4, '0'), 'USD', 12900 from generate_series(0, {ARTICLES} - 1) n;
             create temporary table held as
               select n, gen_random_uuid() as id, gen_random_uuid() as intent, gen_random_uuid() as hold,
                      'HELD-' || lpad((case when n % 2 = 0 then 0 else n / 2 % {ARTICLES} end)::text, 4, '0') as sku,
                      now() + {due_in} * interval '1 s' + n * interval '1 s' / {count} as due
                 from generate_series(0, {count} - 1) n;
             insert into order_intents (id, tenant, customer_id, cart_id, fingerprint, state, order_id, payload)
               select intent, 'shop', 'held-' || n, 'held-' || n, sha256('held'), 'accepted', id, '{{}}' from held;
             insert into orders (id, order_number, intent_id, tenant, cart_id, customer_id, customer, shipping_address,
                 shipping_method, payment_provider, currency, subtotal_minor, shipping_minor, tax_minor, total_minor, status,
                 priority, score, actor, cause, payable_until)
               select id, 'HELD-' || n, intent, 'shop', 'held-' || n, 'held-' || n,
                      jsonb_build_object('id', 'held-' || n, 'email', 'buyer' || n || '@example.com', 'name', 'A Buyer'),
                      '{{}}', 'standard', 'stripe', 'USD', 12900, 900, 0, 13800, 'pending_payment', 'normal', 0, 'system',
                      'proof', now() + interval '1 day' from held;
             insert into order_items (order_id, line_no, sku, name, quantity, unit_minor, total_minor, weight_g)
               select id, 1, sku, 'Suit', 1, 12900, 12900, 400 from held;
             insert into stock (sku, on_hand, reserved)
               select sku, 1000000, count(*) from held group by sku;
             insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved)
               select sku, 'main', 'receipt', 'proof', on_hand, 0 from stock where sku like 'HELD-%';
             insert into reservations (id, order_id, sku, quantity, state, expires_at, max_until, max_extensions)
               select hold, id, sku, 1, 'active', due, due + interval '15 min', 1 from held;
             insert into stock_movements (sku, location, kind, reservation_id, delta_on_hand, delta_reserved)
               select sku, 'main', 'reserve', hold, 0, 1 from held;
             insert into jobs (id, kind, lane, band, payload, run_at, due_at, dedupe_key, caused_by)
               select gen_random_uuid(), 'reservation-expiry', 'expiry', 2,
                      jsonb_build_object('order', public_id('ord', id), 'epoch', 1), due, due,
                      'hold:' || public_id('ord', id) || ':1', 'proof' from held;
             select count(*) from held"
        );
        assert_eq!(self.count(&statement).await, i64::from(count), "every hold was made");
    }
}
