//! Sweeps again and again, for what nobody tells of ([`crate::jobs::sweeps`]).

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::kit::Kit;
use crate::ids::jitter;
use crate::job::Failure;
use crate::jobs::sweeps;
use crate::store::Committed;

/// Between two sweeps of one worker: what they look for is hours or minutes old, and each is a look at two indexes.
const EVERY: Duration = Duration::from_secs(30);

/// Sweeps until `stop`.
pub(super) async fn keep(kit: Kit, stop: CancellationToken) {
    // Workers that start together do not sweep together.
    while stop.run_until_cancelled(sleep(EVERY.mul_f64(0.5 + jitter()))).await.is_some() {
        match kit.store.within(once(&kit)).await {
            Ok(committed) => {
                // What can't be pushed now is found by the relay.
                if let Err(error) = kit.relay.carry(committed).await {
                    tracing::debug!(%error, "what a sweep found waits for the relay");
                }
            }
            Err(error) => tracing::warn!(%error, "a sweep failed: the next one looks again"),
        }
    }
}

async fn once(kit: &Kit) -> Result<Committed, Failure> {
    let mut tx = kit.store.begin().await?;
    sweeps::sweep(&mut tx, &kit.rules).await?;
    Ok(tx.commit().await?)
}
