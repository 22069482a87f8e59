//! Permits to call a provider: the fleet's limits and its breaker.

use super::super::{CallLimits, Word};
use super::*;

const WHOM: &str = "stripe";
const NONE: CallLimits = CallLimits { a_second: 0, at_once: 0 };

/// Lets time pass in Redis, as far as a breaker is concerned: what it wrote moves into the past.
fn pass(server: &Server, field: &str, ms: i64) {
    let key = "{t:provider:stripe}:state";
    let at: i64 = server.ask(&["HGET", key, field]);
    let _: i64 = server.ask(&["HSET", key, field, &(at - ms).to_string()]);
}

#[tokio::test]
async fn without_limits_everybody_may_call() {
    let (server, queue) = start().await;
    let asked = queue.ask_permits(WHOM, NONE, 500).await.unwrap();
    assert_eq!((asked.granted, asked.wait, asked.first), (500, None, 0));
    assert_eq!(server.ask::<i64>(&["EXISTS", "{t:provider:stripe}:calls"]), 0, "nothing stays");
}

#[tokio::test]
async fn calls_at_once_are_counted_in_the_fleet_and_come_back() {
    let (server, queue) = start().await;
    let limits = CallLimits { a_second: 0, at_once: 3 };
    let first = queue.ask_permits(WHOM, limits, 2).await.unwrap();
    let second = queue.ask_permits(WHOM, limits, 2).await.unwrap();
    assert_eq!((first.granted, second.granted), (2, 1));
    assert!(second.wait.is_some() && !second.is_away);
    assert_eq!(queue.ask_permits(WHOM, limits, 1).await.unwrap().granted, 0);
    queue.leave_places(WHOM, &[first.first]).await.unwrap();
    assert_eq!(queue.provider_seen(WHOM).await.unwrap().calls, 2);
    assert_eq!(queue.ask_permits(WHOM, limits, 2).await.unwrap().granted, 1);
    // The places of a worker that died come back by themselves.
    let calls = "{t:provider:stripe}:calls";
    for number in server.ask::<Vec<String>>(&["ZRANGE", calls, "0", "-1"]) {
        let _: f64 = server.ask(&["ZINCRBY", calls, "-4001", &number]);
    }
    assert_eq!(queue.ask_permits(WHOM, limits, 9).await.unwrap().granted, 3);
}

#[tokio::test]
async fn a_rate_is_the_whole_fleets_and_says_when_to_come_again() {
    let (_server, queue) = start().await;
    let limits = CallLimits { a_second: 20, at_once: 0 };
    let began = queue.now_ms().await.unwrap();
    let asked = queue.ask_permits(WHOM, limits, 50).await.unwrap();
    assert_eq!((asked.granted, asked.step), (5, Duration::from_millis(50)), "a quarter of a second at once");
    let mut granted = asked.granted;
    while granted < 20 {
        let asked = queue.ask_permits(WHOM, limits, 50).await.unwrap();
        granted += asked.granted;
        tokio::time::sleep(asked.wait.expect("more was wanted")).await;
    }
    let took = queue.now_ms().await.unwrap() - began;
    assert!(took >= 749, "15 calls beyond the first five, at 20 a second: {took} ms");
}

#[tokio::test]
async fn a_provider_that_is_away_is_tried_by_one_call_after_a_growing_wait() {
    let (server, queue) = start().await;
    for wait in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
        let told = queue.tell_of_call(WHOM, Word::Away, wait != 1_000).await.unwrap();
        assert_eq!(told, Duration::from_millis(wait));
        let late = queue.tell_of_call(WHOM, Word::Away, false).await.unwrap();
        assert!(late <= told, "calls that fail at once are one outage");
        let asked = queue.ask_permits(WHOM, NONE, 10).await.unwrap();
        assert!(asked.granted == 0 && asked.is_away && asked.wait.is_some());
        let seen = queue.provider_seen(WHOM).await.unwrap();
        assert!(seen.open_since_ms.is_some() && seen.trips > 0);
        pass(&server, "until", 10_000);
        let probe = queue.ask_permits(WHOM, NONE, 10).await.unwrap();
        assert!(probe.granted == 1 && probe.is_probe);
        let other = queue.ask_permits(WHOM, NONE, 10).await.unwrap();
        assert!(other.granted == 0 && other.is_away, "one probe for the whole fleet");
    }
    // A call from before the outage proves nothing; the probe does.
    queue.tell_of_call(WHOM, Word::Lives, false).await.unwrap();
    assert_eq!(queue.ask_permits(WHOM, NONE, 1).await.unwrap().granted, 0);
    queue.tell_of_call(WHOM, Word::Lives, true).await.unwrap();
    assert_eq!(queue.ask_permits(WHOM, NONE, 10).await.unwrap().granted, 10);
    assert_eq!(queue.provider_seen(WHOM).await.unwrap(), super::super::ProviderSeen::default());
    let told = queue.tell_of_call(WHOM, Word::Away, false).await.unwrap();
    assert_eq!(told, Duration::from_secs(1), "a new outage begins anew");
}

#[tokio::test]
async fn a_probe_that_never_tells_is_followed_by_another() {
    let (server, queue) = start().await;
    queue.tell_of_call(WHOM, Word::Away, false).await.unwrap();
    pass(&server, "until", 1_000);
    assert!(queue.ask_permits(WHOM, NONE, 1).await.unwrap().is_probe);
    pass(&server, "probe", 4_000);
    assert!(queue.ask_permits(WHOM, NONE, 1).await.unwrap().is_probe, "its worker died");
    // A probe that learns nothing waits longer, like one that finds nobody.
    assert_eq!(queue.tell_of_call(WHOM, Word::Unsure, true).await.unwrap(), Duration::from_secs(2));
}

#[tokio::test]
async fn who_is_told_to_stay_away_keeps_the_whole_fleet_away() {
    let (server, queue) = start().await;
    let told = queue.tell_of_call(WHOM, Word::Busy(Duration::from_secs(7)), false).await.unwrap();
    assert_eq!(told, Duration::from_secs(7));
    let shorter = queue.tell_of_call(WHOM, Word::Busy(Duration::from_secs(1)), false).await.unwrap();
    assert!(shorter > Duration::from_secs(5), "the longest counts");
    let asked = queue.ask_permits(WHOM, NONE, 4).await.unwrap();
    assert!(asked.granted == 0 && !asked.is_away && asked.wait.unwrap() > Duration::from_secs(5));
    assert!(queue.provider_seen(WHOM).await.unwrap().hold_until_ms.is_some());
    pass(&server, "hold", 7_000);
    assert_eq!(queue.ask_permits(WHOM, NONE, 4).await.unwrap().granted, 4, "no probe: it was never away");
}
