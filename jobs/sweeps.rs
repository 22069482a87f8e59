//! What is looked after because nobody may ever tell of it: parcels that no carrier speaks of, events whose webhooks were
//! lost, what a stale worker's call brought, and what the people on call must know.
//!
//! Every worker sweeps, and none leads: a sweep takes what is due by its row, in the commit that inserts the job, so that
//! two of them never take the same.

use super::{Rules, event_sweep, evidence, ops_alert, parcel_look};
use crate::job::Failure;
use crate::store::Tx;

/// Inserts the jobs that are due.
pub async fn sweep(tx: &mut Tx, rules: &Rules) -> Result<(), Failure> {
    event_sweep::sweep(tx, &rules.orders).await?;
    parcel_look::sweep(tx, &rules.orders).await?;
    evidence::sweep(tx).await?;
    ops_alert::sweep(tx, &rules.alerts).await
}
