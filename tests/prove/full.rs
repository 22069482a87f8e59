//! A Redis that fills up: new intents are refused first, then webhooks; what is in hand is finished; nothing is lost; and
//! once the backlog is gone everything comes in again without help.

use std::time::Duration;

use futures::future::join_all;
use orderfleet::domain::key::hex;
use reqwest::{Client, StatusCode};
use ring::hmac;
use serde_json::{Value, json};
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::Report;

use crate::plan::Plan;

/// Bytes that Redis gets beyond what it uses when the fleet is idle.
const ROOM: u64 = 6 << 20;
/// Letters that make an event large, so that a few dozen fill the rest.
const LETTERS: usize = 40_000;
/// Jobs in hand while it is full; each is in its call for eight seconds: two leases.
const HELD: u64 = 40;
/// Jobs that become due while it is full: these are done, and these given up.
const DUE: (u64, u64) = (50, 20);
/// Wishes sent at once while it fills.
const AT_ONCE: usize = 16;

/// Proves it.
pub(crate) async fn prove(_plan: Plan, report: &mut Report) {
    let setup = Setup::default().set("lanes.housekeeping.slice", 32).set("lanes.housekeeping.concurrency", 4);
    // More is wanted than there is: whoever is told so at the door shows nothing of a full Redis.
    let setup = setup.set("intake.sold_out_gate", false);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let mut worker = fleet.working(&["--lanes", "housekeeping"]).await;
    let limit = used(&fleet).await + ROOM;
    fleet.redis(&["CONFIG", "SET", "maxmemory", &limit.to_string()]).await;
    let wishes = fill(&fleet, limit, report).await;
    let taken = when_full(&fleet, &wishes[0], report).await;

    // The backlog goes; everything comes in again by itself.
    let mut helper = fleet.working(&["--lanes", "intents,payments-in"]).await;
    until("a new wish comes in", async || fleet.wish("late").await.status().is_success().then_some(())).await;
    until("a new event comes in", async || taken_in(&fleet, "evt-late", "").await.then_some(())).await;
    until("an empty queue", async || {
        let open = known(&fleet, "intents").await + known(&fleet, "payments-in").await;
        (open == 0).then_some(())
    })
    .await;
    let decided = fleet.count("select count(*) from order_intents").await;
    report.exactly("undecided_wishes", i64::try_from(wishes.len()).unwrap() + 1 - decided, 0);
    let kept = fleet.count("select count(*) from inbox where event_id like 'evt-%'").await;
    report.exactly("lost_webhooks", i64::try_from(taken).unwrap() + 1 - kept, 0);
    for process in [&mut worker, &mut helper] {
        process.signal("TERM");
        assert!(process.ended().await.success(), "a worker did not end well");
    }
    fleet.end().await;
}

/// Sends wishes until four fifths of the memory are used; answers those that came in.
async fn fill(fleet: &Fleet, limit: u64, report: &mut Report) -> Vec<String> {
    let mut wishes = Vec::new();
    let refused = 'filling: loop {
        let from = wishes.len();
        let keys: Vec<String> = (from..from + AT_ONCE).map(|at| format!("full-{at}")).collect();
        let answers = join_all(keys.iter().map(|key| fleet.wish(key))).await;
        for (key, answer) in keys.into_iter().zip(answers) {
            if answer.status() != StatusCode::ACCEPTED {
                break 'filling answer;
            }
            wishes.push(key);
        }
    };
    let used_at_refusal = used(fleet).await * 100 / limit;
    let status = refused.status();
    let told = refused.headers().contains_key("retry-after");
    let problem: Value = refused.json().await.unwrap();
    report.progress(format_args!("{} wishes came in, then {problem}", wishes.len()));
    report.count("wishes", wishes.len());
    report.count("used_at_refusal_percent", used_at_refusal);
    let by_memory = status == StatusCode::SERVICE_UNAVAILABLE && problem["reason"] == "memory" && told;
    report.exactly("refused_for_memory", by_memory.into(), 1);
    report.exactly("refused_before_its_time", (used_at_refusal < 80).into(), 0);
    report.exactly("webhooks_at_four_fifths", taken_in(fleet, "evt-0", "").await.into(), 1);
    wishes
}

/// Jobs in hand, and jobs that become due; then events, until nothing more fits, and what goes on all the same. Answers
/// how many events came in.
async fn when_full(fleet: &Fleet, known_key: &str, report: &mut Report) -> usize {
    fleet.insert_probes(DUE.0, r#""note""#, "12 seconds").await;
    fleet.insert_probes(DUE.1, r#""fail""#, "12 seconds").await;
    fleet.insert_probes(HELD, r#"{"call":8000}"#, "0").await;
    let queued = DUE.0 + DUE.1 + HELD;
    until("jobs in hand", async || (leased(fleet).await == HELD).then_some(())).await;
    until("all relayed", async || (known(fleet, "housekeeping").await == queued).then_some(())).await;
    let mut taken = 1;
    while taken_in(fleet, &format!("evt-{taken}"), &"x".repeat(LETTERS)).await {
        taken += 1;
    }
    report.count("webhooks", taken);
    report.exactly("pushes_of_wishes_when_full", fleet.wish("late").await.status().is_success().into(), 0);
    let known_wish = fleet.wish(known_key).await;
    report.exactly("known_wishes_answered_when_full", known_wish.status().is_success().into(), 1);
    until("the end of what was in hand", async || {
        let tally = fleet.tally().await;
        let all = i64::try_from(queued).unwrap();
        (tally.done + tally.buried == all && tally.open == 0).then_some(())
    })
    .await;
    report.exactly(
        "still_full_afterwards",
        (!taken_in(fleet, "evt-late", &"x".repeat(LETTERS)).await).into(),
        1,
    );
    let tally = fleet.tally().await;
    report.exactly("done_when_full_jobs", tally.done, i64::try_from(DUE.0 + HELD).unwrap());
    report.exactly("buried_when_full_jobs", tally.buried, i64::try_from(DUE.1).unwrap());
    report.exactly("doubled_jobs", tally.doubled, 0);
    report.exactly("lost_jobs", tally.lost, 0);
    taken
}

/// Sends a signed event of Stripe's with this ballast; whether it was taken in. Otherwise the answer has to be 503.
async fn taken_in(fleet: &Fleet, id: &str, ballast: &str) -> bool {
    let body = json!({ "id": id, "object": "event", "type": "customer.created",
                       "data": { "object": { "id": "cus_1", "object": "customer", "name": ballast } } })
    .to_string();
    let at = fleet.count("select extract(epoch from now())::bigint").await;
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec_faults");
    let signature = hex(hmac::sign(&key, format!("{at}.{body}").as_bytes()).as_ref());
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let request = client.post(format!("http://{}/webhooks/stripe", fleet.address));
    let request = request.header("stripe-signature", format!("t={at},v1={signature}"));
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    let status = answer.status();
    assert!(status == StatusCode::OK || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
    status == StatusCode::OK
}

/// Bytes that Redis uses.
async fn used(fleet: &Fleet) -> u64 {
    let info: String = redis::from_redis_value(fleet.redis(&["INFO", "memory"]).await).unwrap();
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
}

/// Jobs in the workers' hands.
async fn leased(fleet: &Fleet) -> u64 {
    redis::from_redis_value(fleet.redis(&["ZCARD", "{of:housekeeping:0}:l"]).await).unwrap()
}

/// Jobs that a lane knows.
async fn known(fleet: &Fleet, lane: &str) -> u64 {
    redis::from_redis_value(fleet.redis(&["HLEN", &format!("{{of:{lane}:0}}:j")]).await).unwrap()
}
