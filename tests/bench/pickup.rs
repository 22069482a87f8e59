//! Pickup: how soon an idle worker starts a job, and what an idle worker costs Redis.
//!
//! Open loop: a job is sent when its time has come, however the ones before it fare, and its wait is counted from the
//! moment at which it was *meant* to be sent. Every lane of the product is worked by one worker, as by default; pusher and
//! worker have connections of their own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderfleet::job::Lane;
use orderfleet::queue::{Outcomes, Queue, Slice};
use orderfleet::time::Stopwatch;
use secrecy::ExposeSecret;
use stage::process::until;
use stage::report::{Op, Report, quantile};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::lane::{self, Stop};
use crate::plan::Plan;
use crate::rig::{Rig, float};

/// Between two jobs: 200 a second, over the lanes in turn.
const EVERY: Duration = Duration::from_millis(5);
/// The worker's hands and slices in each lane: what `config/default.toml` gives to most.
const HANDS: usize = 2;
const SLICE: usize = 16;
/// The first jobs are not counted: connections, scripts and caches are cold.
const WARM: usize = 200;
/// Before it is watched, an idle worker has looked at every lane.
const REST: Duration = Duration::from_secs(3);

/// Writes that are timed, one after the other, to know what a flush of Redis's log costs on this disk.
const FLUSHES: usize = 200;

/// Bars, with either setting of `appendfsync`: a disk that is busy with other things misses them with `always`, because a
/// push and the claim that follows are each acknowledged after a flush.
const P50_MS: f64 = 1.5;
const P99_MS: f64 = 5.0;
const IDLE_COMMANDS: f64 = 5.0;

pub(crate) async fn run(plan: Plan, report: &mut Report) {
    let (jobs, idle) = (plan.sized(2_400, 24_000), plan.sized(10, 60));
    let rig = Rig::start().await;
    report.count("jobs", jobs);
    report.note("appendonly yes; appendfsync as named in each figure; 8 lanes, 200 jobs/s, open loop");
    let (pusher, worker, stop) = (rig.connect().await, rig.connect().await, Stop::default());
    let waits: Arc<Mutex<Vec<f64>>> = Arc::default();
    let since = Stopwatch::start();
    for lane in Lane::ALL {
        let waits = Arc::clone(&waits);
        let start = move |slice: &mut Slice, outcomes: &Outcomes| {
            let now = since.elapsed();
            for delivery in slice.take() {
                let meant = u64::from_le_bytes(delivery.body[..8].try_into().unwrap());
                let wait = now.saturating_sub(Duration::from_micros(meant));
                waits.lock().unwrap().push(wait.as_secs_f64() * 1_000.0);
                outcomes.finish(delivery);
            }
        };
        lane::work(&worker, lane, HANDS, SLICE, &stop, start);
    }
    tokio::time::sleep(REST).await;
    for setting in ["always", "everysec"] {
        rig.ask::<()>(&["CONFIG", "SET", "appendfsync", setting]).await;
        let mut flush = flush_ms(&rig).await;
        push(&pusher, since, jobs + WARM).await;
        until("the last job", async || (waits.lock().unwrap().len() == jobs + WARM).then_some(())).await;
        let mut waits = std::mem::take(&mut *waits.lock().unwrap()).split_off(WARM);
        for (name, share, bar) in [("p50", 0.5, P50_MS), ("p99", 0.99, P99_MS)] {
            report.figure(&format!("{setting}_write_{name}_ms"), quantile(&mut flush, share));
            let wait = quantile(&mut waits, share);
            report.bar(&format!("{setting}_pickup_{name}_ms"), wait, Op::AtMost, bar);
        }
        report.figure(&format!("{setting}_pickup_max_ms"), quantile(&mut waits, 1.0));
    }
    report.progress("now idle");
    drop(pusher);
    tokio::time::sleep(REST).await;
    let commands = commands(&rig, Duration::from_secs(idle)).await;
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "seconds")]
    report.bar("idle_redis_commands_a_second", float(commands) / idle as f64, Op::AtMost, IDLE_COMMANDS);
    stop.drain(worker).await;
    rig.end().await;
}

/// How long each of some small writes took, in ms.
async fn flush_ms(rig: &Rig) -> Vec<f64> {
    let mut took = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let since = Stopwatch::start();
        rig.ask::<()>(&["SET", "flush", "1"]).await;
        took.push(since.elapsed().as_secs_f64() * 1_000.0);
    }
    rig.ask::<i64>(&["DEL", "flush"]).await;
    took
}

/// Sends each job at its time. A thread keeps the time: the runtime's own timers are only good to a millisecond.
async fn push(queue: &Queue, since: Stopwatch, jobs: usize) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let begin = since.elapsed() + EVERY;
    let timekeeper = std::thread::spawn(move || {
        let mut meant = begin;
        for at in 0..jobs {
            std::thread::sleep(meant.saturating_sub(since.elapsed()));
            tell.send((at, meant)).unwrap();
            meant += EVERY;
        }
    });
    let pushes = TaskTracker::new();
    while let Some((at, meant)) = told.recv().await {
        let mut body = u64::try_from(meant.as_micros()).unwrap().to_le_bytes().to_vec();
        body.resize(200, b'x');
        let copy = lane::copy(Lane::ALL[at % Lane::ALL.len()], body);
        let queue = queue.clone();
        pushes.spawn(async move { queue.push(&[copy]).await.map(drop).unwrap() });
    }
    pushes.close();
    pushes.wait().await;
    timekeeper.join().unwrap();
}

/// Commands that arrive from clients; what scripts call inside Redis is marked, and not counted.
async fn commands(rig: &Rig, during: Duration) -> usize {
    let url = rig.redis.url.expose_secret();
    let (login, address) = url.trim_start_matches("redis://").rsplit_once('@').expect("a login");
    let (user, password) = login.split_once(':').expect("a password");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("AUTH {user} {password}\r\nMONITOR\r\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    for _ in 0..2 {
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("+OK"));
    }
    let mut count = 0;
    let watching = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            count += usize::from(!line.contains(" lua]"));
        }
    };
    // It ends by the time, never by itself.
    let _ = tokio::time::timeout(during, watching).await;
    count
}
