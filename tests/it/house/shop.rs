//! The web tier: places wishes, follows them, looks at orders.

use orderfleet::auth::{self, Role};
use orderfleet::ids::{IntentId, OrderId};
use orderfleet::store::access::KeyToStore;
use orderfleet::store::timeline::{OrderName, Timeline};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{House, LOOK, PATIENCE};

/// How long an answer is asked to be held.
const HOLD: &str = "wait=20";

/// An answer of the intake.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) is_replay: bool,
    pub(crate) body: Value,
}

/// What was read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Value,
}

/// An order that is reserved and can be paid.
#[derive(Clone, Debug)]
pub(crate) struct Bought {
    pub(crate) intent: IntentId,
    pub(crate) order: OrderId,
    pub(crate) payment: String,
    pub(crate) secret: String,
    pub(crate) total: i64,
}

/// A wish for pieces of one article, by its cart.
pub(crate) fn wish(cart: &str, sku: &str, quantity: i64) -> Value {
    json!({
        "cart_id": cart,
        "customer": {"id": format!("cus-{cart}"), "email": format!("{cart}@example.com"), "name": "A. Buyer"},
        "currency": "USD",
        "lines": [{"sku": sku, "quantity": quantity}],
        "shipping_address": {"name": "A. Buyer", "phone": "+14155550123", "address_line1": "388 Townsend St",
                             "city": "San Francisco", "state": "CA", "postal_code": "94107", "country": "US"},
    })
}

/// The same wish from Nepal, in rupees.
pub(crate) fn abroad(cart: &str, sku: &str, quantity: i64) -> Value {
    let mut wish = wish(cart, sku, quantity);
    wish["currency"] = json!("NPR");
    wish["shipping_address"] = json!({"name": "A. Buyer", "phone": "+97714123456", "address_line1": "Durbar Marg 12",
                                      "city": "Kathmandu", "postal_code": "44600", "country": "NP"});
    wish
}

/// Reads an answer that says reserved.
pub(crate) fn bought(answer: &Value) -> Bought {
    assert_eq!((&answer["status"], &answer["success"]), (&json!("reserved"), &json!(true)), "{answer}");
    let text =
        |field: &str| answer[field].as_str().unwrap_or_else(|| panic!("no {field}: {answer}")).to_owned();
    Bought {
        intent: text("intent_id").parse().unwrap(),
        order: text("order_id").parse().unwrap(),
        payment: text("payment_intent_id"),
        secret: text("client_secret"),
        total: answer["amount_cents"].as_i64().unwrap(),
    }
}

impl House {
    /// Posts a wish as the holder of another credential.
    pub(crate) async fn ask_for(&self, who: &str, body: &Value) -> Answer {
        let request = self.client.post(format!("{}/v1/order-intents", self.intake)).bearer_auth(who);
        let answer = request.header("idempotency-key", "k").json(body).send().await.unwrap();
        Answer { status: answer.status().as_u16(), is_replay: false, body: answer.json().await.unwrap() }
    }

    /// Posts a wish under a key; `waits` for its outcome.
    pub(crate) async fn place(&self, body: &Value, key: &str, waits: bool) -> Answer {
        let request = self.client.post(format!("{}/v1/order-intents", self.intake)).bearer_auth(&self.key);
        let mut request = request.header("idempotency-key", key).json(body);
        if waits {
            request = request.header("prefer", HOLD);
        }
        let answer = request.send().await.unwrap();
        let is_replay = answer.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
        Answer { status: answer.status().as_u16(), is_replay, body: answer.json().await.unwrap() }
    }

    /// The same within a trace of the caller's; waits for its outcome.
    pub(crate) async fn place_in(&self, traceparent: &str, body: &Value, key: &str) -> Answer {
        let request = self.client.post(format!("{}/v1/order-intents", self.intake)).bearer_auth(&self.key);
        let request = request.header("traceparent", traceparent).header("prefer", HOLD);
        let answer = request.header("idempotency-key", key).json(body).send().await.unwrap();
        Answer { status: answer.status().as_u16(), is_replay: false, body: answer.json().await.unwrap() }
    }

