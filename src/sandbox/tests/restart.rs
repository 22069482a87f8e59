//! The truth outlives the process: a restarted sandbox knows what it did and what it owes.

use super::*;

#[tokio::test]
async fn a_restarted_sandbox_goes_on_and_sends_what_it_owes() {
    let file = std::env::temp_dir().join(format!("sandbox-{}.jsonl", fresh_key()));
    let path = file.to_str().unwrap();
    let key = fresh_key();
    let form = [("amount", "5000"), ("currency", "usd")];

    let mut house = House::with_truth(path).await;
    house.control(Method::POST, "webhooks/hold", &json!({})).await;
    let first = house.stripe(Method::POST, "payment_intents", &key, &form).await.text().await.unwrap();
    assert!(house.webhooks.try_recv().is_err());
    house.close().await;
    // A killed process leaves half a line.
    let mut torn = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
    std::io::Write::write_all(&mut torn, b"{\"at\":\"2026").unwrap();

    let mut house = House::with_truth(path).await;
    assert_eq!(house.webhook().await.2["type"], "payment_intent.created");
    let again = house.stripe(Method::POST, "payment_intents", &key, &form).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.text().await.unwrap(), first);
    house.control(Method::POST, "reset", &json!({})).await;
    assert!(house.truth("payments").await.is_empty());
    house.close().await;

    let house = House::with_truth(path).await;
    assert!(house.truth("payments").await.is_empty(), "the reset is a fact too");
    house.close().await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let house = House::new().await;
    let taken = house.sandbox.as_ref().unwrap().address();
    let settings = SandboxSettings {
        address: taken,
        smtp_address: "127.0.0.1:0".parse().unwrap(),
        stripe_webhook_url: String::new(),
        easypost_webhook_url: String::new(),
        wallet_webhook_url: String::new(),
        truth_file: String::new(),
    };
    let error = serve(&settings, secrets(), CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains(&taken.to_string()) && error.contains("ORDERFLEET__SANDBOX__ADDRESS"), "{error}");
    house.close().await;
}
