//! What lies in the parcel that a label is for, and in which box.
//!
//! An order that no single box carries leaves in several parcels. The job of the first finds that out, once, before
//! anybody is told of a parcel: it writes what lies where, and wants the others' labels, in one commit. What was begun as
//! one parcel stays one, whatever boxes there are by then.

use super::{ShippingLabel, wanted};
use crate::domain::shipment::{Parcel, Share};
use crate::job::Failure;
use crate::jobs::{Loaded, parcel};
use crate::store::Tx;
use crate::store::orders::{Item, Order};
use crate::store::shipments::{self, ParcelLine, Shipment};

/// A parcel, packed.
pub(super) struct Packed {
    pub(super) items: Vec<Item>,
    pub(super) parcel: Parcel,
    pub(super) shipment: Shipment,
}

pub(super) async fn packed(
    tx: &mut Tx,
    loaded: &Loaded<ShippingLabel>,
    order: &Order,
) -> Result<Packed, Failure> {
    let job = &loaded.job;
    let items = parcel::items(tx, order.id, job.parcel).await?;
    let boxes = parcel::pack(tx, &items).await?;
    let Some(first) = boxes.first() else { return Err(Failure::permanent("cannot_pack", "nothing to pack")) };
    let parcel = first.parcel.clone();
    let shipment = ensure(tx, job, &parcel).await?;
    if boxes.len() == 1 || !shipment.is_new {
        return Ok(Packed { items, parcel, shipment });
    }
    if (job.parcel, job.epoch) != (1, 1) {
        let detail = format!("parcel {} was one, and would need {} boxes now", job.parcel, boxes.len());
        return Err(Failure::permanent("cannot_pack", detail));
    }
    let contents = contents_of(&boxes, &items);
    shipments::split(tx, order.id, &contents).await?;
    let mut others = Vec::with_capacity(boxes.len() - 1);
    for (share, parcel) in boxes.iter().zip(1..).skip(1) {
        let other = ShippingLabel { parcel, ..job.clone() };
        ensure(tx, &other, &share.parcel).await?;
        others.push(other);
    }
    wanted::insert(tx, &others, &loaded.cause()).await?;
    Ok(Packed { items: parcel::share(&items, &contents, job.parcel), parcel, shipment })
}

async fn ensure(tx: &mut Tx, job: &ShippingLabel, parcel: &Parcel) -> Result<Shipment, Failure> {
    let weight_g = i32::try_from(parcel.weight_g).unwrap_or(i32::MAX);
    Ok(shipments::ensure(tx, job.order, (job.parcel, job.epoch), &parcel.package, weight_g).await?)
}

fn contents_of(boxes: &[Share], items: &[Item]) -> Vec<ParcelLine> {
    let of_box = |(share, parcel_no): (&Share, i32)| -> Vec<ParcelLine> {
        let held = items.iter().zip(&share.pieces).filter(|(_, pieces)| **pieces > 0);
        held.map(|(item, pieces)| ParcelLine {
            parcel_no,
            line_no: item.line_no,
            quantity: i64::from(*pieces),
        })
        .collect()
    };
    boxes.iter().zip(1..).flat_map(of_box).collect()
}
