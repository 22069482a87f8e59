//! The queue in a Redis Cluster and behind Sentinels, on real servers.

use secrecy::SecretString;
use stage::redises::{RedisCluster, RedisSentinels};

use super::healing::Crew;
use super::*;
use crate::config::{RedisMode, RedisSettings};

fn redis_at(url: String, mode: RedisMode) -> RedisSettings {
    RedisSettings {
        url: SecretString::from(url),
        mode,
        sentinel_master: RedisSentinels::MASTER.to_owned(),
        sentinel_password: SecretString::from(""),
        prefix: "t".to_owned(),
        connect_timeout_ms: 1_000,
        response_timeout_ms: 1_000,
        require_durable: true,
        wait_replicas: 0,
        wait_ms: 500,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lane_of_a_cluster_is_worked_through_a_failover_and_a_move() {
    let mut cluster = RedisCluster::start(3).await;
    let split = split_into(Lane::Mail, 3);
    let queue =
        Queue::connect(&redis_at(cluster.url(), RedisMode::Cluster), &settings(), &split).await.unwrap();
    let crew = Crew::at_work(&queue, &Lane::ALL);
    crew.works(&Lane::ALL, "the start").await;
    let mut holders = Vec::new();
    for lane in Lane::ALL {
        holders.push(cluster.master_of(&queue.0.keys(Partition::home(lane)).wake()).await.unwrap());
    }
    holders.sort_unstable();
    holders.dedup();
    assert_eq!(holders, [0, 1, 2], "lanes on all masters");
    // A lane that is split has its partitions on several.
    let at = async |number| {
        let wake = queue.0.keys(Partition { lane: Lane::Mail, number }).wake();
        cluster.master_of(&wake).await.unwrap()
    };
    let on = [at(0).await, at(1).await, at(2).await];
    assert!(on.iter().any(|master| *master != on[0]), "a lane on two masters");
    let everywhere: Vec<Copy> = (0..30).map(|_| copy(Lane::Mail, "split")).collect();
    queue.push(&everywhere).await.unwrap();
    let ids: Vec<JobId> = everywhere.iter().map(|copy| copy.id).collect();
    until("all of the split lane is done", async || {
        queue.knows(Lane::Mail, &ids).await.unwrap().iter().all(|known| !known)
    })
    .await;

    // A slot that belongs to another node now: MOVED.
    let key = queue.0.keys(Partition::home(Lane::Mail)).wake();
    let slot: u16 = cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", &key]).await.unwrap();
    let (from, slot) = (cluster.master_of(&key).await.unwrap(), slot.to_string());
    let to = (from + 1) % 3;
    let ids = {
        let mut ids = Vec::new();
        for node in &cluster.nodes {
            ids.push(node.ask::<String>(&["CLUSTER", "MYID"]).await.unwrap());
        }
        ids
    };
    let set = async |at: usize, how: &[&str]| {
        let words = [&["CLUSTER", "SETSLOT", &slot], how].concat();
        let () = cluster.nodes[at].ask(&words).await.unwrap();
    };
    set(to, &["IMPORTING", &ids[from]]).await;
    set(from, &["MIGRATING", &ids[to]]).await;
    // In motion: a key that is not there yet is asked for at the other end, ASKING.
    let moving =
        queue.0.link.send::<Option<String>>(&key, redis::cmd("GET").arg(format!("{key}:none"))).await;
    assert_eq!(moving.unwrap(), None);
    until("its keys are over there", async || {
        let keys: Vec<Vec<u8>> =
            cluster.nodes[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await.unwrap();
        for key in &keys {
            let port = cluster.nodes[to].address().port().to_string();
            let key = String::from_utf8_lossy(key);
            let _: Value = cluster.nodes[from]
                .ask(&["MIGRATE", "127.0.0.1", &port, &key, "0", "1000", "REPLACE"])
                .await
                .unwrap();
        }
        keys.is_empty()
    })
    .await;
    set(to, &["NODE", &ids[to]]).await;
    set(from, &["NODE", &ids[to]]).await;
    crew.works(&Lane::ALL, "a move").await;

    // Its master dies: the replica follows.
    let victim = cluster.master_of(&key).await.unwrap();
    let on = [at(0).await, at(1).await, at(2).await];
    let living = on.iter().position(|master| *master != victim).expect("a partition elsewhere");
    cluster.nodes[victim].kill();
    // The lane's other partitions do not wait for that.
    let other = Partition { lane: Lane::Mail, number: living };
    let elsewhere =
        std::iter::repeat_with(JobId::new).filter(|id| queue.0.partitions.of(Lane::Mail, id.uuid()) == other);
    let copies: Vec<Copy> = elsewhere.take(20).map(|id| Copy { id, ..copy(Lane::Mail, "other") }).collect();
    queue.push(&copies).await.unwrap();
    until("the others are done", async || {
        let bodies = queue.0.keys(other).bodies();
        matches!(queue.0.link.send::<u64>(&bodies, redis::cmd("HLEN").arg(&bodies)).await, Ok(0))
    })
    .await;
    crew.works(&Lane::ALL, "a failover").await;
    assert_ne!(cluster.master_of(&key).await.unwrap(), victim);
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinels_master_is_followed() {
    let mut all = RedisSentinels::start().await;
    let queue = Queue::connect(&redis_at(all.url(), RedisMode::Sentinel), &settings(), &BTreeMap::new())
        .await
        .unwrap();
    let crew = Crew::at_work(&queue, &[Lane::Mail, Lane::Expiry]);
    crew.works(&[Lane::Mail, Lane::Expiry], "the start").await;
    all.servers[0].kill();
    crew.works(&[Lane::Mail, Lane::Expiry], "a failover").await;
    assert_eq!(all.master().await, Some(1));
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_too_few_replicas_have_is_unknown() {
    let (server, _) = start().await;
    let wanted = RedisSettings { wait_replicas: 1, wait_ms: 50, ..server.settings() };
    let queue = Queue::connect(&wanted, &settings(), &BTreeMap::new()).await.unwrap();
    let (lane, job) = (Lane::Mail, copy(Lane::Mail, "x"));
    let error = queue.push(std::slice::from_ref(&job)).await.unwrap_err();
    assert!(matches!(&error, QueueError::NotKept(what) if what.contains("0 of 1 replicas")), "{error:?}");
    assert_eq!(queue.knows(lane, &[job.id]).await.unwrap(), [true], "it is there all the same");
    assert_eq!(queue.depth(lane).await.unwrap().waiting(), 1, "only pushes wait");
}

/// Who lives may be known to another server than the one that holds the lane.
#[tokio::test]
async fn nothing_is_swept_until_the_lanes_own_server_is_steady() {
    const LANE: Lane = Lane::Mail;
    let (server, queue) = start().await;
    queue.push(&[copy(LANE, "x")]).await.unwrap();
    let sweep = async || -> (u64, u64, i64) {
        let args = vec![arg(9), arg(3), arg(LEASE_MS)];
        queue.0.call(Partition::home(LANE), &scripts::SWEEP, args).await.unwrap()
    };
    let meter = queue.0.keys(Partition::home(LANE)).meter();
    for cause in ["a start", "a failover"] {
        claim(&queue, LANE, "w", 1, 1, "any").await;
        if cause == "a failover" {
            // As the replica that took over would find it.
            let _: i64 = server.ask(&["HSET", &meter, "server", "of-before"]);
            let (swept, _, wait) = sweep().await;
            let lease = i64::try_from(LEASE_MS).unwrap();
            assert!(swept == 0 && (1..=lease).contains(&wait), "{swept} swept, {wait} ms to wait");
        }
        until(cause, async || sweep().await.0 == 1).await;
    }
}
