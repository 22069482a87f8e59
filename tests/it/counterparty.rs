//! The sandbox and the intake judged by Stripe's and EasyPost's own Python clients: code that nobody here wrote.

use std::net::TcpListener;
use std::path::Path;

use orderfleet::config::{Settings, Sources, load};
use orderfleet::roles;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::house::{self, PATIENCE};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The Python that knows the official clients, with one of our scripts. None, and a loud line, where it is not installed.
fn clients(script: &str, whom: &str) -> Option<Command> {
    let python = Path::new(ROOT).join(".tools/venv/bin/python");
    if !python.exists() {
        let loud = format!(
            "\n!!! NOT CHECKED: {whom} against the official clients. There is no .tools/venv; scripts/test makes it.\n"
        );
        std::io::Write::write_all(&mut std::io::stderr(), loud.as_bytes()).unwrap(); // past the test runner
        return None;
    }
    let mut command = Command::new(python);
    command.arg(Path::new(ROOT).join("tests/counterparty").join(script)).kill_on_drop(true);
    Some(command)
}

/// What a script printed that found nothing strange.
async fn content(mut command: Command) -> String {
    let judged = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time").unwrap();
    let out = String::from_utf8_lossy(&judged.stdout).into_owned();
    assert!(judged.status.success(), "{out}{}", String::from_utf8_lossy(&judged.stderr));
    out
}

#[tokio::test]
async fn the_official_clients_find_nothing_strange_about_the_sandbox() {
    let Some(mut command) = clients("official_clients.py", "the sandbox") else { return };
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
    command
        .arg(format!("http://{}", sandbox.address()))
        .args(["--webhooks", &webhooks.to_string()])
        .env("STRIPE_SECRET_KEY", "sk_test_counterparty")
        .env("STRIPE_WEBHOOK_SECRET", "whsec_counterparty")
        .env("EASYPOST_API_KEY", "EZTK_counterparty")
        .env("EASYPOST_WEBHOOK_SECRET", "easypost-counterparty");
    content(command).await;
    stop.cancel();
    sandbox.join().await;
}

#[tokio::test]
async fn the_intake_believes_what_the_official_clients_sign_and_nothing_else() {
    let Some(mut command) = clients("webhook_makers.py", "the intake") else { return };
    let change = |settings: &mut Settings| {
        settings.stripe.webhook_secrets = vec!["whsec_house".into(), "whsec_before".into()];
        // A letter that has two spellings: which one is meant must not matter.
        settings.easypost.webhook_secrets = vec!["s\u{e9}cret".into()];
    };
    let house = house::plan().set(change).open().await;
    command
        .arg(house.intake())
        .env("STRIPE_WEBHOOK_SECRET", "whsec_house,whsec_before")
        .env("EASYPOST_WEBHOOK_SECRET", "s\u{e9}cret");
    let mut taken: Vec<String> = content(command).await.lines().map(str::to_owned).collect();
    taken.sort();
    house.until_count("inbox", i64::try_from(taken.len()).unwrap()).await;
    house.settled().await;
    let kept = house.rows("select event_id from inbox where state = 'ignored' order by event_id").await;
    let kept: Vec<&str> = kept.iter().map(|row| row["event_id"].as_str().unwrap()).collect();
    assert_eq!(kept, taken);
    house.end().await;
}
