//! Money through providers that are known by their settings alone: by a signed webhook, by asking, or by hand.

use orderfleet::auth::Role;
use orderfleet::config::{PaymentProviderSettings, Settings, Sources, load};
use orderfleet::ids::OrderId;
use serde_json::{Value, json};

use crate::house::{self, House, wish};

/// How `wallet` signs.
const SECRET: &str = "of a wallet";

/// A provider that signs its bodies, and where it is asked.
pub(crate) fn provider(more: &str) -> PaymentProviderSettings {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let usual = "[payment_providers.wallet]\nsignature.secrets = [\"of a wallet\"]\nevent.id = \"/id\"\n\
                 event.failed = [\"FAILED\"]\nevent.currency = \"/currency\"\n";
    write!(file, "{usual}{more}").unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    load(&sources).unwrap().payment_providers.remove("wallet").unwrap()
}

fn with_wallet(settings: &mut Settings) {
    settings.payment_providers.insert("wallet".to_owned(), provider(""));
}

/// The sandbox's wallet: its page, its time in a header, and its word only an occasion to ask.
pub(crate) fn with_sandbox(settings: &mut Settings) {
    let wallet = provider(
        "confirm_by = \"status\"\nsignature.signs = \"{timestamp}.{body}\"\nsignature.timestamp = \"header:x-timestamp\"\n\
         page.url = \"http://sandbox.invalid/wallet/pay?reference={reference}&amount={amount}&currency={currency}\"\n\
         status.url = \"http://sandbox.invalid/wallet/status/{reference}\"\nstatus.failed = [\"FAILED\"]\n\
         status.currency = \"/currency\"\n",
    );
    settings.payment_providers.insert("wallet".to_owned(), wallet);
}

/// A wish that is paid so.
fn paid_by(name: &str, cart: &str) -> Value {
    let mut wish = wish(cart, "SUIT", 1);
    wish["payment_provider"] = json!(name);
    wish
}

/// An order that is paid at the sandbox's wallet, and shipped.
pub(crate) async fn paid_at_the_wallet(house: &House, cart: &str) {
    let bought = buy(house, "wallet", cart).await;
    house.visit(&bought["payment_page"], "paid").await;
    house.until_order(order(&bought), "shipped").await;
}

/// An order that can be paid: the answer.
async fn buy(house: &House, name: &str, cart: &str) -> Value {
    let answer = house.place(&paid_by(name, cart), &format!("key-{cart}"), true).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

fn reference(bought: &Value) -> String {
    bought["payment_intent_id"].as_str().unwrap_or_else(|| panic!("no reference: {bought}")).to_owned()
}

fn order(bought: &Value) -> OrderId {
    bought["order_id"].as_str().unwrap().parse().unwrap()
}

fn event(id: &str, reference: &str, status: &str, amount: &str, currency: &str) -> Value {
    json!({"id": id, "reference": reference, "status": status, "amount": amount, "currency": currency})
}

/// The order's version, as staff sees it.
async fn version(house: &House, order: OrderId) -> i64 {
    let sql = format!("select version from orders where id = '{}'", order.uuid());
    house.value(&sql).await.as_i64().unwrap()
}

/// What the order costs, as the provider writes it.
fn total(bought: &Value) -> String {
    let minor = bought["amount_cents"].as_i64().unwrap();
    format!("{}.{:02}", minor / 100, minor % 100)
}

#[tokio::test]
async fn a_signed_webhook_pays_an_order_and_twenty_of_it_pay_it_once() {
    let house = house::plan().set(with_wallet).open().await;
    let bought = buy(&house, "wallet", "cart-wallet").await;
    assert_eq!(bought["status"], "reserved");
    let paid = event("evt-1", &reference(&bought), "SUCCESS", &total(&bought), "usd");
    futures::future::join_all((0..20).map(|_| house.wallet_says(SECRET, &paid))).await;
    house.until(bought["intent_id"].as_str().unwrap().parse().unwrap(), "paid").await;
    // Told by another event, and once more after everything has settled.
    house.settled().await;
    house.wallet_says(SECRET, &paid).await;
    house.wallet_says(SECRET, &event("evt-2", &reference(&bought), "SUCCESS", &total(&bought), "USD")).await;
    house.settled().await;
    assert_eq!(
        house.count("payments where state = 'captured' and role = 'primary' and provider = 'wallet'").await,
        1
    );
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 1);
    assert_eq!(house.count("inbox where provider = 'wallet' and state = 'applied'").await, 2);
    assert_eq!(house.calls("POST", "/v1/payment_intents").await, 0, "Stripe was never asked");
    house.end_with_forged().await;
}

