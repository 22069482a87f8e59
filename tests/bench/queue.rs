//! Throughput: push N jobs, then claim, run and finish N jobs that do nothing; no Postgres.
//!
//! Ours, the floor and the peers take turns on the same Redis: same number of jobs, same body, same batch, same batches
//! in flight, same `appendfsync`. The figure is the median of the rounds, and the ratios are of combined rates: jobs by
//! the time of both phases together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use orderfleet::job::Lane;
use orderfleet::time::Stopwatch;
use stage::report::{Op, Report, quantile};
use tokio::sync::Notify;

use crate::floor;
use crate::lane::{self, Stop};
use crate::peer::{PEERS_OF_QUEUE, Peer};
use crate::plan::{Plan, Scale};
use crate::rig::{Rig, float};

/// Bytes of a job's payload.
pub(crate) const BODY: usize = 200;
/// Jobs in one call, at most.
pub(crate) const BATCH: usize = 256;
/// Calls of a pusher that wait for their answers at once.
pub(crate) const IN_FLIGHT: usize = 4;
/// Slices that our worker has in hand at once, and batches of the floor.
const HANDS: usize = 4;
/// Rounds of everyone, in turn. Odd: the median is one of them.
const ROUNDS: usize = 5;
const LANE: Lane = Lane::Mail;

/// How long a round took, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    pub(crate) push: f64,
    pub(crate) work: f64,
}

/// Who runs.
enum Runner {
    Ours,
    Floor,
    Peer(&'static Peer),
}

impl Runner {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Floor => "floor",
            Self::Peer(peer) => peer.name,
        }
    }
}

pub(crate) async fn run(plan: Plan, report: &mut Report) {
    let runners = runners(&plan, report);
    let jobs = plan.sized(20 * BATCH * IN_FLIGHT, 200 * BATCH * IN_FLIGHT);
    // A short run takes the setting that the fleet promises; a full one both.
    let settings: &[&str] = if plan.scale == Scale::Short { &["always"] } else { &["always", "everysec"] };
    let rig = Rig::start().await;
    report.count("jobs", jobs);
    report.count("body_bytes", BODY);
    report.count("batch_jobs", BATCH);
    report.count("batches_in_flight", IN_FLIGHT);
    report.note(format!("appendonly yes; appendfsync {}, as named in each figure", settings.join(" and ")));
    for setting in settings {
        rig.ask::<()>(&["CONFIG", "SET", "appendfsync", setting]).await;
        let mut rounds: Vec<Vec<Phases>> = runners.iter().map(|_| Vec::new()).collect();
        for round in 1..=ROUNDS {
            for (runner, phases) in runners.iter().zip(&mut rounds) {
                rig.wipe().await;
                let took = measure(runner, &rig, jobs, report, round == 1).await;
                let [push, work] = [took.push, took.work].map(|seconds| float(jobs) / seconds);
                report.progress(format_args!(
                    "{setting} {round}/{ROUNDS} {}: push {push:.0}/s, work {work:.0}/s",
                    runner.name()
                ));
                phases.push(took);
            }
        }
        judge(&runners, rounds, jobs, setting, report);
    }
    rig.end().await;
}

/// Us and the floor always; the peers that were asked for, and could be had.
fn runners(plan: &Plan, report: &mut Report) -> Vec<Runner> {
    let mut runners = vec![Runner::Ours, Runner::Floor];
    for name in plan.peers.iter().filter(|name| *name != "floor") {
        match PEERS_OF_QUEUE.iter().find(|peer| peer.name == name) {
            None => panic!("--vs is bullmq, bullmq-rust or floor, not {name:?}"),
            Some(peer) if peer.is_there() => runners.push(Runner::Peer(peer)),
            Some(_) => {
                report.fail(format!("{name} could not be installed here: nothing was compared with it"));
            }
        }
    }
    runners
}

async fn measure(runner: &Runner, rig: &Rig, jobs: usize, report: &mut Report, first: bool) -> Phases {
    match runner {
        Runner::Ours => ours(rig, jobs).await,
        Runner::Floor => {
            let (connection, body, since) = (rig.connection(), vec![b'x'; BODY], Stopwatch::start());
            floor::push(&connection, jobs, &body, BATCH, IN_FLIGHT).await;
            let push = since.elapsed().as_secs_f64();
            floor::work(&connection, BATCH, HANDS).await;
            Phases { push, work: since.elapsed().as_secs_f64() - push }
        }
        Runner::Peer(peer) => {
            let (phases, version) = peer.round(&rig.redis.url, jobs).await;
            if first {
                report.note(version);
            }
            phases
        }
    }
}

async fn ours(rig: &Rig, jobs: usize) -> Phases {
    let queue = rig.connect().await;
    let since = Stopwatch::start();
    join_all((0..IN_FLIGHT).map(|_| async {
        for _ in 0..jobs / IN_FLIGHT / BATCH {
            let copies: Vec<_> = (0..BATCH).map(|_| lane::copy(LANE, vec![b'x'; BODY])).collect();
            queue.push(&copies).await.unwrap();
        }
    }))
    .await;
    let push = since.elapsed().as_secs_f64();
    let (stop, left, all) = (Stop::default(), Arc::new(AtomicUsize::new(jobs)), Arc::new(Notify::new()));
    let since = Stopwatch::start();
    let (count, told) = (Arc::clone(&left), Arc::clone(&all));
    lane::work(&queue, LANE, HANDS, BATCH, &stop, move |slice, outcomes| {
        let deliveries = slice.take();
        let taken = deliveries.len();
        for delivery in deliveries {
            outcomes.finish(delivery);
        }
        if count.fetch_sub(taken, Ordering::Relaxed) == taken {
            told.notify_one();
        }
    });
    all.notified().await;
    // To the last answer of Redis: nothing is done before that.
    stop.drain(queue).await;
    let work = since.elapsed().as_secs_f64();
    let depth = rig.connect().await.depth(LANE).await.unwrap();
    assert_eq!((depth.waiting(), depth.leased), (0, 0), "all were finished");
    Phases { push, work }
}

/// Medians, the share of the floor, and the bars.
fn judge(runners: &[Runner], rounds: Vec<Vec<Phases>>, jobs: usize, setting: &str, report: &mut Report) {
    let mut combined = Vec::new();
    for (runner, rounds) in runners.iter().zip(rounds) {
        let median = |seconds: fn(&Phases) -> f64| {
            let mut seconds: Vec<f64> = rounds.iter().map(seconds).collect();
            float(jobs) / quantile(&mut seconds, 0.5)
        };
        let rates =
            [median(|took| took.push), median(|took| took.work), median(|took| took.push + took.work)];
        for (phase, rate) in ["push", "work", "combined"].into_iter().zip(rates) {
            report.figure(&format!("{setting}_{}_{phase}_jobs_a_second", name(runner)), rate.round());
        }
        combined.push(rates[2]);
    }
    let ours = combined[0];
    for (runner, theirs) in runners.iter().zip(combined) {
        match runner {
            Runner::Ours => {}
            Runner::Floor => report.figure(&format!("{setting}_share_of_floor_ratio"), ours / theirs),
            Runner::Peer(peer) => {
                report.bar(
                    &format!("{setting}_vs_{}_ratio", name(runner)),
                    ours / theirs,
                    Op::AtLeast,
                    peer.bar,
                );
            }
        }
    }
}

fn name(runner: &Runner) -> String {
    runner.name().replace('-', "_")
}
