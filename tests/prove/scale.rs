//! Ten times as much arrives from one second to the next, and a simple loop follows the wanted workers that the fleet tells:
//! it asks a worker's metrics each second, starts what is missing at once, and takes one away where fewer were wanted for a
//! while. The wait of each job is measured from when it was due to its end, by the database's clock.

use std::net::SocketAddr;
use std::time::Duration;

use orderfleet::time::Stopwatch;
use stage::fleet::{Fleet, Setup, free};
use stage::process::{Process, until};
use stage::report::{Op, Report};
use tokio::time::sleep;

use crate::plan::Plan;

/// A worker does a slice of eight calls of 200 ms at a time: some forty jobs a second.
const ACT: &str = r#"{"call": 200}"#;
const SLICE: u64 = 8;
/// What arrives in a tenth of a second, before and after the step.
const BEFORE: u64 = 1;
const AFTER: u64 = 10;
const TICK: Duration = Duration::from_millis(100);
/// How soon a backlog should be worked off, and so how long a job may wait.
const TARGET_SECONDS: u64 = 10;
/// What this machine bears.
const MOST: usize = 8;
/// How often the loop asks, and how long fewer must be wanted until it takes one away: a drain costs seconds.
const ASK: Duration = Duration::from_secs(1);
const CALM: u32 = 15;

/// The step, and what came of it.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let (quiet, busy) = plan.sized((8, 34), (60, 240));
    let setup = Setup::default()
        .set("lanes.housekeeping.concurrency", 1)
        .set("lanes.housekeeping.slice", SLICE)
        .set("worker.relay_ms", 200)
        .set("worker.target_wait_seconds", TARGET_SECONDS);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let mut crew = Crew::default();
    crew.hire(&mut fleet).await;
    run(&mut fleet, &mut crew, BEFORE, quiet).await;
    let step: String = fleet.select("select now()::text").await;
    report.progress(format_args!("ten times as much arrives; {} worker(s)", crew.workers.len()));
    run(&mut fleet, &mut crew, AFTER, busy).await;
    let most = crew.workers.len();
    until("every job's end", async || (fleet.open_jobs().await == 0).then_some(())).await;

    let late = format!(
        "select coalesce(extract(epoch from max(p.run_at) - '{step}'::timestamptz), 0)::float8
           from probe_jobs p join probe_ledger l using (job) where l.at - p.run_at > interval '{TARGET_SECONDS} seconds'"
    );
    let longest = "select coalesce(extract(epoch from max(l.at - p.run_at)), 0)::float8 from probe_jobs p join probe_ledger l using (job)";
    let tally = fleet.tally().await;
    report.count("jobs", tally.accepted);
    report.count("workers_at_the_end_of_the_step", i64::try_from(most).unwrap());
    report.figure("longest_wait_seconds", fleet.select::<f64>(longest).await);
    report.bar("target_held_again_seconds", fleet.select::<f64>(&late).await, Op::AtMost, 60.0);
    report.bar("direction_changes", f64::from(crew.turns), Op::AtMost, 2.0);
    report.bar("workers_hired", f64::from(crew.hired), Op::AtLeast, 2.0);
    report.exactly("undone_jobs", tally.accepted - tally.done, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    drop(crew);
    fleet.end().await;
}

/// The workers, and the loop's memory.
#[derive(Default)]
struct Crew {
    workers: Vec<(Process, SocketAddr)>,
    hired: u32,
    calm: u32,
    last: i8,
    turns: u32,
}

impl Crew {
    async fn hire(&mut self, fleet: &mut Fleet) {
        let health = free();
        let worker = fleet.working(&["--health-port", &health.port().to_string()]).await;
        self.workers.push((worker, health));
        self.hired += 1;
    }

    /// One turn of the loop.
    async fn follow(&mut self, fleet: &mut Fleet) {
        let mut wanted = None;
        for (_, health) in &self.workers {
            wanted = wanted.max(told(*health).await);
        }
        let Some(wanted) = wanted else { return };
        let wanted = wanted.clamp(1, MOST);
        self.calm = if wanted < self.workers.len() { self.calm + 1 } else { 0 };
        if wanted > self.workers.len() {
            self.went(1);
            while self.workers.len() < wanted {
                self.hire(fleet).await;
            }
        } else if self.calm >= CALM {
            self.went(-1);
            self.calm = 0;
            let (mut worker, _) = self.workers.pop().unwrap();
            worker.signal("TERM");
            assert!(worker.ended().await.success());
        }
    }

    fn went(&mut self, way: i8) {
        self.turns += u32::from(self.last != 0 && self.last != way);
        self.last = way;
    }
}

/// Lets so many jobs arrive in each tick, for so many seconds, while the loop follows.
async fn run(fleet: &mut Fleet, crew: &mut Crew, each: u64, seconds: u64) {
    let (since, mut arrived, mut asked) = (Stopwatch::start(), 0, Stopwatch::start());
    while since.elapsed() < Duration::from_secs(seconds) {
        // What is owed by now: a loop that starts processes is late, the arrivals are not.
        let owed = u64::try_from(since.elapsed().as_millis() / TICK.as_millis()).unwrap() * each;
        if owed > arrived {
            fleet.insert_probes(owed - arrived, ACT, "0").await;
            arrived = owed;
        }
        if asked.elapsed() >= ASK {
            crew.follow(fleet).await;
            asked = Stopwatch::start();
        }
        sleep(TICK).await;
    }
}

/// What a worker says its lane wants; none where it does not know yet.
async fn told(health: SocketAddr) -> Option<usize> {
    let page = reqwest::get(format!("http://{health}/metrics")).await.ok()?.text().await.ok()?;
    let line = page.lines().find(|line| {
        line.starts_with("orderfleet_lane_wanted_workers{") && line.contains("\"housekeeping\"")
    })?;
    line.rsplit(' ').next()?.parse().ok()
}
