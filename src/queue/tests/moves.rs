//! Each move by itself.

use super::super::client::arg;
use super::super::{Pushed, QueueError};
use super::*;

const LANE: Lane = Lane::Mail;
const LONG: u64 = 60_000;

#[tokio::test]
async fn a_job_pushed_twice_is_queued_once_and_done_leaves_nothing() {
    let (server, queue) = start().await;
    let one = copy(LANE, "one");
    let other = copy(Lane::Expiry, "two");
    let pushed = queue.push(&[one.clone(), other.clone(), one.clone()]).await.unwrap();
    assert_eq!(pushed, [Pushed::Queued, Pushed::Queued, Pushed::Duplicate]);
    assert_eq!(queue.knows(LANE, &[one.id, other.id]).await.unwrap(), [true, false]);
    let handed = claim(&queue, LANE, "w", LONG, 10, "any").await;
    assert_eq!(handed.len(), 1);
    assert_eq!(queue.push(std::slice::from_ref(&one)).await.unwrap(), [Pushed::Duplicate], "held is known");
    assert_eq!(finish(&queue, LANE, &handed).await, 1);
    assert_eq!(finish(&queue, LANE, &handed).await, 0, "finished twice");
    finish(&queue, Lane::Expiry, &claim(&queue, Lane::Expiry, "w", LONG, 10, "any").await).await;
    assert_eq!(left(&server), Vec::<String>::new());
    let depth = queue.depth(LANE).await.unwrap();
    assert_eq!((depth.pushed, depth.done), (1, 1));
}

#[tokio::test]
async fn a_forgotten_script_is_loaded_again() {
    let (server, queue) = start().await;
    queue.push(&[copy(LANE, "one")]).await.unwrap();
    let _: () = server.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(queue.push(&[copy(LANE, "two")]).await.unwrap(), [Pushed::Queued]);
    assert_eq!(queue.depth(LANE).await.unwrap().waiting(), 2);
}

#[tokio::test]
async fn w06_urgent_bands_go_first_and_none_starves() {
    let (_server, queue) = start().await;
    let mut copies = Vec::new();
    for band in Band::ALL {
        copies.extend((0..100).map(|_| Copy { band, ..copy(LANE, "x") }));
    }
    queue.push(&copies).await.unwrap();
    let handed = claim(&queue, LANE, "w", LONG, 64, "any").await;
    let of = |band: u8| handed.iter().filter(|job| job.envelope[0] == b'0' + band).count();
    assert_eq!([of(0), of(1), of(2), of(3)], [32, 16, 8, 8]);
    let mut bulk = 0;
    for _ in 0..60 {
        let handed = claim(&queue, LANE, "w", LONG, 1, "any").await;
        bulk += handed.iter().filter(|job| job.envelope[0] == b'3').count();
    }
    assert!(bulk > 0, "bulk starves in short slices");
}

#[tokio::test]
async fn a_delayed_job_is_never_early_and_keeps_its_attempts() {
    let (server, queue) = start().await;
    let began = crate::time::Stopwatch::start();
    let delay = Duration::from_millis(120);
    let (seconds, micros): (i64, i64) = server.ask(&["TIME"]);
    queue.push(&[Copy { delay, ..copy(LANE, "later") }]).await.unwrap();
    let delayed = queue.0.keys(Partition::home(LANE)).delayed();
    let due: Vec<Vec<u8>> = server.ask(&["ZRANGE", &delayed, "0", "0", "WITHSCORES"]);
    let due: i64 = String::from_utf8_lossy(&due[1]).parse().unwrap();
    assert!(due * 1_000 >= seconds * 1_000_000 + micros + 120_000, "due early by Redis's clock");
    let promoted = async || {
        queue.0.call::<(u64, i64)>(Partition::home(LANE), &scripts::PROMOTE, vec![arg(10)]).await.unwrap().0
            == 1
    };
    until("it is due", promoted).await;
    assert!(began.elapsed() >= delay);
    let handed = claim(&queue, LANE, "w", LONG, 10, "any").await;
    let began = crate::time::Stopwatch::start();
    let mut args = handed[0].pair();
    args.extend([arg(80), vec![9]]);
    assert_eq!(each(&queue, LANE, &scripts::DELAY, args).await, [1]);
    assert!(claim(&queue, LANE, "w", LONG, 10, "any").await.is_empty());
    until("it is due again", promoted).await;
    assert!(began.elapsed() >= Duration::from_millis(80));
    let again = claim(&queue, LANE, "w", LONG, 10, "any").await;
    let crate::queue::Decoded::Known(envelope) = crate::queue::Envelope::decode(&again[0].envelope) else {
        panic!("readable")
    };
    assert_eq!((envelope.attempts, again[0].deliveries), (9, 1));
}

