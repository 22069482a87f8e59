//! Starts that are refused: one message, that names everything that is wrong and says what to do.

use std::path::Path;
use std::process::Command;

use stage::fleet::{Fleet, free};
use stage::process::{orderfleet, run, with};

/// Nothing is missing, and nothing of it runs.
const CONFIGURATION: &str = r#"
[postgres]
url = "postgres://nobody@127.0.0.1:1/none"
[redis]
url = "redis://127.0.0.1:1"
[stripe]
secret_key = "sk_test_1"
webhook_secrets = ["whsec_1"]
[easypost]
api_key = "EZTK_1"
webhook_secrets = ["1"]
[smtp]
url = "smtp://127.0.0.1:1"
[security]
secret = "a secret of at least thirty-two characters"
"#;

fn configured(folder: &Path) -> Command {
    std::fs::write(folder.join("fleet.toml"), CONFIGURATION).unwrap();
    with(orderfleet(folder), ["--config", "fleet.toml"])
}

/// What a command that must fail says.
fn refused(mut command: Command) -> String {
    let output = run(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
    eprintln!("{said}");
    said
}

#[test]
fn a_worker_names_every_fault_of_its_configuration_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = with(configured(folder.path()), ["worker"]);
    command.envs([
        ("ORDERFLEET__QUEUE__RENEW_MS", "3000"),
        ("ORDERFLEET__LANES__MAIL__SLICE", "300"),
        ("ORDERFLEET__WORKER__GRACE_MZ", "1"),
        ("ORDERFLEET__SMTP__URL", "mail.example.com"),
        ("EASYPOST_API_KEY", ""),
        ("DATABASE_URL", "mysql://of:hunter2@db/of"),
    ]);
    let said = refused(command);
    assert!(said.starts_with("orderfleet: the configuration has 6 faults:"), "{said}");
    assert_eq!(said.lines().count(), 7, "one message");
    for name in [
        "queue.renew_ms",
        "lanes.mail.slice",
        "ORDERFLEET__WORKER__GRACE_MS?",
        "smtp.url",
        "EASYPOST_API_KEY",
        "postgres.url",
    ] {
        assert!(said.contains(name), "{name} is not named: {said}");
    }
    assert!(!said.contains("hunter2"), "a value may be a secret");
}

#[test]
fn an_intake_without_webhook_secrets_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["STRIPE_WEBHOOK_SECRET", "EASYPOST_WEBHOOK_SECRET"] {
        let mut command = with(configured(folder.path()), ["intake"]);
        command.env(name, "");
        let said = refused(command);
        assert!(said.contains(&format!("Set {name}")), "{said}");
    }
}

#[test]
fn a_demonstration_refuses_where_there_is_no_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    // Stripe's own address, which is never asked; and one where nobody answers.
    for base in ["https://api.stripe.com/".to_owned(), format!("http://{}/", free())] {
        let mut command = with(configured(folder.path()), ["demo", "--orders", "1", "--api-key", "none"]);
        command.env("STRIPE_API_BASE", base);
        let said = refused(command);
        assert!(said.contains("must never move real money") && said.contains("orderfleet dev"), "{said}");
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_port_is_told_what_to_set() {
    let mut fleet = Fleet::start().await;
    let second = refused(with(fleet.command(), ["intake"]));
    assert!(second.contains(&fleet.address.to_string()), "{second}");
    assert!(second.contains("ORDERFLEET__INTAKE__ADDRESS"), "{second}");

    let port = free().port().to_string();
    let _first = fleet.working(&["--health-port", &port]).await;
    let second = refused(with(fleet.command(), ["worker", "--health-port", &port]));
    assert!(second.contains(&port) && second.contains("--health-port"), "{second}");
    fleet.end().await;
}
