//! The measure of the queue and the places it promises, without a queue.

use super::*;

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

fn capacity(max_depth: u64, slice: usize) -> Capacity {
    let limits = FED.map(|lane| {
        (
            lane.name().to_owned(),
            LaneSettings {
                partitions: 1,
                concurrency: 1,
                slice,
                fleet_concurrency: 0,
                fleet_rate: 0,
                max_depth,
            },
        )
    });
    Capacity::new(&limits.into(), MINUTE)
}

fn gauge(waiting: u64, done: u64) -> Gauge {
    Gauge { waiting, done, pushed: waiting + done, ..Gauge::default() }
}

fn take(capacity: &Capacity, lane: Lane, gauge: Gauge, since: Option<Duration>) {
    let view = capacity.view(lane);
    view.take(gauge, since, view.heard.load(Ordering::Relaxed));
}

/// Looks once a second at a lane in which so many wait and so many are done.
fn look(capacity: &Capacity, looks: &[(u64, u64)]) {
    for (waiting, done) in looks {
        take(capacity, Lane::Intents, gauge(*waiting, *done), Some(SECOND));
    }
}

fn crowded(capacity: &Capacity) -> Option<Gate> {
    match capacity.intents() {
        Room::Crowded(gate) => Some(gate),
        Room::Free | Room::NoMemory(_) => None,
    }
}

#[test]
fn pushes_since_the_last_look_count_whoever_made_them() {
    let capacity = capacity(10, 1);
    look(&capacity, &[(8, 0)]);
    capacity.pushed(Lane::Intents, 9);
    assert_eq!(capacity.intents(), Room::Free);
    // Another door's push lies between.
    capacity.pushed(Lane::Intents, 11);
    assert_eq!(crowded(&capacity).map(|gate| (gate.full, gate.most)), Some((10, 10)));
}

#[test]
fn what_is_on_its_way_takes_room_and_what_was_heard_during_a_look_is_not_forgotten() {
    let capacity = capacity(10, 1);
    look(&capacity, &[(8, 0)]);
    let one = capacity.coming();
    assert_eq!(capacity.intents(), Room::Free);
    let two = capacity.coming();
    assert_eq!(capacity.intents(), Room::Free);
    let three = capacity.coming();
    assert!(crowded(&capacity).is_some(), "two are before it");
    drop((one, two, three));
    assert_eq!(capacity.intents(), Room::Free);
    capacity.pushed(Lane::Intents, 10);
    capacity.view(Lane::Intents).take(gauge(8, 0), Some(SECOND), 8);
    assert!(crowded(&capacity).is_some(), "the look began before two more were answered");
}

#[test]
fn a_wait_that_would_be_too_long_closes_the_gate_at_that_depth() {
    let capacity = capacity(1_000_000, 8);
    look(&capacity, &[(1_000, 0), (1_000, 10), (1_000, 20), (1_000, 30)]);
    let gate = crowded(&capacity).unwrap();
    assert_eq!((gate.full, gate.busy), (600, 10));
    assert_eq!(gate.each.as_millis(), 100);
    look(&capacity, &[(599, 40)]);
    assert_eq!(capacity.intents(), Room::Free);
}

#[test]
fn a_place_moves_up_with_what_is_done_and_has_a_time_where_the_speed_is_known() {
    let capacity = capacity(1_000_000, 8);
    look(&capacity, &[(1_000, 0)]);
    assert_eq!(capacity.place(700), (700, None));
    look(&capacity, &[(1_000, 10), (1_000, 20), (1_000, 30)]);
    assert_eq!(capacity.place(700), (670, Some(Duration::from_secs(67))));
    // Done, or lost and pushed again since: nobody is before the first.
    assert_eq!(capacity.place(7).0, 1);
}

#[test]
fn a_promised_place_keeps_the_gate_even_where_there_is_room() {
    let capacity = capacity(1_000, 1);
    let promised = Gauge { promised: 1, ..gauge(1, 0) };
    take(&capacity, Lane::Intents, promised, None);
    assert!(crowded(&capacity).is_some());
}

#[test]
fn idle_time_a_trickle_and_one_slice_say_nothing_of_the_speed() {
    for looks in [
        // Idle for hours, then a burst.
        &[(0, 0), (5_000, 1), (5_000, 2)][..],
        // No worker has started yet.
        &[(5_000, 0), (6_000, 0), (7_000, 0), (8_000, 0), (9_000, 0)],
        // Less than a slice waits.
        &[(3, 0), (3, 2), (3, 4), (3, 6), (5_000, 8)],
    ] {
        let capacity = capacity(1_000_000, 256);
        look(&capacity, looks);
        assert_eq!(capacity.intents(), Room::Free, "{looks:?}");
    }
}

#[test]
fn a_fleet_that_stops_is_noticed_and_an_old_speed_forgotten() {
    let capacity = capacity(1_000_000, 8);
    look(&capacity, &[(9_000, 0), (9_000, 1_000), (9_000, 2_000), (9_000, 3_000)]);
    assert_eq!(capacity.intents(), Room::Free, "a thousand a second");
    look(&capacity, &[(9_000, 3_000); 30]);
    assert!(crowded(&capacity).unwrap().full < 9_000, "nothing was done for half a minute");
    look(&capacity, &[(0, 12_000); 30]);
    look(&capacity, &[(9_000, 12_000)]);
    assert_eq!(capacity.intents(), Room::Free, "the lane was empty for half a minute");
}

#[test]
fn short_memory_refuses_intents_alone() {
    let capacity = capacity(1_000, 1);
    let filled = |used_bytes| Gauge { used_bytes, allowed_bytes: 1_000, ..gauge(1, 0) };
    for lane in FED {
        take(&capacity, lane, filled(799), None);
    }
    assert_eq!(capacity.intents(), Room::Free);
    for lane in FED {
        take(&capacity, lane, filled(800), None);
    }
    let Room::NoMemory(wait) = capacity.intents() else { panic!("{:?}", capacity.intents()) };
    assert!((5..=10).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(capacity.webhooks(Lane::PaymentsIn), None);
    take(&capacity, Lane::Intents, Gauge { allowed_bytes: 0, ..filled(u64::MAX) }, None);
    assert_eq!(capacity.intents(), Room::Free, "no limit is set");
}

#[test]
fn webhooks_have_the_depth_of_their_own_lane() {
    let capacity = capacity(10, 1);
    look(&capacity, &[(1_000, 0)]);
    assert!(crowded(&capacity).is_some());
    assert_eq!(capacity.webhooks(Lane::PaymentsIn), None);
    take(&capacity, Lane::PaymentsIn, gauge(10, 0), None);
    assert!(capacity.webhooks(Lane::PaymentsIn).is_some());
    assert_eq!(capacity.webhooks(Lane::ShippingIn), None);
}

#[test]
fn a_wiped_redis_does_not_leave_its_sequence_behind() {
    let capacity = capacity(100, 1);
    capacity.pushed(Lane::Intents, 1_000_000);
    look(&capacity, &[(1, 0)]);
    assert_eq!(capacity.intents(), Room::Free);
}
