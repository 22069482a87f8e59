//! The sandbox judged by Stripe's and EasyPost's own Python clients: code that nobody here wrote.

use std::net::TcpListener;
use std::path::Path;

use orderfleet::config::{Sources, load};
use orderfleet::roles;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::house::PATIENCE;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn the_official_clients_find_nothing_strange_about_the_sandbox() {
    let python = Path::new(ROOT).join(".tools/venv/bin/python");
    if !python.exists() {
        let loud = "\n!!! NOT CHECKED: the sandbox against the official clients. There is no .tools/venv; scripts/test makes it.\n";
        std::io::Write::write_all(&mut std::io::stderr(), loud.as_bytes()).unwrap(); // past the test runner
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The script listens for webhooks itself: it is told a port that was free a moment ago.
    let webhooks = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = load(&Sources::default()).unwrap();
    settings.sandbox.address = "127.0.0.1:0".parse().unwrap();
    settings.sandbox.smtp_address = "127.0.0.1:0".parse().unwrap();
    settings.sandbox.stripe_webhook_url = format!("http://{webhooks}/stripe");
    settings.sandbox.easypost_webhook_url = format!("http://{webhooks}/easypost");
    settings.stripe.secret_key = "sk_test_counterparty".into();
    settings.stripe.webhook_secrets = vec!["whsec_counterparty".into()];
    settings.easypost.api_key = "EZTK_counterparty".into();
    settings.easypost.webhook_secrets = vec!["easypost-counterparty".into()];
    let stop = CancellationToken::new();
    let sandbox = roles::start_sandbox(&settings, stop.clone()).await.unwrap();
    let judged = Command::new(python)
        .arg(Path::new(ROOT).join("tests/counterparty/official_clients.py"))
        .arg(format!("http://{}", sandbox.address()))
        .args(["--webhooks", &webhooks.to_string()])
        .env("STRIPE_SECRET_KEY", "sk_test_counterparty")
        .env("STRIPE_WEBHOOK_SECRET", "whsec_counterparty")
        .env("EASYPOST_API_KEY", "EZTK_counterparty")
        .env("EASYPOST_WEBHOOK_SECRET", "easypost-counterparty")
        .kill_on_drop(true)
        .output();
    let judged = tokio::time::timeout(PATIENCE, judged).await.expect("the clients end in time").unwrap();
    assert!(
        judged.status.success(),
        "{}{}",
        String::from_utf8_lossy(&judged.stdout),
        String::from_utf8_lossy(&judged.stderr)
    );
    stop.cancel();
    sandbox.join().await;
}
