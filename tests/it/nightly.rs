//! The audit of every night: one of all workers, also where one of them dies of it, and what it found is told by each.

use orderfleet::worker::nightly::night;

use crate::house;

/// Hours are the database's: a night that has come, and one that has not.
const NOW: &str = "select extract(hour from now() at time zone 'utc')::integer as hour";

#[tokio::test]
async fn one_worker_audits_the_night_another_takes_it_over_and_every_one_knows_what_it_found() {
    let house = house::plan().workers(0).open().await;
    let now = u8::try_from(house.value(NOW).await.as_u64().unwrap()).unwrap();
    let later = (now + 12) % 24;
    assert!(!night(&house.store, later, "early").await.unwrap(), "its time has not come");
    assert_eq!(house.store.last_audit().await.unwrap(), None);

    // A worker takes it and dies; for a while nobody else may have it.
    assert!(house.store.take_night(now, "dead").await.unwrap().is_some());
    assert!(!night(&house.store, now, "second").await.unwrap(), "the night is somebody's");
    house.execute("update audits set began_at = now() - interval '1 hour'").await.unwrap();
    assert!(night(&house.store, now, "second").await.unwrap(), "it is taken over");
    assert!(!night(&house.store, now, "third").await.unwrap(), "it is done");
    let last = house.store.last_audit().await.unwrap().unwrap();
    assert_eq!(last.violations["I1"], 0);
    assert!(
        !last.violations.contains_key("I7"),
        "the fleet worked on: what needs drained queues was not judged"
    );

    // The next night finds what was broken meanwhile.
    house.execute("update audits set night = night - 1").await.unwrap();
    house.execute("update stock set on_hand = on_hand + 1 where sku = 'SUIT'").await.unwrap();
    assert!(night(&house.store, now, "third").await.unwrap());
    assert_eq!(house.store.last_audit().await.unwrap().unwrap().violations["I3"], 1);
    house.execute("update stock set on_hand = on_hand - 1 where sku = 'SUIT'").await.unwrap();
    house.end().await;
}
