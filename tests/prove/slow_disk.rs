//! A slow disk and a loss of power: every sync of Redis takes a second, and then the power goes, again and again, while
//! wishes come in. Whatever was answered 202 is there afterwards: the answer waits for the sync.
//!
//! The intake may say 503 as often as it likes (that means "unknown: ask again under the same key"), and must go on.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use stage::door::Door;
use stage::fleet::{Fleet, Setup};
use stage::process::until;
use stage::report::{Op, Report};
use stage::tampered::Tampered;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::plan::Plan;

/// How long a sync takes here.
const SYNC_MS: i64 = 1_000;
/// Rounds at most, until enough was acknowledged for a loss to show: each write waits for a sync, and what the door writes for
/// itself does, too, so that a round may bring three acknowledgements or thirty.
const MOST_ROUNDS: u64 = 80;
/// Clients at the door, each with one wish after the other.
const CLIENTS: usize = 24;
/// Until the power goes: several syncs, at any moment of the last one.
const POWER_MS: std::ops::Range<u64> = 4_000..7_000;
/// A client that was refused, or that nobody answered, waits so long.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest that a client waits for an answer that can only be 202 or 503.
const ANSWER: Duration = Duration::from_secs(15);

/// What the clients of one round were told.
#[derive(Default)]
struct Told {
    accepted: Vec<String>,
    refused: i64,
    other: i64,
}

/// Cuts the power in each round, and compares what was acknowledged with what is there.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let setup = Setup { redis: Some(Tampered::start().await), ..Setup::default() };
    let mut fleet = Fleet::set_up(setup).await;
    let (mut acknowledged, mut refused, mut other, mut unsynced) = (BTreeSet::new(), 0, 0, 0);
    let (least_rounds, least) = plan.sized((2, 20), (12, 200));
    let mut rounds = 0;
    while rounds < least_rounds || (acknowledged.len() < least && rounds < MOST_ROUNDS) {
        let round = rounds;
        tampered(&mut fleet).slow_disk(SYNC_MS);
        let power = Duration::from_millis(random.random_range(POWER_MS));
        let (door, dark) = (fleet.door(), CancellationToken::new());
        let clients = (0..CLIENTS).map(|client| wishes(&door, format!("{round}-{client}"), &dark));
        let cutting = async {
            sleep(power).await;
            let bytes = tampered(&mut fleet).cut_power();
            dark.cancel();
            bytes
        };
        let (told, bytes) = tokio::join!(join_all(clients), cutting);
        unsynced += bytes;
        for told in told {
            acknowledged.extend(told.accepted);
            refused += told.refused;
            other += told.other;
        }
        let redis = tampered(&mut fleet);
        redis.slow_disk(0);
        redis.start_again().await;
        // The same door goes on by itself.
        acknowledged.insert(fleet.door().accepted(format!("after-{round}")).await);
        report.progress(format_args!(
            "round {}: {} wishes acknowledged so far, {refused} refused; {bytes} bytes lost",
            round + 1,
            acknowledged.len()
        ));
        rounds += 1;
    }
    let mut worker = fleet.working(&["--lanes", "intents"]).await;
    until("an empty lane", async || (known(&fleet).await == 0).then_some(())).await;
    let kept: String =
        fleet.select("select coalesce(string_agg(customer_id, ' '), '') from order_intents").await;
    let kept: BTreeSet<String> = kept.split_whitespace().map(str::to_owned).collect();
    report.count("cuts_of_power", rounds);
    report.count("bytes_that_were_not_synced", unsynced);
    report.count("refused", refused);
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts far below 2^52")]
    report.bar("acknowledged", acknowledged.len() as f64, Op::AtLeast, least as f64);
    let lost = acknowledged.difference(&kept).count();
    report.exactly("acknowledged_and_lost", i64::try_from(lost).unwrap(), 0);
    report.exactly("answers_other_than_202_and_503", other, 0);
    report.exactly("intakes_that_ended", fleet.intake.has_ended().into(), 0);
    report.note("Redis: appendfsync always, every sync slowed to 1 s; a cut takes back what was not synced");
    worker.signal("TERM");
    assert!(worker.ended().await.success());
    fleet.end().await;
}

/// One client: wishes of its own, one after the other, until the power is gone.
async fn wishes(door: &Door, name: String, dark: &CancellationToken) -> Told {
    let mut told = Told::default();
    let mut n = 0;
    while !dark.is_cancelled() {
        let key = format!("{name}-{n}");
        match timeout(ANSWER, door.wish(&key)).await.map(|answer| answer.map(|answer| answer.status())) {
            Ok(Ok(StatusCode::ACCEPTED)) => {
                told.accepted.push(key);
                n += 1;
                continue;
            }
            Ok(Ok(StatusCode::SERVICE_UNAVAILABLE)) => told.refused += 1,
            Ok(Ok(_) | Err(_)) | Err(_) => told.other += 1,
        }
        sleep(AGAIN).await;
    }
    told
}

fn tampered(fleet: &mut Fleet) -> &mut Tampered {
    fleet.tampered.as_mut().unwrap()
}

/// Wishes that the queue knows.
async fn known(fleet: &Fleet) -> i64 {
    redis::from_redis_value(fleet.redis(&["HLEN", "{of:intents:0}:j"]).await).unwrap()
}
