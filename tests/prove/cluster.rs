//! Failover: the master that holds a busy lane is killed, in a cluster of three masters and then behind Sentinels.
//!
//! Replication is asynchronous: what the dead master had acknowledged and not yet told its replica is gone. Rows of jobs
//! stand in Postgres, and the reaper brings their copies back; a wish stands nowhere else, so whoever sent it repeats it
//! with its key. Both are shown here: the loss is counted, and after the repeat nothing is missing and nothing is there twice.
//! In the cluster the probes' lane has two partitions on two masters: while one is gone, the other half is worked.

use futures::future::join_all;
use orderfleet::time::Stopwatch;
use stage::fleet::{Fleet, Setup, answer};
use stage::process::{Process, until, with};
use stage::redises::{RedisCluster, RedisSentinels};
use stage::report::{Op, Report};

use crate::plan::Plan;

/// Work at each kill: rows of other transactions, and wishes through the intake.
const PROBES: u64 = 600;
const WISHES: usize = 40;
const CALL: &str = r#"{"call": 30}"#;
const WORKERS: usize = 2;
/// Where the leases of the probes are; behind Sentinels there is no second partition.
const LEASES: [&str; 2] = ["{of:housekeeping:0}:l", "{of:housekeeping:1}:l"];
/// Work that is pushed while the master of half of it is gone.
const MEANWHILE: u64 = 100;
/// The lanes whose masters are killed, one after the other.
const LANES: [&str; 2] = ["{of:housekeeping:0}:m", "{of:intents:0}:m"];

const NEWEST_DONE: &str = "select count(*) from probe_ledger join probe_jobs using (job)
                               where run_at = (select max(run_at) from probe_jobs) and phase = 'done'";

/// Who holds a key now, who can be killed, and who comes back.
enum Redises {
    Cluster(RedisCluster),
    Sentinels(RedisSentinels),
}

/// What the failovers of one kind came to.
#[derive(Default)]
struct Seen {
    failovers: i64,
    failover_seconds: f64,
    works_again_seconds: f64,
    /// Done between the death of a master and its succession, in the lane of which it had a half; the least of all times.
    meanwhile: Option<i64>,
    wishes: i64,
    repeated: i64,
}

/// Kills masters of both kinds.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let rounds = plan.sized(1, 5);
    let cluster = Redises::Cluster(RedisCluster::start(3).await);
    fail_over("cluster", cluster, rounds * LANES.len(), report).await;
    let sentinels = Redises::Sentinels(RedisSentinels::start().await);
    fail_over("sentinel", sentinels, rounds, report).await;
    report.note("Redis: appendfsync always, asynchronous replication, nodes given up after 1.5 s");
}

async fn fail_over(kind: &str, mut redises: Redises, kills: usize, report: &mut Report) {
    let mut fleet = Fleet::set_up(redises.setup(kind)).await;
    fleet.lay_ledger().await;
    answer(&mut with(fleet.command(), ["stock", "set", "SUIT-42R", "100000"]));
    let mut workers: Vec<Process> = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.working(&[]).await);
    }
    let mut seen = Seen::default();
    for kill in 0..kills {
        // The dead of the last time are their masters' replicas now.
        redises.bring_back().await;
        one(kind, kill, &mut redises, &fleet, &mut seen).await;
        report.progress(format_args!(
            "{kind}: failover {} took {:.1} s at most, then {:.2} s until work went on",
            kill + 1,
            seen.failover_seconds,
            seen.works_again_seconds
        ));
    }
    until("every job's end", async || (fleet.open_work().await == 0).then_some(())).await;
    let tally = fleet.tally().await;
    report.count(&format!("{kind}_failovers"), seen.failovers);
    report.count(&format!("{kind}_jobs"), tally.accepted);
    report.count(&format!("{kind}_wishes"), seen.wishes);
    report.count(&format!("{kind}_wishes_that_had_to_be_repeated"), seen.repeated);
    report.figure(&format!("{kind}_failover_max_seconds"), seen.failover_seconds);
    report.bar(&format!("{kind}_works_again_max_seconds"), seen.works_again_seconds, Op::AtMost, 5.0);
    if let Some(done) = seen.meanwhile {
        report.bar(
            &format!("{kind}_done_meanwhile_min"),
            f64::from(i32::try_from(done).unwrap()),
            Op::AtLeast,
            1.0,
        );
    }
    let orders = fleet.count("select count(*) from order_intents").await;
    let dead = fleet.count("select count(*) from dead_letters").await;
    let ended = workers.iter_mut().filter_map(|worker| worker.has_ended().then_some(())).count();
    for (name, count) in [
        ("lost_jobs", tally.lost),
        ("doubled_jobs", tally.doubled),
        ("undone_jobs", tally.accepted - tally.done),
        ("late_writes", tally.late),
        ("wishes_missing_after_their_repeat", seen.wishes - orders),
        ("dead_letters", dead),
        ("workers_that_ended", i64::try_from(ended).unwrap()),
        ("audit_violations", i64::from(!fleet.audit_holds())),
    ] {
        report.exactly(&format!("{kind}_{name}"), count, 0);
    }
    drop(workers);
    fleet.end().await;
}

