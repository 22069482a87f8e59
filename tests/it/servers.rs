//! Private servers: they answer, keep what they acknowledged through a crash, and end with whoever started them.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use orderfleet::dev::servers::{Durability, ServerError, Servers, run_beside};
use orderfleet::time::Stopwatch;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;

/// Below the clone, where any user who can build can also start servers.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.orderfleet");
/// Far longer than a server takes to end.
const LONG: Duration = Duration::from_mins(1);

async fn throw_away() -> Servers {
    Servers::throw_away(Path::new(BASE), Durability::OneSecond).await.unwrap()
}

async fn sql(servers: &Servers, statement: &str) -> Vec<String> {
    use sqlx::{Connection, Row};
    let url = servers.database_url();
    let mut connection = sqlx::PgConnection::connect(url.expose_secret()).await.unwrap();
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    let rows = statement.fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn redis(servers: &Servers, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(servers.redis_url().expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut connection).await.unwrap()
}

async fn setting(servers: &Servers, name: &str) -> String {
    let (_, value): (String, String) =
        redis::from_redis_value(redis(servers, &["CONFIG", "GET", name]).await).unwrap();
    value
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_of_each() {
    let mut servers = throw_away().await;
    let (database, queue) = (servers.database_url(), servers.redis_url());
    sql(&servers, "CREATE TABLE kept (what text); INSERT INTO kept VALUES ('a row')").await;
    redis(&servers, &["SET", "kept", "a value"]).await;

    servers.kill_postgres().await.unwrap();
    assert!(TcpStream::connect(address(&database)).await.is_err());
    servers.kill_redis().await.unwrap();
    assert!(TcpStream::connect(address(&queue)).await.is_err());
    servers.start_postgres().await.unwrap();
    servers.start_redis().await.unwrap();

    assert_eq!(servers.database_url().expose_secret(), database.expose_secret());
    assert_eq!(servers.redis_url().expose_secret(), queue.expose_secret());
    assert_eq!(sql(&servers, "SELECT what FROM kept").await, ["a row"]);
    assert_eq!(redis(&servers, &["GET", "kept"]).await, redis::Value::BulkString(b"a value".into()));
    let folder = servers.folder().to_path_buf();
    servers.stop().await.unwrap();
    assert!(!folder.exists(), "thrown away");
}

#[tokio::test]
async fn dev_is_durable_keeps_its_data_and_refuses_a_second_one() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let servers = Servers::start(folder.path(), Durability::PowerLoss).await.unwrap();
    for (name, value) in
        [("appendonly", "yes"), ("appendfsync", "always"), ("no-appendfsync-on-rewrite", "no"), ("save", "")]
    {
        assert_eq!(setting(&servers, name).await, value, "{name}");
    }
    assert_eq!(setting(&servers, "maxmemory-policy").await, "noeviction");
    assert_eq!(sql(&servers, "SHOW fsync").await, ["on"]);
    sql(&servers, "CREATE TABLE kept (what text); INSERT INTO kept VALUES ('a row')").await;

    let second = Servers::start(folder.path(), Durability::PowerLoss).await.unwrap_err();
    assert!(matches!(second, ServerError::InUse { .. }), "{second}");

    let (place, url) = (servers.folder().to_path_buf(), servers.database_url());
    servers.stop().await.unwrap();
    let again = Servers::start(folder.path(), Durability::PowerLoss).await.unwrap();
    assert_eq!(sql(&again, "SELECT what FROM kept").await, ["a row"]);
    assert_eq!(again.database_url().expose_secret(), url.expose_secret(), "an address outlives a restart");
    again.stop().await.unwrap();
    std::fs::remove_dir_all(place).unwrap();
}

#[tokio::test]
async fn two_throw_away_starts_at_once_do_not_meet() {
    let (one, other) = tokio::join!(throw_away(), throw_away());
    redis(&one, &["SET", "mine", "1"]).await;
    assert_eq!(redis(&other, &["GET", "mine"]).await, redis::Value::Nil);
    assert_ne!(one.folder(), other.folder());
    one.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_opens_neither() {
    let servers = throw_away().await;
    let database = servers.database_url().expose_secret().replacen("orderfleet:", "orderfleet:0", 1);
    let queue = servers.redis_url().expose_secret().replacen("default:", "default:0", 1);
    assert!(<sqlx::PgConnection as sqlx::Connection>::connect(&database).await.is_err());
    let client = redis::Client::open(queue).unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_err());
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_ended_by_itself_is_noticed() {
    let mut servers = throw_away().await;
    servers.check().unwrap();
    redis::Client::open(servers.redis_url().expose_secret())
        .unwrap()
        .get_connection()
        .and_then(|mut connection| redis::cmd("SHUTDOWN").query::<()>(&mut connection))
        .unwrap_err(); // it hangs up instead of answering
    let noticed = wait_until(async || servers.check().err()).await.to_string();
    assert!(noticed.contains("redis ended"), "{noticed}");
    servers.stop().await.unwrap();
}

#[test]
fn nothing_runs_on_after_kill_9() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_orderfleet"))
        .args(["dev", "--servers-only", "--folder", BASE])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addresses: Vec<String> = lines
        .take(2)
        .map(|line| address(&line.unwrap().split_once('=').unwrap().1.to_owned().into()))
        .collect();
    for address in &addresses {
        std::net::TcpStream::connect(address).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for address in &addresses {
        runtime.block_on(wait_until(async || TcpStream::connect(address).await.err()));
    }
}

#[tokio::test]
async fn a_command_has_the_servers_and_its_status_comes_back() {
    let script = r#"[ "${DATABASE_URL#postgres://}" != "$DATABASE_URL" ] && [ -n "$REDIS_URL" ] && exit 7"#;
    assert_eq!(beside(script).await, 7);
    assert_eq!(beside("kill -TERM $$").await, 128 + 15);
    let refused = run_beside(Path::new(BASE), &[], async |_| Err(io::Error::other("no schema").into())).await;
    assert!(refused.unwrap_err().to_string().contains("no schema"));
}

async fn beside(script: &str) -> u8 {
    let command = ["sh", "-c", script].map(Into::into);
    let prepared = async |servers: &Servers| {
        sql(servers, "SELECT 'prepared'").await;
        Ok(())
    };
    run_beside(Path::new(BASE), &command, prepared).await.unwrap()
}

/// `host:port` of an address with a password.
fn address(url: &SecretString) -> String {
    let (_, rest) = url.expose_secret().rsplit_once('@').unwrap();
    rest.split('/').next().unwrap().to_owned()
}

async fn wait_until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let since = Stopwatch::start();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(since.elapsed() < LONG, "waited in vain");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
