//! Outages of Redis and of Postgres under load: short ones, ones that outlast two leases, three in a row, and a Redis
//! that reads a large log before it answers.
//!
//! A server that is away is nobody's fault: no job is lost or repeated, none is suspected, none spends an attempt, and
//! work goes on within seconds of its answer.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report, quantile};
use tokio::time::sleep;

use crate::plan::Plan;

/// Which server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Redis,
    Postgres,
}

/// Probes that are inserted before each outage: more than a worker does in it.
const JOBS: u64 = 1_500;
/// In hand for a while, so that leases are held when the server dies.
const CALL: &str = r#"{"call": 40}"#;
const WORKERS: usize = 2;
/// Longer than two leases of 4 s, each longer by an eighth at most.
const LONG_MS: u64 = 9_500;
const SHORT_MS: u64 = 1_500;
/// Values that Redis has to read at its start, in the full form: seconds of `LOADING`.
const BALLAST: &str =
    "for k = 1, 100000 do redis.call('SET', 'ballast:' .. ARGV[1] .. ':' .. k, string.rep('x', 200)) end";
const BALLASTS: u64 = 10;

/// Kills the server again and again, and measures how long it takes until work goes on.
pub(crate) async fn prove(server: Server, plan: Plan, report: &mut Report) {
    let rounds = plan.sized(3_u64, 10);
    let mut random = StdRng::seed_from_u64(plan.seed);
    let setup = Setup::default().set("lanes.housekeeping.concurrency", 4).set("lanes.housekeeping.slice", 32);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.working(&[]).await);
    }
    if server == Server::Redis {
        for n in 0..plan.sized(1, BALLASTS) {
            fleet.redis(&["EVAL", BALLAST, "0", &n.to_string()]).await;
        }
    }
    let (mut waits, mut strikes, mut suspects, mut outages) = (Vec::new(), 0, 0, 0);
    for round in 0..rounds {
        fleet.insert_probes(JOBS, CALL, "0").await;
        until("work in flight", async || (fleet.leased().await > 0).then_some(())).await;
        sleep(Duration::from_millis(random.random_range(0..400))).await;
        // The first is long, every third comes three times in a row, the others are short.
        let away = if round == 0 { LONG_MS } else { random.random_range(100..SHORT_MS) };
        for _ in 0..if round % 3 == 1 { 3 } else { 1 } {
            restart(&mut fleet, server, Duration::from_millis(away)).await;
            outages += 1;
        }
        waits.push(until_it_works(&fleet).await);
        let (more_strikes, more_suspects) = fleet.suspicions().await;
        strikes += more_strikes;
        suspects += more_suspects;
        report.progress(format_args!(
            "{outages} outages, the last of {away} ms; work went on after {:.2} s",
            waits[waits.len() - 1]
        ));
    }
    until("every job's end", async || (fleet.open_work().await == 0).then_some(())).await;
    let tally = fleet.tally().await;
    report.count("outages", outages);
    report.count("jobs", tally.accepted);
    report.figure("works_again_p50_seconds", quantile(&mut waits, 0.5));
    report.bar("works_again_max_seconds", quantile(&mut waits, 1.0), Op::AtMost, 5.0);
    report.exactly("lost_jobs", tally.lost, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.exactly("undone_jobs", tally.accepted - tally.done, 0);
    report.exactly("strikes", strikes, 0);
    report.exactly("suspects", suspects, 0);
    report.note(format!("attempts: {}", fleet.attempts().await));
    report.exactly("attempts_spent", fleet.count("select count(*) from attempts_ever").await, 0);
    report.exactly("dead_letters", fleet.count("select count(*) from dead_letters").await, 0);
    let ended = workers.iter_mut().filter_map(|worker| worker.has_ended().then_some(())).count();
    report.exactly("workers_that_ended", i64::try_from(ended).unwrap(), 0);
    drop(workers);
    fleet.end().await;
}

async fn restart(fleet: &mut Fleet, server: Server, away: Duration) {
    match server {
        Server::Redis => {
            fleet.servers.kill_redis().await.unwrap();
            sleep(away).await;
            fleet.servers.start_redis().await.unwrap();
        }
        Server::Postgres => {
            fleet.servers.kill_postgres().await.unwrap();
            sleep(away).await;
            fleet.servers.start_postgres().await.unwrap();
        }
    }
}

/// The server answers now: seconds until a job is done that nobody had in hand, from its row by the relay and the queue.
async fn until_it_works(fleet: &Fleet) -> f64 {
    fleet.insert_probes(1, r#""note""#, "0").await;
    let wait = "select coalesce(extract(epoch from min(l.at) - max(p.run_at))::float8, 0)
                  from probe_ledger as l join probe_jobs as p using (job)
                 where p.run_at = (select max(run_at) from probe_jobs)";
    until("a new job's end", async || {
        let wait: f64 = fleet.select(wait).await;
        (wait > 0.0).then_some(wait)
    })
    .await
}
