//! Is the database there, does it keep what it commits, has it room, and has it our tables?

use tokio::time::timeout;

use super::{Check, PATIENCE, Status, skew};
use crate::config::{Need, PostgresSettings};
use crate::store::Store;
use crate::store::health::{self, ServerFacts};
use crate::time::Clock;

/// The oldest that has every setting and function which the store relies on (`client_connection_check_interval`).
const OLDEST: i32 = 140_000;
/// The checks of a server that answers.
const FURTHER: [&str; 5] = [
    "postgres version",
    "postgres durability",
    "postgres connections",
    "postgres migrations",
    "postgres clock",
];

pub(super) async fn examine(settings: &PostgresSettings, needs: &[Need]) -> Vec<Check> {
    if !needs.contains(&Need::Postgres) {
        return vec![Check::skipped("postgres", "not needed")];
    }
    let place = match health::place(settings) {
        Ok(place) => place,
        Err(error) => return failed("no address", format!("postgres.url: {error}")),
    };
    let clock = Clock::real();
    let before = clock.now().timestamp_millis();
    match timeout(PATIENCE, health::look(settings)).await {
        Err(_elapsed) => failed(&place, advice(&format!("no answer in {PATIENCE:?}"))),
        Ok(Err(error)) => failed(&place, advice(&error.to_string())),
        Ok(Ok(facts)) => {
            let after = clock.now().timestamp_millis();
            vec![
                Check::ok("postgres", format!("reached at {place}")),
                version(&facts),
                durability(&facts),
                connections(&facts, settings),
                migrations(settings).await,
                skew("postgres clock", before, facts.now.timestamp_millis(), after),
            ]
        }
    }
}

fn advice(reason: &str) -> String {
    format!(
        "{reason}. Start Postgres, or correct DATABASE_URL ([postgres] url): host, port, user, password, database"
    )
}

/// It can't be asked: one failure, and the rest not looked at.
fn failed(place: &str, advice: String) -> Vec<Check> {
    let first = Check::ok("postgres", format!("not usable at {place}")).but(Status::Fail, advice);
    let rest = FURTHER.into_iter().map(|name| Check::skipped(name, "Postgres could not be asked"));
    std::iter::once(first).chain(rest).collect()
}

fn version(facts: &ServerFacts) -> Check {
    let is_old = facts.version_number < OLDEST;
    Check::ok("postgres version", &facts.version)
        .but_if(is_old, Status::Fail, || format!("upgrade Postgres to {} or newer", OLDEST / 10_000))
}

fn durability(facts: &ServerFacts) -> Check {
    let mode = facts.synchronous_commit.as_str();
    let fsync = if facts.fsync { "on" } else { "off" };
    Check::ok("postgres durability", format!("fsync {fsync}, synchronous_commit {mode}"))
        .but_if(!facts.fsync, Status::Fail, || {
            "set `fsync = on` and `full_page_writes = on`: a power loss would lose paid orders or the whole database"
                .to_owned()
        })
        .but_if(mode == "off", Status::Fail, || {
            "set `synchronous_commit = on`: a crash would lose what was acknowledged".to_owned()
        })
        .but_if(facts.is_standby, Status::Fail, || {
            "this server only follows another one: name the primary in DATABASE_URL".to_owned()
        })
}

fn connections(facts: &ServerFacts, settings: &PostgresSettings) -> Check {
    let each = i64::from(settings.max_connections);
    let has = i64::from(facts.connections).saturating_sub(facts.others);
    // A fleet is an intake and a worker at least.
    let (live, all) = (facts.processes, facts.processes.max(2));
    let wants = each.saturating_mul(all);
    let found = format!("{each} for a process, {live} processes are connected; {has} for the whole fleet");
    let check = Check::ok("postgres connections", found);
    let raise = "raise the server's max_connections, or lower postgres.max_connections";
    if each > has {
        check.but(Status::Fail, format!("one process alone would not get what it may ask for: {raise}"))
    } else {
        check.but_if(wants > has, Status::Warn, || {
            format!("{all} processes together may ask for {wants}: {raise}. More workers would make it worse")
        })
    }
}

async fn migrations(settings: &PostgresSettings) -> Check {
    let name = "postgres migrations";
    let asked = async {
        let store = Store::new(settings)?;
        let pending = store.pending_migrations().await;
        store.close().await;
        pending
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(0)) => Check::ok(name, "all applied"),
        Ok(Ok(count)) => {
            Check::ok(name, format!("{count} not applied")).but(Status::Fail, "run `orderfleet migrate`")
        }
        Ok(Err(error)) => Check::ok(name, "could not be read").but(Status::Fail, error.to_string()),
        Err(_elapsed) => Check::ok(name, "could not be read")
            .but(Status::Fail, format!("no answer in {PATIENCE:?}: look for locks on _sqlx_migrations")),
    }
}
