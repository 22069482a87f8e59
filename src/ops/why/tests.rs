//! Every answer, from the facts that lead to it.

use chrono::TimeDelta;

use super::*;
use crate::job::Band;
use crate::time::Clock;

fn row(due_in: i64, is_relayed: bool) -> Row {
    let now = Clock::real().now();
    Row {
        kind: "email".to_owned(),
        lane: "mail".to_owned(),
        run_at: now + TimeDelta::seconds(due_in),
        created_at: now,
        relayed_at: is_relayed.then_some(now),
        attempts: 2,
        last_failure: Some(("no_answer".to_owned(), "smtp: no answer".to_owned())),
        now,
    }
}

fn lane() -> LaneFacts {
    LaneFacts { workers: 1, ..LaneFacts::default() }
}

fn at(place: Place) -> Facts {
    let standing = Standing { place, kind: Some("email".to_owned()), attempts: 0, deliveries: 1, strikes: 0 };
    Facts { found: Some((Lane::Mail, standing)), row: Some(row(0, true)), lane: lane(), ..Facts::default() }
}

fn waiting(lane: LaneFacts) -> Answer {
    explain(&Facts { lane, ..at(Place::Waiting(Band::High, 7)) })
}

#[test]
fn a_job_in_redis_is_told_by_its_place() {
    let code = |place| explain(&at(place)).code;
    let second = Duration::from_secs(1);
    assert_eq!(code(Place::Leased("here-1-ab".to_owned(), second)), "running");
    assert_eq!(code(Place::Delayed(second)), "delayed");
    assert_eq!(code(Place::Parked(second)), "parked");
    assert_eq!(code(Place::Buried("crashed_worker".to_owned())), "buried");
    assert_eq!(code(Place::Suspect(0)), "suspect");
    assert_eq!(code(Place::Alone(0)), "alone");
    assert_eq!(code(Place::FarBack), "waiting");
    let told = explain(&at(Place::Delayed(second))).because;
    assert!(told.contains("attempt 2 ended with no_answer"), "{told}");
}

#[test]
fn who_waits_is_told_what_holds_the_lane_back_and_else_its_place() {
    assert_eq!(waiting(LaneFacts { paused: true, ..lane() }).code, "paused");
    assert_eq!(waiting(LaneFacts { workers: 0, ..lane() }).code, "no_worker");
    assert_eq!(waiting(LaneFacts { away: Some((Dependency::Smtp, 3)), ..lane() }).code, "provider_away");
    let limits = FleetLimits { concurrency: 4, rate: 0 };
    assert_eq!(waiting(LaneFacts { limits, leased: 4, ..lane() }).code, "at_limit");
    let line = waiting(LaneFacts { limits, leased: 3, ..lane() });
    assert_eq!(line.code, "waiting");
    assert!(line.because.contains("7 are before it in the band high"), "{}", line.because);
    let slow = waiting(LaneFacts { limits: FleetLimits { concurrency: 0, rate: 2 }, ..lane() });
    assert!(slow.next.contains("2 jobs a second"), "{}", slow.next);
}

#[test]
fn a_job_that_is_a_row_alone_is_told_when_it_is_pushed() {
    let only = |row| Facts { row: Some(row), lane: lane(), ..Facts::default() };
    assert_eq!(explain(&only(row(600, false))).code, "due_later");
    assert_eq!(explain(&only(row(0, false))).code, "not_pushed");
    assert_eq!(explain(&only(row(0, true))).code, "lost_by_redis");
    let nobody = Facts { lane: LaneFacts::default(), ..only(row(0, false)) };
    assert!(explain(&nobody).next.starts_with("start a worker"));
}

#[test]
fn what_is_given_up_or_gone_is_told_so() {
    let now = Clock::real().now();
    let given = |replayed_at| Given {
        id: uuid::Uuid::nil().into(),
        died_at: now,
        code: "refused".to_owned(),
        detail: "550".to_owned(),
        replayed_at,
        dropped: None,
    };
    let dead = |replayed_at| Facts { given: Some(given(replayed_at)), ..Facts::default() };
    assert_eq!(explain(&dead(None)).code, "dead");
    assert_eq!(explain(&dead(Some(now))).code, "replayed");
    let dropped = Given { dropped: Some((now, "a test order".to_owned())), ..given(None) };
    let dropped = explain(&Facts { given: Some(dropped), ..Facts::default() });
    assert!(dropped.code == "dropped" && dropped.because.contains("a test order"), "{dropped:?}");
    assert_eq!(explain(&Facts::default()).code, "gone");
    assert_eq!(explain(&Facts { postgres_silent: true, ..Facts::default() }).code, "unknown");
}

#[test]
fn the_answer_names_the_lane_in_what_to_do() {
    let answer = waiting(LaneFacts { paused: true, ..lane() });
    let text = render(JobId::new(), &answer);
    assert!(text.contains("queues resume mail"), "{text}");
}
