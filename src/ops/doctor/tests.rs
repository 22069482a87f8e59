//! What the report says of what was found.

use super::*;

#[test]
fn a_clock_is_judged_by_what_it_shows_outside_of_the_question() {
    let status = |theirs| skew("clock", 10_000, theirs, 10_050).status;
    assert_eq!(skew("clock", 10_000, 10_020, 10_050), Check::ok("clock", "agrees with ours"));
    assert_eq!((status(9_000), status(11_050)), (Status::Ok, Status::Ok));
    assert_eq!((status(8_999), status(11_051)), (Status::Warn, Status::Warn));
    assert_eq!((status(-50_000), status(70_050)), (Status::Fail, Status::Fail));
    assert_eq!(skew("clock", 10_000, 8_000, 10_050).found, "2s behind ours");
}

#[test]
fn an_operators_side_that_others_reach_is_told() {
    let mut settings = crate::config::load(&crate::config::Sources::default()).unwrap();
    assert_eq!(ops_port(&settings), Check::ok("ops port", "127.0.0.1:9090, on this machine only"));
    settings.ops.address = "0.0.0.0:9090".parse().unwrap();
    let check = ops_port(&settings);
    assert_eq!((check.status, check.found.as_str()), (Status::Warn, "ops.address 0.0.0.0:9090"));
    assert!(check.advice[0].contains("tls_in_front"), "{check:?}");
}

#[test]
fn the_text_is_aligned_and_ends_with_the_verdict() {
    let check = Check::ok("redis", "reached").but(Status::Warn, "one").but(Status::Fail, "other");
    let report = Report { checks: vec![Check::ok("configuration", "complete"), check] };
    assert!(report.has_failed());
    assert_eq!(
        render(&report),
        "ok       configuration  complete\n\
         FAIL     redis          reached\n\
        \u{20}                       → one\n\
        \u{20}                       → other\n\
         \n\
         Not fit to start; failures: 1.\n"
    );
}

#[test]
fn the_gravest_counts_and_skipped_is_no_failure() {
    let check = Check::ok("redis", "").but(Status::Fail, "one").but(Status::Warn, "other");
    assert_eq!(check.status, Status::Fail);
    let report = Report { checks: vec![Check::skipped("smtp", "not needed")] };
    assert!(!report.has_failed() && render(&report).ends_with("All is well.\n"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["checks"][0]["status"], "skipped");
}
