//! `doctor` over real servers: all is well where it is, and each thing that is not is named with what to change.

use std::path::Path;

use orderfleet::config::{Need, Settings, Sources, load};
use orderfleet::dev::servers::{Durability, Servers};
use orderfleet::ops::doctor::{Check, Report, Status, examine, render};
use orderfleet::sandbox::{self, Sandbox, SandboxSecrets};
use orderfleet::store::Store;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Below the clone, where any user who can build can also start servers.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.orderfleet");
/// The two needs that private servers meet.
const SERVERS: &[Need] = &[Need::Postgres, Need::Redis];

async fn throw_away() -> Servers {
    Servers::throw_away(Path::new(BASE), Durability::PowerLoss).await.unwrap()
}

/// Settings for these servers, and more by their names in the environment.
fn settings(servers: &Servers, more: &[(&str, String)]) -> Settings {
    let urls = [("DATABASE_URL", servers.database_url()), ("REDIS_URL", servers.redis_url())];
    let urls = urls.map(|(name, url)| (name.to_owned(), url.expose_secret().to_owned()));
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    load(&Sources { environment: urls.into_iter().chain(more).collect(), ..Sources::default() }).unwrap()
}

async fn migrated(servers: &Servers) -> Settings {
    let settings = settings(servers, &[]);
    let store = Store::new(&settings.postgres).unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    settings
}

async fn redis(servers: &Servers, name: &str, value: &str) {
    let client = redis::Client::open(servers.redis_url().expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg(name).arg(value);
    command.query_async::<()>(&mut connection).await.unwrap();
}

fn check<'a>(report: &'a Report, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap()
}

/// The report's names with this status.
fn with(report: &Report, status: Status) -> Vec<&str> {
    report.checks.iter().filter(|check| check.status == status).map(|check| check.name).collect()
}

/// `host:port` of an address with a password.
fn place(url: &str) -> &str {
    let (_, rest) = url.rsplit_once('@').unwrap();
    rest.split('/').next().unwrap()
}

