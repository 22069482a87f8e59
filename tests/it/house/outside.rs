//! The world outside: what the sandbox holds for true, what it shall do wrong, and letters in a provider's name.

use bytes::Bytes;
use orderfleet::ids::PaymentId;
use orderfleet::time::Clock;
use ring::hmac;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Bought, House, LOOK, Letter, PATIENCE};

/// A letter of Stripe's that says this, signed as Stripe signs.
pub(crate) fn signed(event: &Value) -> Letter {
    signed_ago(event, 0)
}

/// The same, signed so many seconds ago.
pub(crate) fn signed_ago(event: &Value, seconds: i64) -> Letter {
    let (at, body) = (Clock::real().unix_seconds() - seconds, event.to_string());
    let signature = format!("t={at},v1={}", hex("whsec_house", &format!("{at}.{body}")));
    Letter { provider: "stripe".to_owned(), signature, body: Bytes::from(body) }
}

/// A letter of EasyPost's that says this, signed as EasyPost signs.
pub(crate) fn signed_by_easypost(event: &Value) -> Letter {
    signed_text_by_easypost(event.to_string())
}

/// The same of a text that is kept as it is.
pub(crate) fn signed_text_by_easypost(body: String) -> Letter {
    let signature = format!("hmac-sha256-hex={}", hex("easypost-house", &body));
    Letter { provider: "easypost".to_owned(), signature, body: Bytes::from(body) }
}

fn hex(secret: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, text.as_bytes());
    tag.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

impl House {
    /// Where its intake listens.
    pub(crate) fn intake(&self) -> &str {
        &self.intake
    }

    /// All of one kind that the sandbox holds for true.
    pub(crate) async fn truth(&self, kind: &str) -> Vec<Value> {
        let answer =
            self.client.get(format!("{}/_sandbox/truth?kind={kind}", self.sandbox)).send().await.unwrap();
        answer.json::<Value>().await.unwrap().as_array().unwrap().clone()
    }

    /// All of a mail that the sandbox's mail server took, the first one's number being 0.
    pub(crate) async fn raw_mail(&self, n: usize) -> String {
        let answer = self.client.get(format!("{}/_sandbox/mails/{n}", self.sandbox)).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["raw"].as_str().unwrap().to_owned()
    }

    /// How often a provider was called: requests of this method whose path ends so.
    pub(crate) async fn calls(&self, method: &str, end: &str) -> usize {
        let is_one =
            |asked: &&Value| asked["method"] == method && asked["path"].as_str().unwrap().ends_with(end);
        self.truth("requests").await.iter().filter(is_one).count()
    }

    /// Whether the fleet believes a provider away.
    pub(crate) async fn is_away(&self, provider: &str) -> bool {
        self.queue.provider_seen(provider).await.unwrap().open_since_ms.is_some()
    }