#[tokio::test]
async fn another_amount_confirms_nothing_and_another_provider_s_payment_is_nobody_s() {
    let house = house::plan().set(with_wallet).open().await;
    let (wallet, stripe) = (buy(&house, "wallet", "cart-short").await, house.buy("cart-stripe").await);
    house.wallet_says(SECRET, &event("evt-3", &stripe.payment, "SUCCESS", "129.00", "USD")).await;
    house.wallet_says(SECRET, &event("evt-4", &reference(&wallet), "SUCCESS", "0.01", "USD")).await;
    house.until_order(order(&wallet), "exception").await;
    assert_eq!(house.count("order_exceptions where type = 'amount_mismatch'").await, 1);
    // The money has to go back, and nobody can be asked for that but a person.
    house.until_count("order_exceptions where type = 'refund_by_hand'", 1).await;
    assert_eq!(house.timeline(stripe.order).await.status, "pending_payment", "a wallet can not pay it");
    house.until_count("inbox where event_id = 'evt-3' and state = 'parked'", 1).await;
    house.execute("delete from jobs where kind = 'payment-confirmation'").await.unwrap();
    house
        .execute("update inbox set state = 'ignored', resolved_at = now() where event_id = 'evt-3'")
        .await
        .unwrap();
    house.end_with_forged().await;
}

#[tokio::test]
async fn a_word_that_it_failed_frees_the_pieces_and_late_money_takes_them_again() {
    let house = house::plan().set(with_wallet).open().await;
    let bought = buy(&house, "wallet", "cart-failed").await;
    let intent = bought["intent_id"].as_str().unwrap().parse().unwrap();
    house.wallet_says(SECRET, &event("evt-5", &reference(&bought), "FAILED", "0", "USD")).await;
    let expired = house.until(intent, "expired").await;
    assert_eq!(expired["payment_page"], json!(null));
    house.wallet_says(SECRET, &event("evt-6", &reference(&bought), "SUCCESS", &total(&bought), "USD")).await;
    house.until(intent, "paid").await;
    house.end_with_forged().await;
}

#[tokio::test]
async fn a_hold_that_is_over_lets_the_payment_go_and_it_can_be_paid_again() {
    let short = |settings: &mut Settings| {
        with_wallet(settings);
        settings.orders.reservation_seconds = 2;
    };
    let house = house::plan().set(short).open().await;
    let bought = buy(&house, "wallet", "cart-over").await;
    let intent = bought["intent_id"].as_str().unwrap().parse().unwrap();
    house.until(intent, "expired").await;
    let again = house.pay_again(intent, true).await.body;
    assert_eq!(again["status"], "reserved", "{again}");
    assert_ne!(reference(&again), reference(&bought));
    house.wallet_says(SECRET, &event("evt-7", &reference(&again), "SUCCESS", &total(&again), "USD")).await;
    house.until(intent, "paid").await;
    house.end_with_forged().await;
}

