//! Is Redis there, does it keep what it acknowledges, and is its clock right?

use tokio::time::timeout;

use super::{Check, PATIENCE, Status, skew};
use crate::config::{Need, RedisSettings, Settings};
use crate::queue::{self, Durability, Queue, QueueError};
use crate::time::Clock;

/// The oldest that has every command which the scripts use.
const OLDEST: (u32, u32) = (6, 2);
/// The checks of a server that answers.
const FURTHER: [&str; 3] = ["redis version", "redis durability", "redis clock"];

pub(super) async fn examine(settings: &Settings, needs: &[Need]) -> Vec<Check> {
    if !needs.contains(&Need::Redis) {
        return vec![Check::skipped("redis", "not needed")];
    }
    let place = match queue::place(&settings.redis) {
        Ok(place) => place,
        Err(error) => return failed("no address", error.to_string()),
    };
    let reason = match timeout(PATIENCE, ask(settings)).await {
        Ok(Ok(Asked { found, clock })) => {
            return vec![
                Check::ok("redis", format!("reached at {place}")),
                version(&found),
                durability(found, settings.redis.require_durable),
                clock,
            ];
        }
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => format!("no answer in {PATIENCE:?}"),
    };
    failed(&place, format!("{reason}. Start Redis, or correct REDIS_URL ([redis] url): host, port, password"))
}

struct Asked {
    found: Durability,
    clock: Check,
}

async fn ask(settings: &Settings) -> Result<Asked, QueueError> {
    // What it lacks is to be told here, not to be refused.
    let lenient = RedisSettings { require_durable: false, ..settings.redis.clone() };
    let queue = Queue::connect(&lenient, &settings.queue, &settings.lanes).await?;
    let found = queue.durability().await?;
    let ours = Clock::real();
    let before = ours.now().timestamp_millis();
    let theirs = queue.now_ms().await?;
    let clock = skew("redis clock", before, theirs, ours.now().timestamp_millis());
    Ok(Asked { found, clock })
}

/// It can't be asked: one failure, and the rest not looked at.
fn failed(place: &str, advice: String) -> Vec<Check> {
    let first = Check::ok("redis", format!("not usable at {place}")).but(Status::Fail, advice);
    let rest = FURTHER.into_iter().map(|name| Check::skipped(name, "Redis could not be asked"));
    std::iter::once(first).chain(rest).collect()
}

fn version(found: &Durability) -> Check {
    let mut numbers = found.version.split('.').map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    Check::ok("redis version", &found.version).but_if(version < OLDEST, Status::Fail, || {
        format!("upgrade Redis to {}.{} or newer", OLDEST.0, OLDEST.1)
    })
}

/// What is demanded fails, unless the settings give up on it; what is advised warns.
fn durability(found: Durability, is_required: bool) -> Check {
    let is_whole = found.faults.is_empty() && found.advice.is_empty();
    let seen = if is_whole { "keeps what it acknowledges" } else { "may lose what it acknowledged" };
    let grave = if is_required { Status::Fail } else { Status::Warn };
    let faults = found.faults.into_iter().map(|fault| (grave, fault));
    let advice = found.advice.into_iter().map(|advice| (Status::Warn, advice));
    let check = Check::ok("redis durability", seen);
    faults.chain(advice).fold(check, |check, (status, advice)| check.but(status, advice))
}
