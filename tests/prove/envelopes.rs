//! Envelopes of an older version, recorded once, and envelopes of a newer one, laid into Redis beside what this version
//! writes.

use serde_json::Value;
use stage::fleet::Fleet;
use stage::process::until;
use uuid::Uuid;

/// Lines of kind, band and bytes.
const RECORDED: &str = include_str!("../data/envelopes/version-1.txt");
/// Bytes before the kind where there is no trace, and the second one: the version is in its lowest bits.
const HEAD: usize = 8;
const FLAGS: usize = 1;
const NEWER: u8 = 2;
/// A kind that only a later build knows, as long as the probe's name.
const LATER_KIND: &[u8] = b"later";
/// Lays bytes into the lane of probes. KEYS: envelopes, the waiting list. ARGV: id and envelope as hex, whether it waits.
const LAY: &str = "
    local function raw(hex)
      return (string.gsub(hex, '..', function(two) return string.char(tonumber(two, 16)) end))
    end
    redis.call('HSET', KEYS[1], raw(ARGV[1]), raw(ARGV[2]))
    if ARGV[3] == 'waits' then redis.call('RPUSH', KEYS[2], raw(ARGV[1])) end";

/// A recorded envelope of a probe.
struct Recorded {
    band: String,
    bytes: Vec<u8>,
    payload: Value,
}

fn recorded() -> Vec<Recorded> {
    let lines = RECORDED.lines().filter_map(|line| line.strip_prefix("probe "));
    lines
        .map(|line| {
            let (band, hex) = line.split_once(' ').unwrap();
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
                .collect();
            let body = bytes.iter().position(|byte| *byte == b'{').unwrap();
            let payload = serde_json::from_slice(&bytes[body..]).unwrap();
            Recorded { band: band.to_owned(), bytes, payload }
        })
        .collect()
}

/// Lays one job for each recorded envelope, with its row. Answers how many.
pub(crate) async fn lay_older(fleet: &Fleet) -> i64 {
    let mut laid = 0;
    for Recorded { band, bytes, payload } in recorded() {
        lay(fleet, row(fleet, &payload).await, &bytes, Some(&band)).await;
        laid += 1;
    }
    laid
}

/// Jobs that this version cannot read, and what a worker that can would make of them.
pub(crate) struct Newer(Vec<(Uuid, Vec<u8>)>);

/// Lays a job in an envelope of a newer version, and one of an unknown kind.
pub(crate) async fn lay_newer(fleet: &Fleet) -> Newer {
    let Recorded { band, bytes, payload } = recorded().swap_remove(0);
    let (mut version, mut kind) = (bytes.clone(), bytes.clone());
    version[FLAGS] = NEWER;
    kind[HEAD + 1..][..LATER_KIND.len()].copy_from_slice(LATER_KIND);
    let mut laid = Vec::new();
    for envelope in [version, kind] {
        let id = row(fleet, &payload).await;
        lay(fleet, id, &envelope, Some(&band)).await;
        laid.push((id, bytes.clone()));
    }
    Newer(laid)
}

impl Newer {
    pub(crate) fn count(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap()
    }

    /// Waits until all of them, and nothing else, are parked.
    pub(crate) async fn parked(&self, fleet: &Fleet) {
        until("parked jobs", async || (parked(fleet).await == self.count()).then_some(())).await;
    }

    /// From now on they can be read. There is no later build to start: what it would read is written instead.
    pub(crate) async fn become_known(self, fleet: &Fleet) {
        for (id, bytes) in self.0 {
            lay(fleet, id, &bytes, None).await;
        }
    }
}

/// Jobs that wait for a worker that knows them.
pub(crate) async fn parked(fleet: &Fleet) -> i64 {
    redis::from_redis_value(fleet.redis(&["ZCARD", "{of:housekeeping:0}:pk"]).await).unwrap()
}

/// A probe's row that counts as pushed.
async fn row(fleet: &Fleet, payload: &Value) -> Uuid {
    let id: String = fleet
        .select(&format!(
            "with made as (
               insert into jobs (id, kind, lane, band, payload, run_at, caused_by, relayed_at)
               values (gen_random_uuid(), 'probe', 'housekeeping', 2, '{payload}', now(), 'proof', now())
               returning id, payload -> 'act' as act, run_at),
             kept as (insert into probe_jobs select id, act, run_at from made)
             select id::text from made"
        ))
        .await;
    id.parse().unwrap()
}

async fn lay(fleet: &Fleet, id: Uuid, envelope: &[u8], band: Option<&str>) {
    let list = format!("{{of:housekeeping:0}}:w{}", band.unwrap_or("0"));
    let waits = if band.is_some() { "waits" } else { "" };
    let (id, bytes) = (id.simple().to_string(), orderfleet::domain::key::hex(envelope));
    fleet.redis(&["EVAL", LAY, "2", "{of:housekeeping:0}:j", &list, &id, &bytes, waits]).await;
}