    pub(crate) async fn until_away(&self, provider: &str) {
        let looking = async {
            while !self.is_away(provider).await {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("it is away");
    }

    /// Waits until a provider was called so often.
    pub(crate) async fn until_calls(&self, method: &str, end: &str, times: usize) {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if self.calls(method, end).await >= times {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("never {times} times {method} {end}");
    }

    /// What shall go wrong from now on: an array of rules.
    pub(crate) async fn faults(&self, rules: Value) {
        let answer = self
            .client
            .post(format!("{}/_sandbox/faults", self.sandbox))
            .body(rules.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// Nothing goes wrong any more.
    pub(crate) async fn mend(&self) {
        let url = format!("{}/_sandbox/faults", self.sandbox);
        assert_eq!(self.client.delete(url).send().await.unwrap().status(), 204);
    }

    /// What goes wrong the next time at one place.
    pub(crate) async fn fault(&self, at: &str, what: Value) {
        self.faults(json!([{"at": at, "what": what, "next": 1}])).await;
    }

    /// The sandbox sends no webhook any more.
    pub(crate) async fn hold_webhooks(&self) {
        let answer =
            self.client.post(format!("{}/_sandbox/webhooks/hold", self.sandbox)).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    /// Nobody has told anything of any parcel for two days.
    pub(crate) async fn silence(&self) {
        let ago = "now() - interval '2 days'";
        let silence = format!(
            "update labels set purchased_at = {ago}; update tracking_events set received_at = {ago};
             update shipments set looked_at = {ago} where looked_at is not null"
        );
        self.execute(&silence).await.unwrap();
    }

    /// A worker sweeps.
    pub(crate) async fn sweep(&self) {
        let rules = orderfleet::roles::rules(&self.settings).unwrap();
        let mut tx = self.store.begin().await.unwrap();
        orderfleet::jobs::sweeps::sweep(&mut tx, &rules).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The carrier scans a parcel.
    pub(crate) async fn scan(&self, tracking_code: &str, status: &str) {
        let url = format!("{}/_sandbox/trackers/{tracking_code}/{status}", self.sandbox);
        assert_eq!(self.client.post(url).send().await.unwrap().status(), 200);
    }

    /// A second payment of an order, at the provider and in the books, as paying again in another tab would open it.
    pub(crate) async fn second_payment(&self, bought: &Bought) -> Bought {
        let row = format!(
            "insert into payments (id, order_id, attempt_no, provider, amount_minor, currency, state, opened_at)
             select gen_random_uuid(), id, 2, 'stripe', {}, currency, 'pending', now() from orders where id = '{}'",
            bought.total,
            bought.order.uuid()
        );
        self.execute(&row).await.unwrap();
        let of = format!("payments where order_id = '{}' and attempt_no = 2", bought.order.uuid());
        let id: Uuid = self.value(&format!("select id from {of}")).await.as_str().unwrap().parse().unwrap();
        let form = format!(
            "amount={}&currency=usd&automatic_payment_methods[enabled]=true&metadata[payment_id]={}",
            bought.total,
            PaymentId::from(id)
        );
        let made = self.stripe("payment_intents", &form).await;
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        let (payment, secret) = (text("id"), text("client_secret"));
        let known = format!("update payments set provider_payment_id = '{payment}' where id = '{id}'");
        self.execute(&known).await.unwrap();
        Bought { payment, secret, ..bought.clone() }
    }

    /// What the shop's staff does at Stripe's own page: a request with the shop's key.
    pub(crate) async fn stripe(&self, path: &str, form: &str) -> Value {
        let request = self.client.post(format!("{}/v1/{path}", self.sandbox)).bearer_auth("sk_test_house");
        let request =
            request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// What becomes of a payment at the provider: `succeeded`, `failed`, `authorised`, `lapsed`, `authenticated`
    /// or `unauthenticated`.
    pub(crate) async fn becomes(&self, payment: &str, outcome: &str) {
        let url = format!("{}/_sandbox/payments/{payment}/{outcome}", self.sandbox);
        let answer = self.client.post(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// The bank has spoken of a refund: `succeeded`, `failed`, `canceled`, `requires_action` or `pending`.
    pub(crate) async fn bank_says(&self, refund: &str, word: &str) {
        let url = format!("{}/_sandbox/refunds/{refund}/{word}", self.sandbox);
        assert_eq!(self.client.post(url).send().await.unwrap().status(), 200);
    }

    /// The customer's bank wants a payment back, such as `amount=500` of it, or `asks=true` first; the dispute's id.
    pub(crate) async fn dispute(&self, payment: &str, how: &str) -> String {
        let url = format!("{}/_sandbox/payments/{payment}/disputed?{how}", self.sandbox);
        let answer = self.client.post(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// A dispute goes on: `escalated`, `reviewed`, `closed`, `won` or `lost`.
    pub(crate) async fn judged(&self, dispute: &str, outcome: &str) {
        let url = format!("{}/_sandbox/disputes/{dispute}/{outcome}", self.sandbox);
        let answer = self.client.post(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// A customer's browser pays with a card; the status of the provider's answer.
    pub(crate) async fn pay_with(&self, bought: &Bought, card: &str) -> u16 {
        let url = format!("{}/v1/payment_intents/{}/confirm", self.sandbox, bought.payment);
        let form = format!("client_secret={}&payment_method={card}", bought.secret);
        let request = self.client.post(url).basic_auth("pk_test_house", None::<&str>).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.send().await.unwrap().status().as_u16()
    }

    /// The same, with a card that works.
    pub(crate) async fn pay(&self, bought: &Bought) {
        assert_eq!(self.pay_with(bought, "pm_card_visa").await, 200);
    }

    /// The letter of this type about this object, once it is there.
    pub(crate) async fn letter(&self, kind: &str, about: &str) -> Letter {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            let found = self
                .post
                .letters()
                .into_iter()
                .find(|letter| letter.kind() == kind && letter.event().to_string().contains(about));
            if let Some(letter) = found {
                return letter;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!(
            "no {kind} about {about}: {:?}",
            self.post.letters().iter().map(Letter::kind).collect::<Vec<_>>()
        );
    }

    /// A customer opens the page that they were given, and does this there: `paid`, `failed` or `pending`.
    pub(crate) async fn visit(&self, page: &Value, outcome: &str) {
        let url = page["url"].as_str().unwrap().replace("http://sandbox.invalid", &self.sandbox);
        let answer = self.client.get(format!("{url}&outcome={outcome}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// A letter of the configured provider `wallet`, signed with its secret.
    pub(crate) async fn wallet_says(&self, secret: &str, event: &Value) {
        let body = event.to_string();
        let request = self.client.post(format!("{}/webhooks/payments/wallet", self.intake));
        let answer = request.header("x-signature", hex(secret, &body)).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// A letter of the mail service `post`, signed with its secret.
    pub(crate) async fn post_says(&self, secret: &str, message: &Value) {
        let body = message.to_string();
        let request = self.client.post(format!("{}/webhooks/mail/post", self.intake));
        let answer = request.header("x-signature", hex(secret, &body)).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// Hands a letter in; the intake must take it.
    pub(crate) async fn deliver(&self, letter: &Letter) {
        assert_eq!(self.post.deliver(letter).await, 200);
    }
}