    /// Posts a wish and hangs up before anything is answered.
    pub(crate) async fn place_and_hang_up(&self, body: &Value, key: &str) {
        let (host, body) = (self.intake.trim_start_matches("http://"), body.to_string());
        let request = format!(
            "POST /v1/order-intents HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\nidempotency-key: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let mut line = tokio::net::TcpStream::connect(host).await.unwrap();
        line.write_all(request.as_bytes()).await.unwrap();
        line.flush().await.unwrap();
        // Sent is not received: the first byte of the answer is waited for, and nobody reads it.
        line.readable().await.unwrap();
    }

    /// Buys: reserved, with a secret to pay with.
    pub(crate) async fn buy_as(&self, body: &Value) -> Bought {
        let key = format!("key-{}", body["cart_id"].as_str().unwrap());
        let answer = self.place(body, &key, true).await.body;
        bought(&answer)
    }

    /// The same for one suit, by its cart.
    pub(crate) async fn buy(&self, cart: &str) -> Bought {
        self.buy_as(&wish(cart, "SUIT", 1)).await
    }

    /// Asks to pay an intent's order again; `waits` for the new secret.
    pub(crate) async fn pay_again(&self, intent: IntentId, waits: bool) -> Answer {
        let url = format!("{}/v1/order-intents/{intent}/payment", self.intake);
        let mut request = self.client.post(url).bearer_auth(&self.key);
        if waits {
            request = request.header("prefer", HOLD);
        }
        let answer = request.send().await.unwrap();
        Answer { status: answer.status().as_u16(), is_replay: false, body: answer.json().await.unwrap() }
    }

    /// Asks for a look at the provider.
    pub(crate) async fn refresh(&self, intent: IntentId) {
        let url = format!("{}/v1/order-intents/{intent}/refresh", self.intake);
        let answer = self.client.post(url).bearer_auth(&self.key).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    }

    /// A key of this role, once the door knows it; a customer's is named by whom it acts for.
    pub(crate) async fn key(&self, role: Role, name: &str) -> String {
        let key = auth::new_key();
        let (tenant, name) = ("shop".to_owned(), name.to_owned());
        let stored = KeyToStore { tenant, name, role, hash: key.hash, expires_at: None };
        self.store.create_key(&stored).await.unwrap();
        let key = key.key.expose_secret().to_owned();
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            let url = format!("{}/v1/order-intents/nobody", self.intake);
            if self.client.get(url).bearer_auth(&key).send().await.unwrap().status() != 401 {
                return key;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("the door never knew the key");
    }

    /// Asks something of an order, such as `cancel`, as the holder of a key; under an idempotency key where it needs one.
    pub(crate) async fn ask(&self, who: &str, order: OrderId, what: (&str, &str), body: &Value) -> Answer {
        let url = format!("{}/v1/orders/{order}/{}", self.intake, what.0);
        let mut request = self.client.post(url).bearer_auth(who).json(body);
        if !what.1.is_empty() {
            request = request.header("idempotency-key", what.1);
        }
        let answer = request.send().await.unwrap();
        let is_replay = answer.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
        Answer { status: answer.status().as_u16(), is_replay, body: answer.json().await.unwrap() }
    }

    /// Moves an order by hand, as the holder of a key who saw this version.
    pub(crate) async fn put_status(
        &self,
        who: &str,
        order: OrderId,
        version: Option<i64>,
        to: &str,
    ) -> Answer {
        self.put_status_in("canonical", who, order, (version, to)).await
    }

    /// The same in somebody's words.
    pub(crate) async fn put_status_in(
        &self,
        words: &str,
        who: &str,
        order: OrderId,
        (version, to): (Option<i64>, &str),
    ) -> Answer {
        let url = format!("{}/v1/orders/{order}/status?vocabulary={words}", self.intake);
        let mut request = self.client.put(url).bearer_auth(who).json(&json!({ "status": to }));
        if let Some(version) = version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        let answer = request.send().await.unwrap();
        Answer { status: answer.status().as_u16(), is_replay: false, body: answer.json().await.unwrap() }
    }

    /// Reads a page of the intake as the holder of a key.
    pub(crate) async fn read(&self, who: &str, path: &str) -> Read {
        let answer = self.client.get(format!("{}{path}", self.intake)).bearer_auth(who).send().await.unwrap();
        let etag = answer.headers().get("etag").map(|value| value.to_str().unwrap().to_owned());
        Read { status: answer.status().as_u16(), etag, body: answer.json().await.unwrap() }
    }

    /// The same as the web tier.
    pub(crate) async fn read_as_service(&self, path: &str) -> Read {
        self.read(&self.key, path).await
    }

    /// The public state of an intent.
    pub(crate) async fn state(&self, intent: IntentId) -> Value {
        let url = format!("{}/v1/order-intents/{intent}", self.intake);
        self.client.get(url).bearer_auth(&self.key).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until an intent has this public status; the state.
    pub(crate) async fn until(&self, intent: IntentId, status: &str) -> Value {
        let mut state = Value::Null;
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            state = self.state(intent).await;
            if state["status"] == status {
                return state;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("never {status}: {state}");
    }

    /// Pays an order of whose parcels no carrier tells anything: it stays in the house.
    pub(crate) async fn pay_quietly(&self, bought: &Bought) {
        self.post.keep();
        self.pay(bought).await;
        let letter = self.letter("payment_intent.succeeded", &bought.payment).await;
        self.deliver(&letter).await;
    }

    /// An order that is paid, packed and labelled, and stays in the house.
    pub(crate) async fn packed(&self, wish: &Value) -> Bought {
        let bought = self.buy_as(wish).await;
        self.pay_quietly(&bought).await;
        self.until_order(bought.order, "fulfilled").await;
        self.settled().await;
        bought
    }

    /// An order's whole life.
    pub(crate) async fn timeline(&self, order: OrderId) -> Timeline {
        self.store.timeline(&OrderName::Id(order), None).await.unwrap().unwrap()
    }

    /// Waits until an order has this status.
    pub(crate) async fn until_order(&self, order: OrderId, status: &str) {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if self.timeline(order).await.status == status {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("never {status}: {:#?}", self.timeline(order).await);
    }

    /// Waits until an order's refunds stand so, the oldest first.
    pub(crate) async fn until_refunds(&self, order: OrderId, states: &[&str]) {
        let sql = format!("select state from refunds where order_id = '{}' order by id", order.uuid());
        let mut found = Vec::new();
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            found = self.rows(&sql).await;
            if found.iter().map(|row| row["state"].as_str().unwrap()).eq(states.iter().copied()) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("never {states:?}: {found:?}, {:#?}", self.timeline(order).await);
    }
}
