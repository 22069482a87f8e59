//! Recovery: how long after `kill -9` a job that was in hand runs again, with default settings.
//!
//! Probes sit in long calls, so that their workers hold them at any moment; a trigger writes down every time that a row's
//! run rises. Kills are spread over the renewal's phase. Half of the rounds freeze the victim inside an open transaction
//! first, with its rows locked, and let its session outlive it in Postgres, as that of a dead machine does.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::proxy::Proxy;
use stage::report::{Op, Report, quantile};

use uuid::Uuid;

use crate::plan::Plan;

/// Probes that the victim has in its hands, and in slices of how many. Its survivor starts when they are taken, with every
/// hand free: one whose hands are full would be no test of recovery.
const JOBS: u64 = 24;
const SLICE: u64 = 4;
const HANDS: u64 = 6;
/// A call is far longer than a recovery, so that nobody finishes meanwhile.
const CALL: &str = r#"{"call": 9000}"#;
/// The renewal's phase: kills are spread over it.
const RENEWAL_MS: u64 = 1_000;
/// Every rise of a run, when it was committed as near as a trigger can say.
const LOG: &str = "
    create table kill (at timestamptz);
    create table runs (job uuid, run int, at timestamptz default clock_timestamp());
    create function log_run() returns trigger language plpgsql as
      'begin insert into runs (job, run) values (new.id, new.run); return new; end';
    create trigger log_run after update of run on jobs for each row when (new.run > old.run) execute function log_run();
    select 0::bigint";

/// Kills workers that have jobs in hand, and waits until each job runs elsewhere.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let (kills, wanted) = (plan.sized(4, 32), plan.sized(10, 100));
    let mut random = StdRng::seed_from_u64(plan.seed);
    let setup =
        Setup::default().set("lanes.housekeeping.concurrency", HANDS).set("lanes.housekeeping.slice", SLICE);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    fleet.count(LOG).await;
    let (mut samples, mut kept_locks) = (Vec::new(), Vec::new());
    let mut killed = 0;
    while killed < kills || samples.len() < wanted {
        let phase = Duration::from_millis(random.random_range(0..RENEWAL_MS));
        if killed % 2 == 0 {
            samples.extend(in_calls(&mut fleet, phase).await);
        } else {
            kept_locks.extend(in_a_transaction(&mut fleet, phase).await);
        }
        killed += 1;
        report.progress(format_args!(
            "{killed} kills, {} jobs in flight, {} locked",
            samples.len(),
            kept_locks.len()
        ));
        fleet.count("delete from jobs; delete from runs; select 0::bigint").await;
        fleet.redis(&["FLUSHALL"]).await;
    }
    report.count("kills", killed);
    for (name, samples) in [("recovery", &mut samples), ("recovery_with_locks_kept", &mut kept_locks)] {
        report.count(&format!("{name}_samples"), samples.len());
        report.figure(&format!("{name}_p50_seconds"), quantile(samples, 0.5));
        report.bar(&format!("{name}_p99_seconds"), quantile(samples, 0.99), Op::AtMost, 5.0);
        report.bar(&format!("{name}_max_seconds"), quantile(samples, 1.0), Op::AtMost, 8.0);
    }
    fleet.end().await;
}

/// The victim dies in the middle of its calls.
async fn in_calls(fleet: &mut Fleet, phase: Duration) -> Vec<f64> {
    let mut victim = fleet.working(&[]).await;
    fleet.insert_probes(JOBS, CALL, "0").await;
    let most = i64::try_from(JOBS).unwrap();
    until("jobs in hand", async || (fleet.count("select count(*) from runs").await >= most).then_some(()))
        .await;
    let _survivor = fleet.working(&[]).await;
    tokio::time::sleep(phase).await;
    let held = fleet.held_by(victim.pid()).await;
    mark(fleet).await;
    victim.kill_now();
    run_again(fleet, &held).await
}

/// The victim dies inside a transaction, with its rows locked, and its session outlives it: the network does not tell.
async fn in_a_transaction(fleet: &mut Fleet, phase: Duration) -> Vec<f64> {
    let proxy = Proxy::start(fleet.postgres_address()).await;
    let (mut victim, points) =
        fleet.working_apart(&[("DATABASE_URL", &fleet.database_url_through(&proxy))]).await;
    std::fs::write(points.join("stop.loading"), "").unwrap();
    fleet.insert_probes(JOBS, CALL, "0").await;
    until("a victim in its transaction", async || victim.is_stopped().then_some(())).await;
    let _survivor = fleet.working(&[]).await;
    let held = fleet.held_by(victim.pid()).await;
    // Not longer: its session ends by itself after two seconds, and that would be no test.
    tokio::time::sleep(phase / 4).await;
    mark(fleet).await;
    proxy.fall_silent();
    victim.kill_now();
    run_again(fleet, &held).await
}

/// Writes down when the kill was.
async fn mark(fleet: &Fleet) {
    fleet.count("delete from kill; insert into kill values (clock_timestamp()); select 0::bigint").await;
}

/// Seconds from the kill until each of these jobs was loaded again.
async fn run_again(fleet: &Fleet, held: &[Uuid]) -> Vec<f64> {
    assert!(!held.is_empty(), "the victim held nothing");
    let ids = held.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let again = format!(
        "select coalesce(string_agg(s::text, ' '), '') from (
           select extract(epoch from min(r.at) - max(k.at)) as s from runs as r, kill as k
            where r.job in ({ids}) and r.at > k.at group by r.job) as w"
    );
    until("jobs that run again", async || {
        let waits: String = fleet.select(&again).await;
        let waits: Vec<f64> = waits.split_whitespace().map(|wait| wait.parse().unwrap()).collect();
        (waits.len() == held.len()).then_some(waits)
    })
    .await
}