#[tokio::test]
async fn money_that_staff_finds_pays_an_order_once_and_says_who_found_it() {
    let house = house::plan().set(|settings| settings.orders.manual_payment = true).open().await;
    let bought = buy(&house, "manual", "cart-manual").await;
    let (order, manager) = (order(&bought), house.key(Role::Manager, "till").await);
    let body = json!({"amount": bought["amount_cents"], "note": "transfer 4711"});
    for (replay, key) in [(false, "bank-1"), (true, "bank-1")] {
        let answer = house.ask(&manager, order, ("payments", key), &body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        house.until_order(order, "shipped").await;
        assert_eq!(answer.is_replay, replay);
    }
    let other = house.ask(&manager, order, ("payments", "bank-2"), &body).await;
    assert_eq!((other.status, &other.body["reason"]), (409, &json!("captured")));
    let clerk = house.key(Role::Processor, "clerk").await;
    assert_eq!(house.ask(&clerk, order, ("payments", "bank-3"), &body).await.status, 403);
    let by = house.value("select payload -> 'recorded' ->> 'by' from inbox where provider = 'manual'").await;
    assert!(by.as_str().unwrap().starts_with("manager:key_"), "{by}");
    assert_eq!(house.count("payments where state = 'captured' and role = 'primary'").await, 1);
    let stripe = house.buy("cart-by-card").await;
    let refused = house.ask(&manager, stripe.order, ("payments", "bank-4"), &body).await;
    assert_eq!((refused.status, &refused.body["reason"]), (409, &json!("by_provider")));
    house.end().await;
}

#[tokio::test]
async fn money_that_people_took_goes_back_by_hand() {
    let house = house::plan().set(|settings| settings.orders.manual_payment = true).open().await;
    let bought = buy(&house, "manual", "cart-back").await;
    let (order, manager) = (order(&bought), house.key(Role::Manager, "till").await);
    let body = json!({"amount": bought["amount_cents"]});
    assert_eq!(house.ask(&manager, order, ("payments", "bank-1"), &body).await.status, 202);
    house.until_order(order, "shipped").await;
    let asked = house.ask(&manager, order, ("refunds", "back-1"), &json!({})).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    house.settled().await;
    assert_eq!(
        house.count("order_exceptions where type = 'refund_by_hand' and state <> 'resolved'").await,
        1
    );
    let done = format!("refunds/{}/confirm", asked.body["refund_id"].as_str().unwrap());
    for _ in 0..2 {
        let answer = house.ask(&manager, order, (&done, ""), &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    house.until_order(order, "refunded").await;
    assert_eq!(house.count("order_exceptions where state <> 'resolved'").await, 0);
    assert_eq!(house.calls("POST", "/v1/refunds").await, 0, "Stripe was never asked");
    house.end_with_forged().await;
}

#[tokio::test]
async fn an_order_for_cash_goes_on_at_once_and_is_done_only_with_its_money() {
    let house = house::plan().set(|settings| settings.orders.cash_on_delivery = true).open().await;
    let bought = buy(&house, "cash_on_delivery", "cart-cash").await;
    let order = order(&bought);
    house.until_order(order, "shipped").await;
    let staff = house.key(Role::Administrator, "office").await;
    house.settled().await;
    let moved = house.put_status(&staff, order, Some(version(&house, order).await), "delivered").await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    let early = house.put_status(&staff, order, Some(version(&house, order).await), "completed").await;
    assert_eq!((early.status, &early.body["reason"]), (409, &json!("unpaid")));
    let body = json!({"amount": bought["amount_cents"], "note": "driver 7"});
    assert_eq!(house.ask(&staff, order, ("payments", "cash-1"), &body).await.status, 202);
    house.settled().await;
    assert_eq!(house.count("payments where state = 'captured' and role = 'primary'").await, 1);
    let now = version(&house, order).await;
    assert_eq!(house.put_status(&staff, order, Some(now), "completed").await.status, 200);
    house.end().await;
}

#[tokio::test]
async fn an_order_for_cash_that_is_called_off_owes_nothing() {
    let by_hand = |settings: &mut Settings| {
        settings.orders.cash_on_delivery = true;
        settings.orders.auto_fulfil = false;
    };
    let house = house::plan().set(by_hand).open().await;
    let bought = buy(&house, "cash_on_delivery", "cart-off").await;
    let order = order(&bought);
    house.until_order(order, "payment_confirmed").await;
    let manager = house.key(Role::Manager, "office").await;
    assert_eq!(house.ask(&manager, order, ("cancel", ""), &json!({})).await.status, 202);
    house.until_order(order, "cancelled").await;
    assert_eq!(house.count("payments where state = 'cancelled'").await, 1);
    assert_eq!(house.count("stock where sku = 'SUIT' and on_hand = 1000 and reserved = 0").await, 1);
    house.end().await;
}

#[tokio::test]
async fn nobody_is_trusted_with_goods_whom_the_shop_did_not_name() {
    let house = house::open().await;
    for name in ["cash_on_delivery", "manual", "wallet"] {
        let answer = house.place(&paid_by(name, &format!("cart-{name}")), name, true).await;
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert_eq!(answer.body["errors"][0]["field"], "payment_provider");
    }
    house.end().await;
}

#[tokio::test]
async fn an_order_is_placed_paid_at_the_wallet_s_page_and_settled_once_by_twenty_webhooks() {
    let house = house::plan().set(with_sandbox).open().await;
    house.fault("webhook.wallet", json!({"repeat": {"times": 19}})).await;
    let bought = buy(&house, "wallet", "cart-page").await;
    house.visit(&bought["payment_page"], "paid").await;
    house.until_order(order(&bought), "shipped").await;
    house.settled().await;
    assert_eq!(
        house.count("payments where state = 'captured' and role = 'primary' and provider = 'wallet'").await,
        1
    );
    assert_eq!(house.count("inbox where provider = 'wallet' and state = 'applied'").await, 1);
    assert_eq!(house.count("order_events where to_status = 'payment_confirmed'").await, 1);
    assert_eq!(house.truth("wallet").await.len(), 1);
    assert!(house.calls("GET", &reference(&bought)).await > 0, "it was asked");
    house.end().await;
}

#[tokio::test]
async fn a_signed_word_is_no_proof_where_the_status_says_otherwise() {
    let house = house::plan().set(with_sandbox).open().await;
    let bought = buy(&house, "wallet", "cart-liar").await;
    house.visit(&bought["payment_page"], "pending").await;
    house.until_calls("GET", &reference(&bought), 1).await;
    house.settled().await;
    assert_eq!(house.timeline(order(&bought)).await.status, "pending_payment");
    house.visit(&bought["payment_page"], "paid").await;
    house.until_order(order(&bought), "shipped").await;
    house.end().await;
}

#[tokio::test]
async fn money_of_which_no_webhook_tells_is_found_by_asking_also_when_the_hold_is_over() {
    let soon = |settings: &mut Settings| {
        with_sandbox(settings);
        settings.orders.payment_sync_seconds = 1;
    };
    let house = house::plan().set(soon).open().await;
    house.hold_webhooks().await;
    let bought = buy(&house, "wallet", "cart-silent").await;
    house.visit(&bought["payment_page"], "paid").await;
    house.until_order(order(&bought), "fulfilled").await;

    let late = buy(&house, "wallet", "cart-silent-late").await;
    house.execute("delete from jobs where kind = 'payment-status'").await.unwrap();
    house.visit(&late["payment_page"], "paid").await;
    house.end_hold(order(&late)).await;
    house.until_order(order(&late), "fulfilled").await;
    assert_eq!(house.count("reservations where epoch > 1").await, 0, "the pieces were never let go");

    let nobody = buy(&house, "wallet", "cart-nobody").await;
    house.execute("delete from jobs where kind = 'payment-status'").await.unwrap();
    house.end_hold(order(&nobody)).await;
    house.until(nobody["intent_id"].as_str().unwrap().parse().unwrap(), "expired").await;
    house.end().await;
}

#[tokio::test]
async fn a_configured_provider_that_is_away_holds_up_nobody_but_itself() {
    let one_away = |settings: &mut Settings| {
        with_sandbox(settings);
        // Nothing listens there.
        let away = provider("confirm_by = \"status\"\nstatus.url = \"http://127.0.0.1:9/{reference}\"\n");
        settings.payment_providers.insert("purse".to_owned(), away);
        settings.orders.payment_sync_seconds = 1;
    };
    let house = house::plan().set(one_away).open().await;
    let waits = buy(&house, "purse", "cart-purse").await;
    house.until_away("purse").await;
    paid_at_the_wallet(&house, "cart-beside").await;
    assert!(house.is_away("purse").await && !house.is_away("wallet").await);
    assert_eq!(house.timeline(order(&waits)).await.status, "pending_payment");
    assert_eq!(house.count("jobs where kind = 'payment-status' and attempts > 0").await, 0, "nobody's fault");
    assert_eq!(house.count("dead_letters").await, 0);
    // It stays away: a house does not end while somebody waits.
    house.execute("delete from jobs where kind = 'payment-status'").await.unwrap();
    house.end().await;
}
