//! A random model: whatever is done in whatever order, nothing is lost, no stale token is accepted, nothing stays.

use std::collections::{HashMap, HashSet};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::super::client::arg;
use super::*;

const LANE: Lane = Lane::Housekeeping;
const OPERATIONS: usize = 1_500;
/// Short, so that leases end under the model's hands.
const LEASE: u64 = 15;

#[derive(Default)]
struct Model {
    partitions: usize,
    open: HashSet<Vec<u8>>,
    held: HashMap<Vec<u8>, Handed>,
    stale: Vec<Handed>,
    stale_tried: usize,
}

impl Model {
    fn any(&self, rng: &mut StdRng) -> Partition {
        Partition { lane: LANE, number: rng.random_range(0..self.partitions) }
    }
}

#[tokio::test]
async fn nothing_is_lost_and_no_stale_token_is_accepted() {
    runs(1).await;
}

#[tokio::test]
async fn nor_in_a_lane_of_three_partitions() {
    runs(3).await;
}

async fn runs(partitions: usize) {
    let seed = u64::from_le_bytes(crate::ids::random_bytes());
    println!("seed {seed}");
    let server = Server::start().await;
    let queue = split(&server, LANE, partitions).await;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut model = Model { partitions, ..Model::default() };
    for _ in 0..OPERATIONS {
        step(&queue, &mut model, &mut rng).await;
    }
    drain(&queue, &mut model).await;
    assert!(model.open.is_empty(), "seed {seed}: {} lost", model.open.len());
    assert!(model.stale_tried > 100, "seed {seed}: the model tried too little");
    assert_eq!(left(&server), Vec::<String>::new(), "seed {seed}");
    let depth = queue.depth(LANE).await.unwrap();
    assert_eq!(depth.pushed, depth.done, "seed {seed}");
}

async fn step(queue: &Queue, model: &mut Model, rng: &mut StdRng) {
    match rng.random_range(0..100) {
        0..20 => push(queue, model, rng).await,
        20..50 => {
            let mode = if rng.random_bool(0.2) { "alone" } else { "any" };
            let most = rng.random_range(1..40);
            let worker = format!("w{}", rng.random_range(0..3));
            let handed = claim(queue, model.any(rng), &worker, LEASE, most, mode).await;
            assert!(mode != "alone" || handed.len() <= 1);
            for job in handed {
                assert!(model.open.contains(&job.id), "delivered after its end");
                // Whoever held it before is stale now.
                model.stale.extend(model.held.insert(job.id.clone(), job));
            }
        }
        50..85 => outcome(queue, model, rng).await,
        85..91 => stale(queue, model, rng).await,
        91..94 => {
            let args = vec![arg(50), arg(1_000_000), arg(0), b"w0".to_vec()];
            let _: (u64, u64, i64) = queue.0.call(model.any(rng), &scripts::SWEEP, args).await.unwrap();
        }
        94..97 => {
            let _: (u64, i64) = queue.0.call(model.any(rng), &scripts::PROMOTE, vec![arg(50)]).await.unwrap();
        }
        97 => unpark(queue, model.any(rng), rng.random_range(1..5)).await,
        _ => drop_and_push_again(queue, model, rng).await,
    }
}

/// Its first place in a list stays behind: it must never be handed over twice.
async fn drop_and_push_again(queue: &Queue, model: &mut Model, rng: &mut StdRng) {
    let Some(id) = model.open.iter().next().cloned() else { return };
    let job = JobId::from(uuid::Uuid::from_slice(&id).unwrap());
    let buried = queue.buried(LANE, 256).await.unwrap().iter().any(|buried| buried.id == job);
    if buried || queue.drop_jobs(LANE, &[job]).await.unwrap() == 0 {
        return;
    }
    model.stale.extend(model.held.remove(&id));
    if rng.random_bool(0.5) {
        queue.push(&[Copy { id: job, ..copy(LANE, "again") }]).await.unwrap();
    } else {
        model.open.remove(&id);
    }
}

async fn push(queue: &Queue, model: &mut Model, rng: &mut StdRng) {
    let mut copies: Vec<Copy> = (0..rng.random_range(1..20)).map(|_| copy(LANE, "x")).collect();
    for copy in &mut copies {
        copy.band = *Band::ALL.choose(rng).unwrap();
        if rng.random_bool(0.3) {
            copy.delay = Duration::from_millis(rng.random_range(0..30));
        }
    }
    if rng.random_bool(0.2) {
        copies.push(copies[0].clone());
    }
    let pushed = queue.push(&copies).await.unwrap();
    for (copy, pushed) in copies.iter().zip(pushed) {
        let new = model.open.insert(copy.id.uuid().as_bytes().to_vec());
        assert_eq!(new, pushed == crate::queue::Pushed::Queued);
    }
}

/// An outcome for some of what is held. What turns out to be stale may be: its lease can have ended.
async fn outcome(queue: &Queue, model: &mut Model, rng: &mut StdRng) {
    let mut jobs: Vec<Handed> = model.held.values().take(rng.random_range(1..12)).cloned().collect();
    // Among them, under whatever tokens, some that are no longer held, and some under the token of another's claim.
    jobs.extend((0..3).filter_map(|_| model.stale.choose(rng).cloned()));
    jobs.extend(foreign(model, rng));
    jobs.shuffle(rng);
    let what = rng.random_range(0..100);
    for partition in queue.0.partitions.in_use(LANE) {
        let here: Vec<Handed> = jobs.iter().filter(|job| place(queue, job) == partition).cloned().collect();
        if !here.is_empty() {
            outcome_in(queue, partition, model, &here, (what, rng)).await;
        }
    }
}