#[tokio::test]
async fn all_is_well_on_servers_of_our_own() {
    let servers = throw_away().await;
    let report = examine(&migrated(&servers).await, SERVERS).await;
    assert!(!report.has_failed(), "{}", render(&report));
    assert_eq!(with(&report, Status::Warn), [""; 0], "{}", render(&report));
    assert_eq!(with(&report, Status::Skipped), ["stripe", "easypost", "smtp", "otlp collector"]);
    let text = format!("{} {report:?}", render(&report));
    let url = servers.redis_url();
    let password = url.expose_secret().split([':', '@']).nth(2).unwrap();
    assert!(password.len() > 10 && !text.contains(password), "{text}");
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn a_redis_that_forgets_and_evicts_is_told_both() {
    let servers = throw_away().await;
    let mut settings = migrated(&servers).await;
    redis(&servers, "appendonly", "no").await;
    redis(&servers, "maxmemory-policy", "allkeys-lru").await;
    redis(&servers, "appendfsync", "everysec").await;
    let report = examine(&settings, SERVERS).await;
    assert_eq!(with(&report, Status::Fail), ["redis durability"], "{}", render(&report));
    let advice = check(&report, "redis durability").advice.join("\n");
    for wanted in ["appendonly yes", "maxmemory-policy noeviction` (now allkeys-lru)", "appendfsync always"] {
        assert!(advice.contains(wanted), "{wanted}: {advice}");
    }
    settings.redis.require_durable = false;
    assert!(!examine(&settings, SERVERS).await.has_failed(), "whoever gave up on it is only warned");
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn a_postgres_that_acknowledges_what_it_may_forget_is_told() {
    let servers = throw_away().await;
    let settings = migrated(&servers).await;
    let mut operator = session(&servers, "psql").await;
    let forgets = "do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$";
    sqlx::raw_sql(forgets).execute(&mut operator).await.unwrap();
    let report = examine(&settings, SERVERS).await;
    assert_eq!(with(&report, Status::Fail), ["postgres durability"], "{}", render(&report));
    let found = check(&report, "postgres durability");
    assert!(found.found.contains("synchronous_commit off"), "{found:?}");
    assert!(found.advice[0].contains("`synchronous_commit = on`"), "{found:?}");
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn servers_that_are_away_are_told_with_their_place_and_what_to_do() {
    let mut servers = throw_away().await;
    let settings = migrated(&servers).await;
    servers.kill_postgres().await.unwrap();
    servers.kill_redis().await.unwrap();
    let report = examine(&settings, SERVERS).await;
    assert_eq!(with(&report, Status::Fail), ["postgres", "redis"], "{}", render(&report));
    for (name, url, variable) in
        [("postgres", servers.database_url(), "DATABASE_URL"), ("redis", servers.redis_url(), "REDIS_URL")]
    {
        let check = check(&report, name);
        assert!(check.found.contains(place(url.expose_secret())), "{check:?}");
        assert!(check.advice[0].contains("refused") && check.advice[0].contains(variable), "{check:?}");
    }
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_and_missing_tables_are_told_apart() {
    let servers = throw_away().await;
    let mut bare = settings(&servers, &[]);
    let report = examine(&bare, SERVERS).await;
    assert_eq!(with(&report, Status::Fail), ["postgres migrations"], "{}", render(&report));
    assert_eq!(check(&report, "postgres migrations").advice, ["run `orderfleet migrate`"]);

    bare.postgres.max_connections = 100_000;
    bare.postgres.url =
        servers.database_url().expose_secret().replacen("orderfleet:", "orderfleet:0", 1).into();
    bare.redis.url = servers.redis_url().expose_secret().replacen("default:", "default:0", 1).into();
    let report = examine(&bare, SERVERS).await;
    assert_eq!(with(&report, Status::Fail), ["postgres", "redis"], "{}", render(&report));
    assert!(check(&report, "postgres").advice[0].contains("password"), "{report:?}");
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn a_fleet_of_more_connections_than_the_server_has_is_told() {
    let servers = throw_away().await;
    let mut settings = migrated(&servers).await;
    settings.postgres.max_connections = 100_000;
    let report = examine(&settings, SERVERS).await;
    assert_eq!(with(&report, Status::Fail), ["postgres connections"], "{}", render(&report));
    servers.stop().await.unwrap();
}

/// A session under this name, for as long as it is kept.
async fn session(servers: &Servers, name: &str) -> PgConnection {
    let options: PgConnectOptions = servers.database_url().expose_secret().parse().unwrap();
    PgConnection::connect_with(&options.application_name(name)).await.unwrap()
}

#[tokio::test]
async fn the_connections_of_every_process_that_lives_are_reckoned() {
    let servers = throw_away().await;
    let mut settings = migrated(&servers).await;
    let mut sessions = Vec::new();
    for name in ["orderfleet 101", "orderfleet 102", "orderfleet 101", "orderfleet 103", "psql"] {
        sessions.push(session(&servers, name).await);
    }
    let found = check(&examine(&settings, SERVERS).await, "postgres connections").clone();
    assert_eq!(found.status, Status::Ok, "{found:?}");
    let told = found.found.strip_prefix("10 for a process, 3 processes are connected; ").unwrap();
    let has: u32 = told.split(' ').next().unwrap().parse().unwrap();
    settings.postgres.max_connections = has / 3 + 1;
    let found = check(&examine(&settings, SERVERS).await, "postgres connections").clone();
    assert_eq!(found.status, Status::Warn, "{found:?}");
    assert!(found.advice[0].starts_with(&format!("3 processes together may ask for {}", (has / 3 + 1) * 3)));
    drop(sessions.pop());
    drop(sessions.pop());
    servers.stop().await.unwrap();
}

/// A collector of traces that takes whatever it gets.
async fn collector(tasks: &TaskTracker, stop: &CancellationToken) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = axum::Router::new().route("/v1/traces", axum::routing::post(async || "{}"));
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async { axum::serve(listener, taken).with_graceful_shutdown(stopped).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_configured_payment_provider_and_the_collector_of_traces_are_asked_too() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (stop, collecting) = (CancellationToken::new(), CancellationToken::new());
    let sandbox = counterparty(&stop).await;
    let mut settings = load(&Sources::default()).unwrap();
    let route = format!("status.url = \"http://{}/wallet/status/{{reference}}\"\n", sandbox.address());
    let wallet = crate::configured_payments::provider(&format!("{route}status.failed = [\"FAILED\"]\n"));
    settings.payment_providers.insert("wallet".to_owned(), wallet);
    let tasks = TaskTracker::new();
    settings.telemetry.otlp_endpoint = collector(&tasks, &collecting).await;
    let names = ["wallet", "otlp collector"];
    let status = |report: &Report| names.map(|name| check(report, name).status);
    let report = examine(&settings, &[Need::StripeApi]).await;
    assert_eq!(status(&report), [Status::Ok, Status::Ok], "{}", render(&report));

    stop.cancel();
    collecting.cancel();
    tasks.close();
    tasks.wait().await;
    sandbox.join().await;
    let report = examine(&settings, &[Need::StripeApi]).await;
    assert_eq!(status(&report), [Status::Fail, Status::Warn], "{}", render(&report));
    assert!(check(&report, "wallet").advice[0].contains("payment_providers.wallet.status.url"), "{report:?}");
    settings.telemetry.otlp_endpoint.clear();
    let report = examine(&settings, &[Need::Smtp]).await;
    assert_eq!(check(&report, "otlp collector").status, Status::Skipped);
    assert!(report.checks.iter().all(|check| check.name != "wallet"), "who asks nobody needs none of them");
}

async fn counterparty(stop: &CancellationToken) -> Sandbox {
    let secrets = SandboxSecrets {
        stripe_key: "sk_test_doctor".into(),
        stripe_webhook: "whsec_doctor".into(),
        easypost_key: "EZTK_doctor".into(),
        easypost_webhook: "doctor".into(),
        wallet_webhook: "doctor".into(),
    };
    let any = ["ORDERFLEET__SANDBOX__ADDRESS", "ORDERFLEET__SANDBOX__SMTP_ADDRESS"];
    let environment = any.map(|name| (name.to_owned(), "127.0.0.1:0".to_owned())).into();
    let settings = load(&Sources { environment, ..Sources::default() }).unwrap();
    sandbox::serve(&settings.sandbox, secrets, stop.clone()).await.unwrap()
}

#[tokio::test]
async fn providers_that_know_us_and_providers_that_do_not() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stop = CancellationToken::new();
    let sandbox = counterparty(&stop).await;
    let needs = &[Need::StripeApi, Need::EasyPostApi, Need::Smtp];
    let base = format!("http://{}", sandbox.address());
    let environment = [
        ("STRIPE_API_BASE", base.clone()),
        ("EASYPOST_API_BASE", format!("{base}/v2")),
        ("SMTP_URL", format!("smtp://{}", sandbox.smtp_address())),
        ("STRIPE_SECRET_KEY", "sk_test_doctor".to_owned()),
        ("EASYPOST_API_KEY", "EZTK_doctor".to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let mut settings = load(&Sources { environment, ..Sources::default() }).unwrap();
    let report = examine(&settings, needs).await;
    let accounts =
        ["stripe", "stripe account", "stripe clock", "stripe webhooks", "easypost", "easypost account"];
    let all =
        [&["configuration", "health ports", "ops port"], &accounts[..], &["easypost clock", "smtp"]].concat();
    assert_eq!(with(&report, Status::Ok), all, "{}", render(&report));
    assert!(
        check(&report, "stripe account").found.starts_with("acct_sandbox, answers in 2026"),
        "{report:?}"
    );
    assert!(check(&report, "smtp").found.ends_with("no TLS, without a login"), "{report:?}");

    settings.stripe.secret_key = "sk_test_rotated".into();
    settings.easypost.api_key = "EZTK_rotated".into();
    stop.cancel();
    let (stripe, easypost) = {
        let again = CancellationToken::new();
        let sandbox = counterparty(&again).await;
        settings.stripe.api_base = format!("http://{}", sandbox.address());
        settings.easypost.api_base = format!("http://{}/v2", sandbox.address());
        let report = examine(&settings, needs).await;
        again.cancel();
        sandbox.join().await;
        (check(&report, "stripe").clone(), check(&report, "easypost").clone())
    };
    assert!(stripe.advice[0].contains("Correct STRIPE_SECRET_KEY"), "{stripe:?}");
    assert!(easypost.advice[0].contains("Correct EASYPOST_API_KEY"), "{easypost:?}");
    assert!(!format!("{stripe:?}{easypost:?}").contains("rotated"));
    sandbox.join().await;

    let report = examine(&settings, Need::ALL).await;
    assert_eq!(check(&report, "configuration").advice.len(), 5, "{}", render(&report));
    assert_eq!(check(&report, "smtp").status, Status::Fail);
    assert!(check(&report, "smtp").advice[0].contains("SMTP_URL"), "{report:?}");
}
