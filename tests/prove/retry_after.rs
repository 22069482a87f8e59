//! Honest `Retry-After`: whoever waits as told gets in on its first retry, and the fleet is not idle meanwhile.
//!
//! Two doors, one worker that Postgres holds to a speed, and more callers than it can serve: a crowd of a thousand at
//! once, and arrivals that go on. Each caller who is sent away comes back at the time it was told, to the other door,
//! with the same key.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use orderfleet::ids::jitter;
use orderfleet::time::Stopwatch;
use reqwest::StatusCode;
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report};

use crate::plan::Plan;

/// Jobs a second that Postgres lets through, about; what was really done before the crowd came is what counts.
const SPEEDS: [u32; 3] = [50, 150, 400];
/// The longest wait that the doors accept.
const LONGEST: u32 = 4;
/// How long the speed is measured before the crowd comes: longer than the doors need to believe it.
const MEASURED: Duration = Duration::from_secs(4);
/// Callers who are sent away a second time go on as told, so often.
const PATIENCE: usize = 5;

/// Every intent sleeps in its transaction for as long as the table says.
const BRAKE: &str = "
    create table brake (seconds float8 not null);
    insert into brake values (0);
    create function brake() returns trigger language plpgsql as
      'begin perform pg_sleep((select seconds from brake)); return new; end';
    create trigger brake before insert on order_intents for each row execute function brake();
    select 0::bigint";

/// What became of one caller.
struct Caller {
    /// How often it was sent away.
    refused: usize,
    is_in: bool,
}

/// Proves it at three speeds.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let crowd = plan.sized(250, 1_000);
    let setup = Setup::default()
        .set("intake.max_queue_wait_seconds", LONGEST)
        // More come than there are pieces: whoever is told so at the door waits for nothing.
        .set("intake.sold_out_gate", false)
        .set("lanes.intents.slice", 8)
        .set("lanes.intents.concurrency", 1);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.count(BRAKE).await;
    let mut worker = fleet.working(&["--lanes", "intents"]).await;
    for speed in SPEEDS {
        // Doors that know no other speed, or they would refuse the backlog that it is measured by.
        let (mut doors, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (mut door, address) = fleet.another_intake();
            door.says("intake listens").await;
            until("a door with keys", async || {
                let answer = fleet.wish_at(address, &address.to_string()).await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await;
            doors.push(door);
            addresses.push(address);
        }
        at_speed(&fleet, [addresses[0], addresses[1]], speed, crowd, report).await;
        for door in &mut doors {
            door.signal("TERM");
            assert!(door.ended().await.success(), "a door did not end well");
        }
    }
    worker.signal("TERM");
    assert!(worker.ended().await.success(), "the worker did not end well");
    fleet.end().await;
}

async fn at_speed(fleet: &Fleet, doors: [SocketAddr; 2], speed: u32, crowd: u32, report: &mut Report) {
    fleet.count(&format!("update brake set seconds = 1.0 / {speed}; select 0::bigint")).await;
    // A lane that is fuller than the longest wait allows: the doors know no speed yet and take all of it.
    let backlog = speed * (LONGEST + 6);
    let name = |what: &str, number: u32| format!("{speed}-{what}-{number}");
    let names: Vec<String> = (0..backlog).map(|number| name("backlog", number)).collect();
    let sent: FuturesUnordered<_> = names.iter().map(|key| fleet.wish_at(doors[0], key)).collect();
    sent.for_each(async |answer| assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED)).await;
    let (before, since) = (done(fleet).await, Stopwatch::start());
    tokio::time::sleep(MEASURED).await;
    let drain = per_second(done(fleet).await - before, since.elapsed());

    let (before, since) = (done(fleet).await, Stopwatch::start());
    // The crowd within a second, and half as many others while it waits: half of what the fleet can do.
    let span = f64::from(crowd) / f64::from(speed);
    let starts = (0..crowd).map(|number| (name("crowd", number), jitter()));
    let later = (0..crowd / 2).map(|number| (name("later", number), jitter() * span));
    let mut calls: FuturesUnordered<_> = starts
        .chain(later)
        .enumerate()
        .map(|(at, (key, start))| call(fleet, doors, at, key, start))
        .collect();
    let mut callers = Vec::new();
    while let Some(caller) = calls.next().await {
        callers.push(caller);
    }
    // Idle is what was not done until the last one came in.
    let worked = per_second(done(fleet).await - before, since.elapsed());

    let sent_away = callers.iter().filter(|caller| caller.refused > 0).count();
    let first = callers.iter().filter(|caller| caller.refused == 1 && caller.is_in).count();
    let never = callers.iter().filter(|caller| !caller.is_in).count();
    report.progress(format_args!(
        "{drain:.0} jobs/s: {sent_away} of {} sent away, {first} in on the first retry, {worked:.0} jobs/s meanwhile",
        callers.len()
    ));
    report.figure(&format!("drain_at_{speed}_jobs_per_second"), drain);
    let sent_away_bar = f64::from(crowd) / 2.0;
    report.bar(&format!("sent_away_at_{speed}_callers"), count(sent_away), Op::AtLeast, sent_away_bar);
    report.exactly(&format!("never_in_at_{speed}_callers"), i64::try_from(never).unwrap(), 0);
    let share = count(first) / count(sent_away.max(1));
    report.bar(&format!("first_retry_at_{speed}_share"), share, Op::AtLeast, 0.9);
    report.bar(&format!("idle_at_{speed}_share"), (1.0 - worked / drain).max(0.0), Op::AtMost, 0.1);
    until("an empty lane", async || (waiting(fleet).await == 0).then_some(())).await;
}

/// Comes at its time, and again whenever it was told to.
async fn call(fleet: &Fleet, doors: [SocketAddr; 2], number: usize, key: String, start: f64) -> Caller {
    tokio::time::sleep(Duration::from_secs_f64(start)).await;
    let mut caller = Caller { refused: 0, is_in: false };
    while caller.refused < PATIENCE {
        let answer = fleet.wish_at(doors[(number + caller.refused) % 2], &key).await.unwrap();
        if answer.status() == StatusCode::ACCEPTED {
            caller.is_in = true;
            break;
        }
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let told = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        caller.refused += 1;
        tokio::time::sleep(Duration::from_secs(told)).await;
    }
    caller
}

async fn done(fleet: &Fleet) -> u64 {
    number(fleet.redis(&["HGET", "{of:intents:0}:m", "done"]).await)
}

async fn waiting(fleet: &Fleet) -> u64 {
    number(fleet.redis(&["HLEN", "{of:intents:0}:j"]).await)
}

fn number(value: redis::Value) -> u64 {
    redis::from_redis_value::<Option<u64>>(value).unwrap().unwrap_or_default()
}

fn per_second(jobs: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(jobs).unwrap()) / time.as_secs_f64()
}

fn count(callers: usize) -> f64 {
    f64::from(u32::try_from(callers).unwrap())
}
