//! Memory: Redis's for each job that waits, that is done and that was an intent; a real worker's over a whole backlog.
//!
//! Redis says itself what it uses. The worker is the product's own binary with its Postgres: a job of an existing kind
//! whose row is gone is loaded, found done, and finished, as after any second delivery. The intents are orders that were
//! placed, paid and shipped by the product.

use orderfleet::config::{Settings, Sources, load};
use orderfleet::ids::CommunicationId;
use orderfleet::job::Lane;
use orderfleet::queue::Queue;
use redis::FromRedisValue;
use stage::fleet::{Fleet, Setup};
use stage::process::Process;
use stage::report::{Op, Report};

use crate::lane::copy;
use crate::plan::Plan;
use crate::queue::{BATCH, BODY};
use crate::rig::{field, float};

/// Pushed in one call: four batches.
const CALL: usize = 4 * BATCH;
/// The worker's hands in the lane: with full slices, a thousand jobs in flight.
const HANDS: usize = 4;
const LANE: Lane = Lane::Mail;

/// What Redis does not count as a key's own: its entry in the table of expiries, and that one's slots.
const EXPIRY_BYTES: f64 = 48.0;

/// Bars.
const WAITING_BYTES: f64 = 350.0;
const INTENT_BYTES: f64 = 300.0;
const RESIDENT_MIB: f64 = 60.0;
/// Redis's own unevenness, in all: buffers of connections that come and go. Five bytes a job left behind would be seen.
const FLAT_BYTES: f64 = 500_000.0;
const MIB: f64 = 1_048_576.0;

pub(crate) async fn run(plan: Plan, report: &mut Report) {
    let (jobs, orders) = (plan.sized(100_000, 1_000_000), plan.sized(20, 200));
    let setup = Setup::default()
        .set(&format!("lanes.{LANE}.slice"), BATCH)
        .set(&format!("lanes.{LANE}.concurrency"), HANDS)
        // These jobs call nobody: no call of theirs is to be waited for.
        .set("calls.smtp.at_once", 0);
    let mut fleet = Fleet::set_up(setup).await;
    let Settings { mut redis, queue, lanes, .. } = load(&Sources::default()).unwrap();
    redis.url = fleet.servers.redis_url();
    let prefix = redis.prefix.clone();
    let queue = Queue::connect(&redis, &queue, &lanes).await.unwrap();
    report.count("jobs", jobs);
    report.count("body_bytes", BODY);
    report.note("every job belongs to a trace: 24 of the envelope's 32 bytes");

    // Orders first: what comes with the first jobs (counters, scripts, buffers) is not any job's own.
    let worker = fleet.working(&[]).await;
    let demo = fleet.demo(orders);
    fleet.figures(demo).await.must_be_whole(orders, "no fault");
    end(worker).await;
    let intents = sizes(&fleet, &format!("{{{prefix}:*:i:*")).await;
    assert!(intents.len() >= usize::try_from(orders).unwrap(), "a state for each order");
    let intent = float(intents.iter().sum()) / float(intents.len()) + EXPIRY_BYTES;
    report.bar("intent_key_and_projection_bytes", intent.round(), Op::AtMost, INTENT_BYTES);

    let before = used(&fleet).await;
    push(&queue, jobs).await;
    let waiting = (used(&fleet).await - before) / float(jobs);
    report.bar("waiting_job_bytes", waiting.round(), Op::AtMost, WAITING_BYTES);
    report.progress("all are waiting");
    let worker = fleet.working(&[]).await;
    let (resident, in_flight) = watch(&queue, &worker).await;
    report.bar("worker_resident_mib", (resident / MIB).round(), Op::AtMost, RESIDENT_MIB);
    report.count("in_flight_jobs", in_flight);
    end(worker).await;
    report.bar("left_after_all_bytes", used(&fleet).await - before, Op::AtMost, FLAT_BYTES);
    for name in ["j", "l", "t", "w2", "d", "s", "a", "x", "xr", "pk"] {
        let left = sizes(&fleet, &format!("{{{prefix}:{LANE}:*:{name}")).await;
        report.exactly(
            &format!("left_in_{name}_bytes"),
            i64::try_from(left.iter().sum::<usize>()).unwrap(),
            0,
        );
    }
    queue.close().await;
    fleet.end().await;
}

async fn push(queue: &Queue, jobs: usize) {
    for first in (0..jobs).step_by(CALL) {
        let copies: Vec<_> = (first..jobs.min(first + CALL)).map(|_| copy(LANE, body())).collect();
        queue.push(&copies).await.unwrap();
    }
}

/// An e-mail's payload whose row is gone, filled up with blanks.
fn body() -> Vec<u8> {
    let mut body = serde_json::json!({ "communication": CommunicationId::new() }).to_string().into_bytes();
    body.resize(BODY, b' ');
    body
}

/// Until nothing is left: the most that the worker was resident, in bytes, and the most that it had in hand.
async fn watch(queue: &Queue, worker: &Process) -> (f64, u64) {
    let (mut resident, mut in_flight) = (0, 0);
    loop {
        let depth = queue.depth(LANE).await.unwrap();
        resident = resident.max(worker.resident_bytes());
        in_flight = in_flight.max(depth.leased);
        if depth.waiting() + depth.leased == 0 {
            #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "bytes below 2^52")]
            return (resident as f64, in_flight);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn end(mut worker: Process) {
    worker.signal("TERM");
    assert!(worker.ended().await.success());
}

/// Bytes that Redis uses for its data and its clients.
async fn used(fleet: &Fleet) -> f64 {
    field(&text(fleet.redis(&["INFO", "memory"]).await), "used_memory")
}

/// Bytes of each key of this pattern.
async fn sizes(fleet: &Fleet, pattern: &str) -> Vec<usize> {
    let keys: Vec<String> = redis::from_redis_value(fleet.redis(&["KEYS", pattern]).await).unwrap();
    let mut sizes = Vec::with_capacity(keys.len());
    for key in keys {
        let size: Option<usize> =
            redis::from_redis_value(fleet.redis(&["MEMORY", "USAGE", &key]).await).unwrap();
        sizes.extend(size);
    }
    sizes
}

fn text(value: redis::Value) -> String {
    String::from_redis_value(value).unwrap()
}
