//! Redis's clock is stepped by half a minute, forth and back, while jobs wait, run and are due later, and while holds of
//! orders run out.
//!
//! Redis's clock says when leases end and when jobs are handed over, and nothing else: a job that comes early is sent back
//! by the database's clock, a lease that ends early is fenced, and nobody is blamed. Deadlines of orders are the database's.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use stage::fleet::{Fleet, Setup};
use stage::process::{Process, until};
use stage::report::Report;
use stage::tampered::Tampered;
use tokio::time::sleep;

use crate::plan::Plan;

/// How far the clock may be ahead; each step goes from one of them to another.
const CLOCKS_MS: [i64; 3] = [-30_000, 0, 30_000];
/// What arrives before each step: how many, how they behave, when they are due.
const JOBS: [(u64, &str, &str); 5] = [
    (200, r#""note""#, "0"),
    (200, r#"{"call": 300}"#, "0"),
    (40, r#"{"mutate": 1500}"#, "0"),
    (60, r#""note""#, "4 seconds"),
    (60, r#"{"call": 50}"#, "20 seconds"),
];
/// Orders before each step, and how long their stock is held. Nobody pays.
const WISHES: usize = 5;
const HOLD_SECONDS: u64 = 15;
/// The clock of a worker and Redis's are never quite the same: work may begin so much early, in milliseconds.
const EARLY_MS: u32 = 5;

/// Steps the clock again and again, and counts.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut setup = Setup::default()
        .set("orders.reservation_seconds", HOLD_SECONDS)
        .set("lanes.housekeeping.concurrency", 4)
        .set("lanes.housekeeping.slice", 32);
    setup.redis = Some(Tampered::start().await);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let mut workers = [fleet.working(&[]).await, fleet.working(&[]).await];
    let steps = plan.sized(4, 30);
    let (mut clock, mut wishes, mut strikes, mut suspects) = (0, 0, 0, 0);
    for step in 0..steps {
        for (count, act, due) in JOBS {
            fleet.insert_probes(count, act, due).await;
        }
        for n in 0..WISHES {
            fleet.door().accepted(format!("clock-{step}-{n}")).await;
            wishes += 1;
        }
        until("work in flight", async || (fleet.leased().await > 0).then_some(())).await;
        sleep(Duration::from_millis(random.random_range(200..2_500))).await;
        let others: Vec<i64> = CLOCKS_MS.into_iter().filter(|other| *other != clock).collect();
        clock = *others.choose(&mut random).unwrap();
        fleet.tampered.as_ref().unwrap().set_clock(clock);
        sleep(Duration::from_millis(random.random_range(200..1_500))).await;
        let (more_strikes, more_suspects) = fleet.suspicions().await;
        strikes += more_strikes;
        suspects += more_suspects;
        report.progress(format_args!("step {}: the clock is {} s ahead", step + 1, clock / 1_000));
    }
    // Forward at last: nobody has to wait for a clock that was set back.
    fleet.tampered.as_ref().unwrap().set_clock(CLOCKS_MS[2]);
    let ended = "select count(*) from order_intents where state <> 'accepted' or order_id in
                   (select order_id from reservations where state = 'expired')";
    until("every job's end, and every hold's", async || {
        (fleet.open_work().await == 0 && fleet.count(ended).await == wishes).then_some(())
    })
    .await;
    let tally = fleet.tally().await;
    report.count("steps", steps);
    report.count("jobs", tally.accepted);
    report.count("orders", wishes);
    let early = "select count(*) from reservations where state = 'expired' and resolved_at < expires_at";
    report.exactly("holds_released_early", fleet.count(early).await, 0);
    let holds = fleet.count("select count(*) from reservations where state = 'expired'").await;
    report.exactly("holds_released", holds, wishes);
    let early = format!(
        "select count(*) from probe_ledger join probe_jobs using (job) where at < run_at - interval '{EARLY_MS} ms'"
    );
    report.exactly("early_jobs", fleet.count(&early).await, 0);
    report.exactly("lost_jobs", tally.lost, 0);
    report.exactly("undone_jobs", tally.accepted - tally.done, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.exactly("late_writes", tally.late, 0);
    report.exactly("dead_letters", fleet.count("select count(*) from dead_letters").await, 0);
    report.count("strikes", strikes);
    report.count("suspects", suspects);
    let logs = [&fleet.intake, &workers[0], &workers[1]].map(Process::log);
    let odd: usize = logs.iter().map(|log| log.matches("ResponseError").count()).sum();
    report.exactly("answers_of_redis_that_are_errors", i64::try_from(odd).unwrap(), 0);
    report.note(format!("attempts: {}", fleet.attempts().await));
    report.exactly("audit_violations", (!fleet.audit_holds()).into(), 0);
    for worker in &mut workers {
        assert!(!worker.has_ended(), "a worker ended by itself");
        worker.signal("TERM");
        assert!(worker.ended().await.success());
    }
    fleet.end().await;
}