#[tokio::test]
async fn due_jobs_keep_step_with_the_fleet_and_are_never_shut_out() {
    let (_server, queue) = start().await;
    let delay = Duration::from_millis(1);
    let copies: Vec<Copy> = (0..100).map(|n| Copy { delay, ..copy(LANE, &n.to_string()) }).collect();
    queue.push(&copies).await.unwrap();
    let promote = async || {
        queue.0.call::<(u64, i64)>(Partition::home(LANE), &scripts::PROMOTE, vec![arg(10)]).await.unwrap().0
    };
    until("they are due", async || promote().await == 10).await;
    assert_eq!((promote().await, promote().await), (10, 0), "two batches wait: that is enough");
    let handed = claim(&queue, LANE, "w", LONG, 7, "any").await;
    assert_eq!((promote().await, promote().await), (7, 0), "as much as was taken");
    // A backlog of others fills the lane: due jobs follow as fast as it is worked off.
    queue.push(&(0..50).map(|n| copy(LANE, &n.to_string())).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(promote().await, 0);
    finish(&queue, LANE, &handed).await;
    assert_eq!((promote().await, promote().await), (7, 0), "as much as was done");
}

#[tokio::test]
async fn handed_back_jobs_stand_in_front_in_their_order() {
    let (_server, queue) = start().await;
    let copies: Vec<Copy> = (0..6).map(|n| copy(LANE, &n.to_string())).collect();
    queue.push(&copies).await.unwrap();
    let first = claim(&queue, LANE, "w", LONG, 4, "any").await;
    let args = first.iter().rev().flat_map(Handed::pair).collect();
    assert_eq!(each(&queue, LANE, &scripts::HAND_BACK, args).await, [1, 1, 1, 1]);
    let again = claim(&queue, LANE, "w", LONG, 6, "any").await;
    let expected: Vec<Vec<u8>> = copies.iter().map(|copy| copy.id.uuid().as_bytes().to_vec()).collect();
    assert_eq!(again.iter().map(|job| job.id.clone()).collect::<Vec<_>>(), expected);
    assert!(again.iter().all(|job| job.deliveries == 1), "a hand-back is no delivery");
}

#[tokio::test]
async fn only_the_poison_job_is_quarantined() {
    let (server, queue) = start().await;
    let copies: Vec<Copy> = (0..40).map(|n| copy(LANE, &n.to_string())).collect();
    queue.push(&copies).await.unwrap();
    let poison = copies[7].id.uuid().as_bytes().to_vec();
    let (mut done, mut quarantined, mut alone) = (0, 0, 0);
    for round in 0..400 {
        let mut handed = claim(&queue, LANE, &format!("w{round}"), 30, 20, "any").await;
        if handed.is_empty() {
            handed = claim(&queue, LANE, &format!("w{round}"), 30, 1, "alone").await;
        }
        if handed.is_empty() {
            break;
        }
        assert!(handed[0].stage != 1 || handed.len() <= 16, "suspects come in small slices");
        if let Some(job) = handed.iter().find(|job| job.id == poison) {
            let expected = if job.stage == 2 { alone } else { 0 };
            assert_eq!(job.strikes, expected, "only a death alone counts");
            alone += u32::from(job.stage == 2);
            // The worker dies, and takes its whole slice along.
            quarantined += sweep(&queue, LANE, &[]).await.1;
        } else {
            done += finish(&queue, LANE, &handed).await;
        }
    }
    assert_eq!((done, quarantined), (39, 1));
    let buried = queue.buried(LANE, 10).await.unwrap();
    assert_eq!(buried.len(), 1);
    assert_eq!((buried[0].id, buried[0].reason.as_str()), (copies[7].id, "crashed_worker"));
    assert_eq!(buried[0].envelope.as_ref().unwrap().body, b"7");
    assert_eq!(queue.knows(LANE, &[copies[7].id]).await.unwrap(), [true]);
    assert_eq!(queue.push(&copies[7..8]).await.unwrap(), [Pushed::Duplicate], "buried is known");
    assert_eq!(queue.drop_buried(LANE, &[copies[7].id]).await.unwrap(), 1);
    assert_eq!(left(&server), Vec::<String>::new());
}

#[tokio::test]
async fn a_living_owner_is_never_charged_with_a_death() {
    let (_server, queue) = start().await;
    queue.push(&[copy(LANE, "slow")]).await.unwrap();
    for mode in ["any", "any", "alone", "alone", "alone", "alone", "alone"] {
        let handed = claim(&queue, LANE, "w", 20, 1, mode).await;
        assert_eq!((handed.len(), handed[0].strikes), (1, 0));
        assert_eq!(sweep(&queue, LANE, &["w"]).await, (1, 0));
    }
    // Two deaths, then a sign of life of the one that was held for dead.
    let mut last = Vec::new();
    for _ in 0..2 {
        last = claim(&queue, LANE, "gone", 20, 1, "alone").await;
        assert_eq!(sweep(&queue, LANE, &[]).await, (1, 0));
    }
    assert_eq!(finish(&queue, LANE, &last).await, 0, "stale");
    let handed = claim(&queue, LANE, "w", 20, 1, "alone").await;
    assert_eq!(handed[0].strikes, 0);
    assert_eq!(sweep(&queue, LANE, &["w"]).await, (1, 0));
    assert_eq!(claim(&queue, LANE, "w", LONG, 1, "alone").await[0].overran, 1);
}

#[tokio::test]
async fn a_paused_lane_gives_nothing_and_a_dropped_job_is_gone() {
    let (server, queue) = start().await;
    let copies =
        [copy(LANE, "a"), copy(LANE, "b"), Copy { delay: Duration::from_mins(1), ..copy(LANE, "c") }];
    queue.push(&copies).await.unwrap();
    queue.pause(LANE).await.unwrap();
    assert!(claim(&queue, LANE, "w", LONG, 10, "any").await.is_empty());
    assert!(queue.depth(LANE).await.unwrap().paused);
    queue.resume(LANE).await.unwrap();
    assert_eq!(queue.drop_jobs(LANE, &[copies[0].id, copies[2].id]).await.unwrap(), 2);
    let handed = claim(&queue, LANE, "w", LONG, 10, "any").await;
    assert_eq!(handed.len(), 1);
    assert_eq!(queue.drop_jobs(LANE, &[copies[1].id]).await.unwrap(), 1);
    assert_eq!(finish(&queue, LANE, &handed).await, 0, "its holder finishes nothing");
    assert_eq!(left(&server), Vec::<String>::new());
}

#[tokio::test]
async fn a_full_redis_takes_nothing_in_and_lets_everything_out() {
    let (server, queue) = start().await;
    queue.push(&[copy(LANE, "a"), copy(LANE, "b"), copy(LANE, "c"), copy(LANE, "d")]).await.unwrap();
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = queue.push(&[copy(LANE, "e")]).await;
    assert!(matches!(refused, Err(QueueError::Full(_))), "{refused:?}");
    let handed = claim(&queue, LANE, "w", LONG, 4, "any").await;
    assert_eq!(handed.len(), 4);
    let renew = [vec![arg(LONG)], by_token(&handed)].concat();
    assert_eq!(each(&queue, LANE, &scripts::RENEW, renew).await, [1, 1, 1, 1]);
    assert_eq!(each(&queue, LANE, &scripts::HAND_BACK, handed[0].pair()).await, [1]);
    assert_eq!(each(&queue, LANE, &scripts::PARK, handed[1].pair()).await, [1]);
    let delay = [handed[2].pair(), vec![arg(1), vec![1]]].concat();
    assert_eq!(each(&queue, LANE, &scripts::DELAY, delay).await, [1]);
    assert_eq!(finish(&queue, LANE, &handed[3..]).await, 1);
    let depth = queue.depth(LANE).await.unwrap();
    assert_eq!((depth.leased, depth.waiting(), depth.parked, depth.delayed), (0, 1, 1, 1));
}

#[tokio::test]
async fn a_redis_that_may_lose_jobs_is_refused_and_told_why() {
    let (mut server, _queue) = start().await;
    server.kill();
    server.run(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]).await;
    let Err(QueueError::NotDurable(faults)) =
        Queue::connect(&server.settings(), &settings(), &BTreeMap::new()).await
    else {
        panic!("must be refused")
    };
    assert!(faults[0].contains("appendonly yes") && faults[1].contains("noeviction"), "{faults:?}");
    let mut lenient = server.settings();
    lenient.require_durable = false;
    let queue = Queue::connect(&lenient, &settings(), &BTreeMap::new()).await.unwrap();
    assert_eq!(queue.durability().await.unwrap().faults.len(), 2);
}

#[tokio::test]
async fn a_wiped_redis_has_no_epoch() {
    let (server, queue) = start().await;
    assert_eq!(queue.epoch(LANE).await.unwrap(), None);
    let epoch = queue.ensure_epoch(LANE).await.unwrap();
    assert_eq!(queue.ensure_epoch(LANE).await.unwrap(), epoch);
    queue.push(&[copy(LANE, "a")]).await.unwrap();
    let _: () = server.ask(&["FLUSHALL"]);
    queue.push(&[copy(LANE, "b")]).await.unwrap();
    assert_eq!(queue.epoch(LANE).await.unwrap(), None, "a push must not hide the wipe");
    assert_ne!(queue.ensure_epoch(LANE).await.unwrap(), epoch);
}
