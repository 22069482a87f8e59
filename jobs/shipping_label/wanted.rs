//! Wanting an order's label: the job that buys it, once, however often it is wanted.

use std::collections::BTreeSet;

use super::ShippingLabel;
use crate::ids::OrderId;
use crate::job::{Failure, NewJob};
use crate::store::{Tx, jobs, shipments};

/// Inserts the job that buys an order's label. Where it takes several, that job finds out.
pub(in crate::jobs) async fn want(tx: &mut Tx, order: OrderId, cause: &str) -> Result<(), Failure> {
    insert(tx, &[ShippingLabel::first(order)], cause).await
}

/// The same for an order that waited aside: its parcels' jobs, which looked ever more rarely, are due at once.
pub(in crate::jobs) async fn want_again(tx: &mut Tx, order: OrderId, cause: &str) -> Result<(), Failure> {
    let parcels = shipments::contents(tx, order).await?.into_iter().map(|line| line.parcel_no);
    let parcels: BTreeSet<i32> = parcels.chain([1]).collect();
    let labels: Vec<ShippingLabel> =
        parcels.into_iter().map(|parcel| ShippingLabel { parcel, ..ShippingLabel::first(order) }).collect();
    for label in &labels {
        jobs::recall(tx, &label.key()).await?;
    }
    insert(tx, &labels, cause).await
}

/// Inserts the jobs of these labels, each once.
pub(super) async fn insert(tx: &mut Tx, labels: &[ShippingLabel], cause: &str) -> Result<(), Failure> {
    let wanted = labels.iter().map(|label| NewJob::of(label, cause).once(label.key()));
    jobs::insert(tx, wanted.collect()).await?;
    Ok(())
}