/// One failover under load.
async fn one(kind: &str, kill: usize, redises: &mut Redises, fleet: &Fleet, seen: &mut Seen) {
    let lane = LANES[kill % LANES.len()];
    fleet.insert_probes(PROBES, CALL, "0").await;
    let door = fleet.door();
    let keys: Vec<String> = (0..WISHES).map(|n| format!("{kind}-{kill}-{n}")).collect();
    let wishing = join_all(keys.iter().map(|key| door.accepted(key.clone())));
    let killing = async {
        until("work in flight", async || (redises.leased().await > 0).then_some(())).await;
        redises.kill(lane).await;
        let dead = Stopwatch::start();
        let halved = redises.has_half_of(lane);
        if halved {
            fleet.insert_probes(MEANWHILE, r#""note""#, "0").await;
        }
        until("another master", async || redises.master(lane).await).await;
        let failover = dead.elapsed().as_secs_f64();
        if halved {
            let done = fleet.count(NEWEST_DONE).await;
            seen.meanwhile = Some(seen.meanwhile.map_or(done, |least| least.min(done)));
        }
        // From the new master's first answer on: a job that nobody had in hand.
        let again = Stopwatch::start();
        fleet.insert_probes(1, r#""note""#, "0").await;
        until("work that goes on", async || (fleet.count(NEWEST_DONE).await > 0).then_some(())).await;
        (failover, again.elapsed().as_secs_f64())
    };
    let (_, (failover, again)) = tokio::join!(wishing, killing);
    seen.failovers += 1;
    seen.failover_seconds = seen.failover_seconds.max(failover);
    seen.works_again_seconds = seen.works_again_seconds.max(again);
    until("the end of what is left", async || (fleet.open_work().await == 0).then_some(())).await;
    seen.wishes += i64::try_from(WISHES).unwrap();
    let ended = async || fleet.count("select count(*) from order_intents").await;
    // What was accepted and is nowhere now was lost with the master; its senders repeat it, as all others may.
    let missing = (seen.wishes - ended().await).max(0);
    join_all(keys.iter().map(|key| door.accepted(key.clone()))).await;
    until("every wish's end", async || (ended().await >= seen.wishes).then_some(())).await;
    seen.repeated += missing;
}

impl Redises {
    fn setup(&self, mode: &str) -> Setup {
        let setup = Setup::default().set("redis.mode", mode).set("lanes.housekeeping.concurrency", 4);
        match self {
            Self::Cluster(cluster) => {
                setup.set("redis.url", cluster.url()).set("lanes.housekeeping.partitions", 2)
            }
            Self::Sentinels(all) => {
                setup.set("redis.url", all.url()).set("redis.sentinel_master", RedisSentinels::MASTER)
            }
        }
    }

    async fn master(&self, key: &str) -> Option<usize> {
        match self {
            Self::Cluster(cluster) => cluster.master_of(key).await,
            Self::Sentinels(all) => all.master().await,
        }
    }

    /// Probes in workers' hands.
    async fn leased(&self) -> i64 {
        let mut leased = 0;
        for leases in LEASES {
            let words = ["ZCARD", leases];
            let count = match self {
                Self::Cluster(cluster) => cluster.ask(leases, &words).await,
                Self::Sentinels(all) => match all.master().await {
                    Some(at) => all.servers[at].ask(&words).await.ok(),
                    None => None,
                },
            };
            leased += count.unwrap_or(0);
        }
        leased
    }

    /// Whether the death of this lane's master leaves a half of it.
    fn has_half_of(&self, lane: &str) -> bool {
        matches!(self, Self::Cluster(_)) && lane == LANES[0]
    }

    /// `kill -9` of the master that holds the key.
    async fn kill(&mut self, key: &str) {
        let at = self.master(key).await.expect("a master");
        match self {
            Self::Cluster(cluster) => cluster.nodes[at].kill(),
            Self::Sentinels(all) => all.servers[at].kill(),
        }
    }

    /// Starts the dead again, as replicas, and waits until they are in step.
    async fn bring_back(&mut self) {
        match self {
            Self::Cluster(cluster) => {
                for node in cluster.nodes.iter_mut().filter(|node| !node.lives()) {
                    node.start_again().await;
                }
                cluster.is_whole().await;
            }
            Self::Sentinels(all) => all.bring_back().await,
        }
    }
}