/// Where a job is: the same for whoever asks.
fn place(queue: &Queue, job: &Handed) -> Partition {
    queue.0.partitions.of(LANE, uuid::Uuid::from_slice(&job.id).unwrap())
}

async fn outcome_in(
    queue: &Queue,
    partition: Partition,
    model: &mut Model,
    jobs: &[Handed],
    (what, rng): (i32, &mut StdRng),
) {
    let pairs: Vec<Vec<u8>> = jobs.iter().flat_map(Handed::pair).collect();
    let (script, args): (&Script, Vec<Vec<u8>>) = match what {
        0..50 => (&scripts::FINISH, by_token(jobs)),
        50..65 => {
            let delay = arg(rng.random_range(0..25));
            (
                &scripts::DELAY,
                jobs.iter().flat_map(|job| [job.pair(), vec![delay.clone(), vec![1]]].concat()).collect(),
            )
        }
        65..75 => (&scripts::HAND_BACK, pairs),
        75..80 => (&scripts::PARK, pairs),
        80..85 => (
            &scripts::BURY,
            jobs.iter().flat_map(|job| [job.pair(), vec![b"why".to_vec()]].concat()).collect(),
        ),
        _ => (&scripts::RENEW, [vec![arg(LEASE)], by_token(jobs)].concat()),
    };
    for (job, took) in jobs.iter().zip(each(queue, partition, script, args).await) {
        if model.held.get(&job.id).is_none_or(|held| held.token != job.token) {
            assert_eq!(took, 0, "a token was accepted that does not hold the job");
            model.stale_tried += 1;
            continue;
        }
        if (0..50).contains(&what) && took == 1 {
            assert!(model.open.remove(&job.id), "finished twice");
        }
        if what < 85 || took == 0 {
            model.held.remove(&job.id);
            model.stale.push(job.clone());
        }
    }
}

/// A job that is held, with the token of a claim that did not hand it over.
fn foreign(model: &Model, rng: &mut StdRng) -> Option<Handed> {
    let held: Vec<&Handed> = model.held.values().collect();
    let (job, other) = (held.choose(rng)?, held.choose(rng)?);
    (job.token != other.token).then(|| Handed { token: other.token.clone(), ..(*job).clone() })
}

async fn stale(queue: &Queue, model: &mut Model, rng: &mut StdRng) {
    for _ in 0..4 {
        let Some(job) = model.stale.choose(rng).cloned() else { return };
        let (script, args): (&Script, Vec<Vec<u8>>) = match rng.random_range(0..6) {
            0 => (&scripts::FINISH, by_token(std::slice::from_ref(&job))),
            1 => (&scripts::DELAY, [job.pair(), vec![arg(1), vec![1]]].concat()),
            2 => (&scripts::HAND_BACK, job.pair()),
            3 => (&scripts::PARK, job.pair()),
            4 => (&scripts::BURY, [job.pair(), vec![b"z".to_vec()]].concat()),
            _ => (&scripts::RENEW, [vec![arg(LEASE)], by_token(std::slice::from_ref(&job))].concat()),
        };
        model.stale_tried += 1;
        assert_eq!(each(queue, place(queue, &job), script, args).await, [0], "a stale token was accepted");
    }
}

async fn unpark(queue: &Queue, partition: Partition, most: usize) {
    let (mut range, parked) = (redis::cmd("ZRANGE"), queue.0.keys(partition).parked());
    range.arg(&parked).arg(0).arg(arg(most));
    let ids: Vec<Vec<u8>> = queue.0.link.send(&parked, &range).await.unwrap();
    let _: u64 = queue.0.call(partition, &scripts::UNPARK, ids).await.unwrap();
}

async fn drain(queue: &Queue, model: &mut Model) {
    until("everything is done", async || {
        for buried in queue.buried(LANE, 100).await.unwrap() {
            assert!(model.open.remove(buried.id.uuid().as_bytes().as_slice()), "buried and done");
            queue.drop_buried(LANE, &[buried.id]).await.unwrap();
        }
        for partition in queue.0.partitions.in_use(LANE) {
            drain_partition(queue, partition, model).await;
        }
        model.open.is_empty()
    })
    .await;
}

async fn drain_partition(queue: &Queue, partition: Partition, model: &mut Model) {
    unpark(queue, partition, 200).await;
    let args = vec![arg(200), arg(1_000_000), arg(0)];
    let _: (u64, u64, i64) = queue.0.call(partition, &scripts::SWEEP, args).await.unwrap();
    let _: (u64, i64) = queue.0.call(partition, &scripts::PROMOTE, vec![arg(200)]).await.unwrap();
    for mode in std::iter::once("any").chain(std::iter::repeat_n("alone", 100)) {
        let handed = claim(queue, partition, "last", 60_000, 200, mode).await;
        for job in &handed {
            assert!(model.open.remove(&job.id), "delivered after its end");
        }
        assert_eq!(finish(queue, partition, &handed).await, i64::try_from(handed.len()).unwrap());
    }
}
