//! Parcels of which nobody has told anything for a while, and what to ask their carriers by.

use std::time::Duration;

use crate::ids::{OrderId, ShipmentId};
use crate::store::{Stored, Tx, millis};

/// Silent parcels that one sweep takes: their looks are a minute's work, and the next sweep follows within one.
const SILENT: i64 = 200;

/// Takes parcels that are under way, and that neither the carrier nor a look has told anything of for this long. Those
/// whose label is older than `at_most` are given up: a carrier that still has them will not find them any more.
pub async fn take_silent(
    tx: &mut Tx,
    silence: Duration,
    at_most: Duration,
) -> Stored<Vec<(OrderId, ShipmentId)>> {
    let rows = sqlx::query!(
        r#"/* shipments::take_silent */
        update shipments set looked_at = clock_timestamp() where id in
          (select s.id from shipments s
            where s.state = 'label_purchased' and s.tracking_rank < 40
              and (s.looked_at is null or s.looked_at < now() - $1::bigint * interval '1 ms')
              and exists (select from labels l where l.shipment_id = s.id and l.void_state is null
                             and l.purchased_at between now() - $2::bigint * interval '1 ms'
                                                    and now() - $1::bigint * interval '1 ms')
              and not exists (select from tracking_events t where t.shipment_id = s.id
                                 and t.received_at > now() - $1::bigint * interval '1 ms')
            order by s.id limit $3 for update skip locked)
        returning order_id, id"#,
        millis(silence),
        millis(at_most),
        SILENT
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.order_id.into(), row.id.into())).collect())
}

/// What a parcel that is under way is followed by.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Who carries it.
    pub carrier: String,
    /// The carrier's number.
    pub tracking_code: String,
    /// The provider's tracker, where it has told of one.
    pub tracker_id: Option<String>,
}

/// What to ask about a parcel; none where it has arrived, or its label was given back.
pub async fn followed(tx: &mut Tx, shipment: ShipmentId) -> Stored<Option<Followed>> {
    Ok(sqlx::query_as!(
        Followed,
        r#"/* shipments::followed */
        select l.carrier, l.tracking_code, l.tracker_id from labels l join shipments s on s.id = l.shipment_id
         where s.id = $1 and s.tracking_rank < 40 and l.void_state is null"#,
        shipment.uuid()
    )
    .fetch_optional(tx.conn())
    .await?)
}
