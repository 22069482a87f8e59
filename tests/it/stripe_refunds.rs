//! Refunds judged by stripe-stateful-mock: a Stripe that remembers, with its own mind about keys and amounts.

use std::path::Path;
use std::process::Stdio;

use orderfleet::config::StripeSettings;
use orderfleet::domain::refund::State;
use orderfleet::ids::{OrderId, RefundId};
use orderfleet::job::{Class, Failure};
use orderfleet::provider::CallError;
use orderfleet::provider::stripe::{CreateRefund, Stripe};
use secrecy::SecretString;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::house::PATIENCE;

/// Where `scripts/test` installs it.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/stripe");
const KEY: &str = "sk_test_counterparty";

/// Its address. It runs until its value ends.
struct Counterparty {
    base: String,
    client: reqwest::Client,
    _server: Child,
}

impl Counterparty {
    /// None, and a loud line, where it is not installed.
    async fn start() -> Option<Self> {
        let script = Path::new(INSTALLED).join("server.js");
        if !script.exists() {
            let loud = "\n!!! NOT CHECKED: refunds against stripe-stateful-mock. There is no .tools/stripe; scripts/test makes it.\n";
            std::io::Write::write_all(&mut std::io::stderr(), loud.as_bytes()).unwrap(); // past the test runner
            return None;
        }
        let mut command = Command::new("node");
        command.arg(script).env("LOG_LEVEL", "silent").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let port = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        Some(Self { base: format!("http://127.0.0.1:{port}"), client, _server: server })
    }

    /// A charge of 50.00 USD paid by `source`: its id.
    async fn charge(&self, source: &str) -> String {
        let form = format!("amount=5000&currency=usd&source={source}");
        let request = self
            .client
            .post(format!("{}/v1/charges", self.base))
            .bearer_auth(KEY)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let charge: Value = request.send().await.unwrap().json().await.unwrap();
        charge["id"].as_str().unwrap().to_owned()
    }

    /// It tells of the dispute a moment after it took the money.
    async fn until_disputed(&self, charge: &str) {
        let url = format!("{}/v1/charges/{charge}", self.base);
        let looking = async {
            loop {
                let asked = self.client.get(&url).bearer_auth(KEY).send().await.unwrap();
                if asked.json::<Value>().await.unwrap()["disputed"] == true {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the bank disputes it");
    }

    fn client(&self) -> Stripe {
        let settings = StripeSettings {
            secret_key: SecretString::from(KEY),
            webhook_secrets: Vec::new(),
            api_base: self.base.clone(),
            timeout_ms: 10_000,
            tolerance_seconds: 300,
        };
        Stripe::new(&settings).unwrap()
    }
}

fn refund(of: &str, amount_minor: i64) -> CreateRefund {
    CreateRefund {
        payment_intent: of.to_owned(),
        amount_minor,
        currency: "USD".parse().unwrap(),
        refund_id: RefundId::new(),
        order_id: OrderId::new(),
    }
}

fn class(refused: Result<impl std::fmt::Debug, CallError>) -> (Class, &'static str) {
    let failure = Failure::from(refused.unwrap_err());
    (failure.class, failure.code)
}

#[tokio::test]
async fn a_stripe_that_remembers_gives_back_once_a_key_and_never_more_than_was_paid() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(counterparty) = Counterparty::start().await else { return };
    let (stripe, paid) = (counterparty.client(), counterparty.charge("tok_visa").await);
    let first = refund(&paid, 2_000);
    let given = stripe.refund(&first, "eff_1.1").await.unwrap();
    assert_eq!((given.state, given.amount_minor), (State::Succeeded, 2_000));
    assert_eq!(given.refund_id, Some(first.refund_id), "our id came back");
    assert_eq!(stripe.refund(&first, "eff_1.1").await.unwrap(), given, "the same key gives back once");
    let other = refund(&paid, 2_001);
    assert_eq!(class(stripe.refund(&other, "eff_1.1").await), (Class::Unknown, "key_reused"), "another body");
    assert_eq!(class(stripe.refund(&refund(&paid, 3_001), "eff_2.1").await), (Class::Permanent, "refused"));
    assert_eq!(stripe.retrieve_refund(&given.id).await.unwrap(), given);
    assert_eq!(
        stripe.refunds_of(&paid).await.unwrap(),
        std::slice::from_ref(&given),
        "a look proves that no other was made"
    );

    let rest = stripe.refund(&refund(&paid, 3_000), "eff_3.1").await.unwrap();
    assert_eq!(class(stripe.refund(&refund(&paid, 1), "eff_4.1").await), (Class::Permanent, "refused"));
    let mut all = stripe.refunds_of(&paid).await.unwrap();
    all.sort_by_key(|refund| refund.amount_minor);
    assert_eq!(all, [given, rest]);
}

#[tokio::test]
async fn a_stripe_that_remembers_refuses_to_give_back_what_the_bank_has_and_we_look_first() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(counterparty) = Counterparty::start().await else { return };
    let disputed = counterparty.charge("tok_createDispute").await;
    counterparty.until_disputed(&disputed).await;
    let refused = counterparty.client().refund(&refund(&disputed, 2_000), "eff_1.1").await;
    assert_eq!(class(refused), (Class::Unknown, "charge_disputed"));
}
