//! A new label for a parcel whose label nobody can use: misprinted, torn, or of a wrong weight.
//!
//! Only while the order is packed and still here. The old label is given back and stays in the history; the new one is
//! bought under the parcel's next epoch, and does not wait for the carrier's word on the old. Asked twice it is done once:
//! until the new label is there, there is none to replace.

use std::fmt;

use crate::domain::order::Status;
use crate::ids::OrderId;
use crate::job::{Failure, NewJob};
use crate::jobs::cancellation;
use crate::jobs::shipping_label::ShippingLabel;
use crate::store::{Tx, jobs, orders, shipments};

/// Why nothing is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The order is not one that is packed and still here.
    NotPacked(Status),
    /// It has no label, or its next one is being bought.
    NoLabel,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPacked(status) => write!(
                f,
                "the order is {status}: a label is replaced while its order is fulfilled, and has not left the house"
            ),
            Self::NoLabel => {
                f.write_str("it has no label that could be replaced; perhaps the next is being bought")
            }
        }
    }
}

/// Gives the labels of an order back and has new ones bought. Answers each parcel with the epoch of its next label.
pub async fn relabel(
    tx: &mut Tx,
    id: OrderId,
    cause: &str,
) -> Result<Result<Vec<(i32, i32)>, Refused>, Failure> {
    let order = orders::lock(tx, &[id]).await?.remove(&id);
    let order = order.ok_or_else(|| Failure::permanent("no_order", id))?;
    if order.status != Status::Fulfilled {
        return Ok(Err(Refused::NotPacked(order.status)));
    }
    let next = shipments::next_epochs(tx, id).await?;
    if next.is_empty() {
        return Ok(Err(Refused::NoLabel));
    }
    cancellation::void_labels(tx, id, cause).await?;
    let labels = next.iter().map(|(parcel, epoch)| {
        let job = ShippingLabel { order: id, parcel: *parcel, epoch: *epoch };
        NewJob::of(&job, cause).once(job.key())
    });
    jobs::insert(tx, labels.collect()).await?;
    Ok(Ok(next))
}
