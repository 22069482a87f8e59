//! The queue against real Redis servers, each private to its test.

mod cluster;
mod healing;
mod intents;
mod limits;
mod locate;
mod model;
mod moves;
mod partitions;
mod permits;
pub(crate) mod server;
mod sold_out;
mod working;

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Script, Value};

use super::claim::answer::{HEAD, WIDTH, read_past};
use super::client::{arg, bytes};
use super::partitions::Partition;
use super::{Copy, Origin, Queue, QueueError, scripts};
use crate::config::{LaneSettings, QueueSettings};
use crate::ids::JobId;
use crate::job::{Band, Lane};
use server::Server;

/// Long enough for a loaded machine, short enough for a test.
const LEASE_MS: u64 = 600;
const PATIENCE: Duration = Duration::from_secs(20);

fn settings() -> QueueSettings {
    QueueSettings {
        lease_ms: LEASE_MS,
        renew_ms: 100,
        block_ms: 250,
        batch: 256,
        deaths: 3,
        idempotency_ttl_seconds: 60,
    }
}

async fn start() -> (Server, Queue) {
    let server = Server::start().await;
    let queue = Queue::connect(&server.settings(), &settings(), &BTreeMap::new()).await.unwrap();
    (server, queue)
}

/// A process that has this lane in so many partitions.
async fn split(server: &Server, lane: Lane, partitions: usize) -> Queue {
    Queue::connect(&server.settings(), &settings(), &split_into(lane, partitions)).await.unwrap()
}

fn split_into(lane: Lane, partitions: usize) -> BTreeMap<String, LaneSettings> {
    let settings = LaneSettings {
        partitions,
        concurrency: 1,
        slice: 1,
        fleet_concurrency: 0,
        fleet_rate: 0,
        max_depth: 1_000,
    };
    [(lane.name().to_owned(), settings)].into()
}

fn copy(lane: Lane, body: &str) -> Copy {
    Copy {
        id: JobId::new(),
        kind: "email".to_owned(),
        lane,
        band: Band::Normal,
        origin: Origin::Row,
        attempts: 0,
        delay: Duration::ZERO,
        body: body.as_bytes().to_vec(),
        traceparent: None,
    }
}

/// A delivery as the scripts know it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Handed {
    id: Vec<u8>,
    token: Vec<u8>,
    deliveries: u32,
    strikes: u32,
    stage: u32,
    overran: u32,
    envelope: Vec<u8>,
}

impl Handed {
    fn pair(&self) -> Vec<Vec<u8>> {
        vec![self.id.clone(), self.token.clone()]
    }
}

/// In most tests a lane has one partition only, and is named by itself.
impl From<Lane> for Partition {
    fn from(lane: Lane) -> Self {
        Self::home(lane)
    }
}

async fn claim(
    queue: &Queue,
    partition: impl Into<Partition>,
    worker: &str,
    lease_ms: u64,
    most: usize,
    mode: &str,
) -> Vec<Handed> {
    let mut args = vec![worker.into(), arg(lease_ms), arg(most), mode.into(), arg(16)];
    args.extend([0, 0, 1, 0].map(arg));
    claim_with(queue, partition, args).await.1
}

/// The numbers at the head of the answer, and the jobs.
async fn claim_with(
    queue: &Queue,
    partition: impl Into<Partition>,
    args: Vec<Vec<u8>>,
) -> (Vec<i64>, Vec<Handed>) {
    let mut answer: Vec<Value> = queue.0.call(partition.into(), &scripts::CLAIM, args).await.unwrap();
    let jobs = answer.split_off(HEAD);
    let head =
        answer[..HEAD - 1].iter().map(|value| redis::from_redis_value(value.clone()).unwrap()).collect();
    let token = bytes(answer[HEAD - 1].clone()).unwrap();
    let handed = jobs.chunks(WIDTH).map(|job| {
        let [deliveries, strikes, stage, overran] = read_past(&bytes(job[1].clone()).unwrap()).unwrap();
        Handed {
            id: bytes(job[0].clone()).unwrap(),
            token: token.clone(),
            deliveries,
            strikes,
            stage,
            overran,
            envelope: bytes(job[2].clone()).unwrap(),
        }
    });
    (head, handed.collect())
}

/// Calls a script that answers 1 or 0 for each group.
async fn each(
    queue: &Queue,
    partition: impl Into<Partition>,
    script: &Script,
    args: Vec<Vec<u8>>,
) -> Vec<i64> {
    queue.0.call(partition.into(), script, args).await.unwrap()
}

async fn finish(queue: &Queue, partition: impl Into<Partition>, handed: &[Handed]) -> i64 {
    each(queue, partition, &scripts::FINISH, by_token(handed)).await.iter().sum()
}

/// As the scripts take many: (token, how many, id…), in the given order.
fn by_token(handed: &[Handed]) -> Vec<Vec<u8>> {
    let groups = handed.chunk_by(|one, next| one.token == next.token);
    groups
        .flat_map(|group| {
            let ids = group.iter().map(|job| job.id.clone());
            [group[0].token.clone(), arg(group.len())].into_iter().chain(ids)
        })
        .collect()
}

/// Sweeps until something was swept: leases end by Redis's clock.
async fn sweep(queue: &Queue, lane: Lane, live: &[&str]) -> (u64, u64) {
    let began = crate::time::Stopwatch::start();
    loop {
        let mut args = vec![arg(256), arg(3), arg(0)];
        args.extend(live.iter().map(|name| name.as_bytes().to_vec()));
        let (swept, quarantined, _): (u64, u64, i64) =
            queue.0.call(Partition::home(lane), &scripts::SWEEP, args).await.unwrap();
        if swept > 0 {
            return (swept, quarantined);
        }
        assert!(began.elapsed() < PATIENCE, "no lease ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Polls until it is so, with a bound.
async fn until<F: AsyncFnMut() -> bool>(what: &str, mut so: F) {
    let began = crate::time::Stopwatch::start();
    while !so().await {
        assert!(began.elapsed() < PATIENCE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What is left of a lane, counters aside.
fn left(server: &Server) -> Vec<String> {
    let mut keys: Vec<String> = server.ask(&["KEYS", "{t:*"]);
    keys.retain(|key| !key.ends_with("}:m") && !key.contains(":workers}") && !key.ends_with("}:wake"));
    keys
}
