//! Black holes: the way to Redis, then to Postgres, forgets every connection that is open, or passes nothing at all for a
//! while. Nobody is told: what is sent is never answered.
//!
//! A worker must find out by itself, and work again within seconds, with nothing lost and nothing done twice.

use std::time::Duration;

use orderfleet::time::Stopwatch;
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::proxy::Proxy;
use stage::report::{Op, Report, quantile};
use tokio::time::sleep;

use crate::plan::Plan;

/// Work before each hole, so that calls are under way and leases held.
const JOBS: u64 = 300;
const CALL: &str = r#"{"call": 40}"#;
/// How long nothing passes: longer than two leases.
const SILENCE: Duration = Duration::from_secs(9);

/// Opens holes, and measures how long work stands still.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let rounds = plan.sized(1, 10);
    let setup = Setup::default().set("lanes.housekeeping.concurrency", 4).set("lanes.housekeeping.slice", 32);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let to_redis = Proxy::start(fleet.redis_address()).await;
    let to_postgres = Proxy::start(fleet.postgres_address()).await;
    let (redis, postgres) = (fleet.redis_url_through(&to_redis), fleet.database_url_through(&to_postgres));
    let ways = [("REDIS_URL", redis.as_str()), ("DATABASE_URL", postgres.as_str())];
    let (mut worker, _) = fleet.working_apart(&ways).await;
    for (server, proxy) in [("redis", &to_redis), ("postgres", &to_postgres)] {
        for (hole, is_for_good) in [("forgotten", true), ("silent", false)] {
            let mut waits = Vec::new();
            for _ in 0..rounds {
                waits.push(one(&fleet, proxy, is_for_good).await);
            }
            report.progress(format_args!("{server} {hole}: {waits:.2?} s"));
            let name = format!("{server}_{hole}_works_again_max_seconds");
            report.bar(&name, quantile(&mut waits, 1.0), Op::AtMost, 10.0);
        }
    }
    until("every job's end", async || (fleet.open_work().await == 0).then_some(())).await;
    let tally = fleet.tally().await;
    report.count("jobs", tally.accepted);
    report.exactly("lost_jobs", tally.lost, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.exactly("undone_jobs", tally.accepted - tally.done, 0);
    report.exactly("late_writes", tally.late, 0);
    report.exactly("dead_letters", fleet.count("select count(*) from dead_letters").await, 0);
    report.exactly("workers_that_ended", i64::from(worker.has_ended()), 0);
    drop(worker);
    fleet.end().await;
}

/// One hole: seconds until a job is done that came after its beginning; after its end, where it has one.
async fn one(fleet: &Fleet, proxy: &Proxy, is_for_good: bool) -> f64 {
    fleet.insert_probes(JOBS, CALL, "0").await;
    until("work in flight", async || (fleet.leased().await > 0).then_some(())).await;
    if is_for_good {
        proxy.forget_all();
    } else {
        proxy.fall_silent();
        sleep(SILENCE).await;
        proxy.speak();
    }
    let since = Stopwatch::start();
    fleet.insert_probes(1, r#""note""#, "0").await;
    let is_done = "select count(*) from probe_ledger join probe_jobs using (job)
                    where run_at = (select max(run_at) from probe_jobs) and phase = 'done'";
    until("a new job's end", async || (fleet.count(is_done).await > 0).then_some(())).await;
    since.elapsed().as_secs_f64()
}
