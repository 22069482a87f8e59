//! A million jobs due at one moment are no event: they follow the fleet's own speed, a fresh job does not stand behind
//! them, none is early and none is done twice.

use std::time::Duration;

use orderfleet::config::{Settings, Sources, load};
use orderfleet::ids::JobId;
use orderfleet::job::{Band, Lane};
use orderfleet::queue::{Copy, Origin, Queue};
use orderfleet::time::Stopwatch;
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report, quantile};

use crate::plan::Plan;

/// Promoted in a second, of what was done in it. Two batches that fill an empty lane come on top.
const PACE: f64 = 2.0;
const ROOM: i64 = 512;
/// Milliseconds from a fresh job's push to its start, for ninety-nine of a hundred.
const START: f64 = 250.0;
/// Rows made, or copies pushed, at once.
const PIECE: u64 = 50_000;
/// Between two looks, and between two fresh jobs.
const LOOK: Duration = Duration::from_millis(50);
/// Looks over which a pace is taken: a second.
const WINDOW: usize = 20;
/// Worker processes.
const WORKERS: usize = 2;

/// Proves it on one lane.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let herd: u64 = plan.sized(50_000, 1_000_000);
    // Long enough for all of them to lie in Redis by then.
    let due_in = plan.sized("15 seconds", "4 minutes");
    let setup =
        Setup::default().set("lanes.housekeeping.slice", 256).set("lanes.housekeeping.concurrency", 2);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let queue = connect(&fleet).await;
    let due = fleet
        .count(&format!("select (extract(epoch from now() + interval '{due_in}') * 1000)::bigint"))
        .await;
    for _ in 0..herd / PIECE {
        let copies = probes(&fleet, PIECE, due).await;
        push(&queue, copies, due).await;
    }
    let delayed = || async { queue.depth(Lane::Housekeeping).await.unwrap() };
    assert_eq!(delayed().await.delayed, herd, "all wait for their moment");
    assert!(queue.now_ms().await.unwrap() < due, "the moment has passed before all were there");
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(fleet.working(&["--lanes", "housekeeping"]).await);
    }
    report.progress(format_args!("{herd} jobs wait for one moment"));
    let left = due - queue.now_ms().await.unwrap();
    tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
    until("the moment", async || (queue.now_ms().await.unwrap() >= due).then_some(())).await;

    let (since, mut looks, mut fresh) = (Stopwatch::start(), Vec::new(), Vec::new());
    loop {
        let depth = delayed().await;
        looks.push((i64::try_from(depth.delayed).unwrap(), i64::try_from(depth.done).unwrap()));
        if depth.delayed == 0 {
            break;
        }
        let now = queue.now_ms().await.unwrap();
        let copies = probes(&fleet, 1, now).await;
        fresh.push((copies[0].id, queue.now_ms().await.unwrap()));
        push(&queue, copies, now).await;
        tokio::time::sleep(LOOK).await;
    }
    let drain = looks.last().unwrap().1 - looks[0].1;
    report.progress(format_args!("promoted in {:.1} s", since.elapsed().as_secs_f64()));
    until("the end", async || (fleet.open_jobs().await == 0).then_some(())).await;
    for worker in &mut workers {
        worker.signal("TERM");
        assert!(worker.ended().await.success(), "a worker did not end well");
    }
    report.figure("drain_jobs_per_second", float(drain) / since.elapsed().as_secs_f64());
    report.bar("promoted_of_drained_ratio", fastest(&looks), Op::AtMost, PACE);
    report.count("fresh_jobs", fresh.len());
    report.bar("fresh_start_p99_ms", started(&fleet, fresh).await, Op::AtMost, START);
    let tally = fleet.tally().await;
    report.exactly("done_jobs", tally.done, tally.accepted);
    report.exactly("lost_jobs", tally.lost, 0);
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.exactly("early_jobs", tally.early, 0);
    queue.close().await;
    fleet.end().await;
}

async fn connect(fleet: &Fleet) -> Queue {
    let Settings { mut redis, queue, lanes, .. } = load(&Sources::default()).unwrap();
    redis.url = fleet.servers.redis_url();
    Queue::connect(&redis, &queue, &lanes).await.unwrap()
}

/// Rows as a transaction of the product makes them, relayed by this proof: so they all lie in Redis before they are due.
async fn probes(fleet: &Fleet, count: u64, due: i64) -> Vec<Copy> {
    let ids: String = fleet
        .select(&format!(
            "with fresh as (select gen_random_uuid() as id from generate_series(1, {count})),
             made as (
               insert into jobs (id, kind, lane, band, payload, run_at, caused_by, relayed_at)
               select id, 'probe', 'housekeeping', 2, jsonb_build_object('subject', id, 'act', 'note'),
                      to_timestamp({due} / 1000.0), 'proof', now() from fresh
               returning id, run_at),
             kept as (insert into probe_jobs select id, '\"note\"', run_at from made returning job)
             select string_agg(job::text, ',') from kept"
        ))
        .await;
    let copy = |id: &str| Copy {
        id: JobId::from(id.parse::<uuid::Uuid>().unwrap()),
        kind: "probe".to_owned(),
        lane: Lane::Housekeeping,
        band: Band::Normal,
        origin: Origin::Row,
        attempts: 0,
        delay: Duration::ZERO,
        body: format!(r#"{{"subject":"{id}","act":"note"}}"#).into_bytes(),
        traceparent: None,
    };
    ids.split(',').map(copy).collect()
}

/// Pushes copies that are due at this moment of Redis's clock.
async fn push(queue: &Queue, mut copies: Vec<Copy>, due: i64) {
    for copies in copies.chunks_mut(5_000) {
        let left = due - queue.now_ms().await.unwrap();
        let delay = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        for copy in copies.iter_mut() {
            copy.delay = delay;
        }
        queue.push(copies).await.unwrap();
    }
}

/// The fastest promotion over a second, as a multiple of what was done in it.
fn fastest(looks: &[(i64, i64)]) -> f64 {
    let ratio = |window: &[(i64, i64)]| {
        let (first, last) = (window[0], window[window.len() - 1]);
        float((first.0 - last.0 - ROOM).max(0)) / float((last.1 - first.1).max(1))
    };
    looks.windows(WINDOW.min(looks.len())).map(ratio).fold(0.0, f64::max)
}

/// Milliseconds from its push to its start, for ninety-nine of a hundred of these jobs. Redis and Postgres share a clock.
async fn started(fleet: &Fleet, mut fresh: Vec<(JobId, i64)>) -> f64 {
    fresh.sort_by_key(|(id, _)| id.uuid());
    let ids: Vec<String> = fresh.iter().map(|(id, _)| format!("'{}'", id.uuid())).collect();
    let started: Vec<f64> = fleet
        .select(&format!(
            "select array_agg((extract(epoch from at) * 1000)::float8 order by job)
               from probe_ledger where job in ({})",
            ids.join(",")
        ))
        .await;
    let mut waits: Vec<f64> =
        started.iter().zip(&fresh).map(|(at, (_, pushed))| at - float(*pushed)).collect();
    quantile(&mut waits, 0.99)
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn float(count: i64) -> f64 {
    count as f64
}
