//! Fewer pieces are there than customers hold: somebody counted, and the house is right.
//!
//! The youngest holds end until the rest fits, so that whoever came first keeps their pieces. Their customers are told as
//! at a deadline and can pay again if there are pieces; money that comes all the same is late. Paid orders keep what they
//! have: their pieces have left the count already.

use crate::job::Failure;
use crate::jobs::reservation_expiry;
use crate::store::stock::{self, Change, Level};
use crate::store::{Tx, orders, reservations};

/// What became of the count.
#[derive(Clone, Copy, Debug)]
pub struct Corrected {
    /// Where the article stands.
    pub level: Level,
    /// Orders that lost their hold.
    pub shorted: usize,
}

/// Changes a SKU's stock, whatever is held of it. None where the shop has no such SKU. Holds that were made at this very
/// moment may still be in the way: then the constraint refuses the change, and the same again sees them.
pub async fn correct_stock(
    tx: &mut Tx,
    sku: &str,
    change: Change,
    cause: &str,
) -> Result<Option<Corrected>, Failure> {
    let ids = stock::in_the_way(tx, sku, change).await?;
    let orders = orders::lock(tx, &ids).await?;
    reservations::lock(tx, &ids).await?;
    let held = reservations::active(tx, &ids).await?;
    for hold in &held {
        if let Some(order) = orders.get(&hold.order) {
            let detail =
                format!("{cause} found fewer pieces of {sku} than are held; hold {} was ended", hold.epoch);
            let why = ("stock_corrected", detail);
            reservation_expiry::end_unasked(tx, (order, hold.epoch), why, cause).await?;
        }
    }
    let changed = stock::change(tx, sku, change, cause).await?;
    Ok(changed.map(|level| Corrected { level, shorted: held.len() }))
}
