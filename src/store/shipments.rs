//! Parcels and labels: at most one live label for a parcel, whatever happens.

use serde_json::Value;

use super::{Stored, Tx, exactly};
use crate::domain::shipment::Rate;
use crate::ids::{LabelId, OrderId, ShipmentId};

mod parcels;
mod silent;

pub use parcels::{ParcelLine, Ranks, all_labelled, contents, ranks, split};
pub use silent::{Followed, followed, take_silent};

/// A parcel's journey, locked.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// Its id.
    pub id: ShipmentId,
    /// The order that it is part of.
    pub order: OrderId,
    /// Which parcel of the order.
    pub parcel_no: i32,
    /// Which label of the parcel: a voided one raises it.
    pub epoch: i32,
    /// The provider's id; none until it has answered.
    pub provider_id: Option<String>,
    /// The rate that was chosen.
    pub rate_id: Option<String>,
    /// Whose it is, carrier and service: also where the rate itself has expired.
    pub chosen: Option<(String, String)>,
    /// Where it stands.
    pub state: String,
    /// How far it is, by rank.
    pub tracking_rank: i16,
    /// Its row was made just now.
    pub is_new: bool,
}

/// Makes the parcel's row where it is not there yet, and locks it.
pub async fn ensure(
    tx: &mut Tx,
    order: OrderId,
    parcel: (i32, i32),
    template: &str,
    weight_g: i32,
) -> Stored<Shipment> {
    let reference = format!("label:{order}:{}:{}", parcel.0, parcel.1);
    let made = sqlx::query!(
        r#"/* shipments::ensure */
        insert into shipments (id, order_id, parcel_no, epoch, reference, provider, state, template, weight_g)
        values ($1, $2, $3, $4, $5, 'easypost', 'draft', $6, $7) on conflict (order_id, parcel_no, epoch) do nothing"#,
        ShipmentId::new().uuid(),
        order.uuid(),
        parcel.0,
        parcel.1,
        reference,
        template,
        weight_g
    )
    .execute(tx.conn())
    .await?;
    let row = sqlx::query!(
        r#"/* shipments::ensure */
        select id, provider_shipment_id, rate_id, rate_carrier, rate_service, state, tracking_rank from shipments
         where order_id = $1 and parcel_no = $2 and epoch = $3 for update"#,
        order.uuid(),
        parcel.0,
        parcel.1
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Shipment {
        id: row.id.into(),
        order,
        parcel_no: parcel.0,
        epoch: parcel.1,
        provider_id: row.provider_shipment_id,
        rate_id: row.rate_id,
        chosen: row.rate_carrier.zip(row.rate_service),
        state: row.state,
        tracking_rank: row.tracking_rank,
        is_new: made.rows_affected() == 1,
    })
}

/// The provider knows the parcel, and this rate was chosen.
pub async fn rated(tx: &mut Tx, id: ShipmentId, provider_id: &str, rate: &Rate) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* shipments::rated */
        update shipments set provider_shipment_id = $2, rate_id = $3, rate_carrier = $4, rate_service = $5, state = 'rated'
         where id = $1 and state <> 'label_purchased' and coalesce(provider_shipment_id, $2) = $2"#,
        id.uuid(),
        provider_id,
        rate.id,
        rate.carrier,
        rate.service
    )
    .execute(tx.conn())
    .await?;
    exactly("shipments::rated", 1, done.rows_affected())
}

/// The rate that was chosen is offered no more, nor is its service: what is bought instead is chosen anew.
pub async fn unrated(tx: &mut Tx, id: ShipmentId) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* shipments::unrated */
        update shipments set rate_id = null, rate_carrier = null, rate_service = null, state = 'rate_failed'
         where id = $1 and state <> 'label_purchased'"#,
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    exactly("shipments::unrated", 1, done.rows_affected())
}

/// The parcel stands elsewhere now.
pub async fn set_state(tx: &mut Tx, id: ShipmentId, state: &str) -> Stored<()> {
    let done = sqlx::query!(
        "/* shipments::set_state */ update shipments set state = $2 where id = $1",
        id.uuid(),
        state
    )
    .execute(tx.conn())
    .await?;
    exactly("shipments::set_state", 1, done.rows_affected())
}

/// A bought label.
#[derive(Clone, Debug)]
pub struct NewLabel {
    /// Who carries it.
    pub carrier: String,
    /// How.
    pub service: String,
    /// What to follow it by.
    pub tracking_code: String,
    /// The provider's tracker.
    pub tracker_id: Option<String>,
    /// Where the label can be printed from.
    pub label_url: String,
    /// What it cost, in minor units.
    pub cost_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// For how much it is insured, in US cents.
    pub insured_minor: Option<i64>,
}

/// Writes the parcel's label. False where it is there already.
pub async fn label_bought(tx: &mut Tx, shipment: &Shipment, label: &NewLabel) -> Stored<bool> {
    let done = sqlx::query!(
        r#"/* shipments::label_bought */
        insert into labels (id, shipment_id, order_id, parcel_no, carrier, service, tracking_code, tracker_id, label_url, cost_minor, currency, insured_minor)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict (carrier, tracking_code) do nothing"#,
        LabelId::new().uuid(),
        shipment.id.uuid(),
        shipment.order.uuid(),
        shipment.parcel_no,
        label.carrier,
        label.service,
        label.tracking_code,
        label.tracker_id,
        label.label_url,
        label.cost_minor,
        label.currency,
        label.insured_minor
    )
    .execute(tx.conn())
    .await?;
    set_state(tx, shipment.id, "label_purchased").await?;
    Ok(done.rows_affected() == 1)
}

/// The parcels of an order that have a live label, each with the epoch of its next one.
pub async fn next_epochs(tx: &mut Tx, order: OrderId) -> Stored<Vec<(i32, i32)>> {
    let rows = sqlx::query!(
        r#"/* shipments::next_epochs */
        select s.parcel_no, s.epoch + 1 as "epoch!" from labels l join shipments s on s.id = l.shipment_id
         where l.order_id = $1 and l.void_state is null order by s.parcel_no"#,
        order.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.parcel_no, row.epoch)).collect())
}

/// Marks every live label of an order as one that is to be given back, and tells which are new to that.
pub async fn request_voids(tx: &mut Tx, order: OrderId) -> Stored<Vec<LabelId>> {
    let rows = sqlx::query_scalar!(
        r#"/* shipments::request_voids */
        update labels set void_state = 'void_requested', void_requested_at = clock_timestamp()
         where order_id = $1 and void_state is null returning id"#,
        order.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(LabelId::from).collect())
}

/// The provider's id of the shipment of a label that is to be given back. None where that is over, or nobody wants it.
pub async fn to_be_voided(tx: &mut Tx, label: LabelId) -> Stored<Option<String>> {
    let row = sqlx::query_scalar!(
        r#"/* shipments::to_be_voided */
        select s.provider_shipment_id from labels l join shipments s on s.id = l.shipment_id
         where l.id = $1 and l.void_state = 'void_requested' for no key update of l"#,
        label.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.flatten())
}

/// What a carrier said of a label that was to be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Void {
    /// It is worth nothing any more, and nobody pays for it.
    Voided,
    /// It stays paid for.
    Rejected,
}

/// The carrier has spoken. Once: a later word changes nothing.
pub async fn void_ended(tx: &mut Tx, label: LabelId, word: Void) -> Stored<()> {
    let is_voided = word == Void::Voided;
    sqlx::query!(
        r#"/* shipments::void_ended */
        update labels set void_state = case when $2 then 'voided' else 'void_rejected' end,
               voided_at = case when $2 then clock_timestamp() end, void_ended_at = clock_timestamp()
         where id = $1 and void_state = 'void_requested'"#,
        label.uuid(),
        is_voided
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The parcels behind these tracking codes: not locked, because orders are locked first.
pub async fn find(tx: &mut Tx, codes: &[String]) -> Stored<Vec<(String, ShipmentId, OrderId)>> {
    let rows = sqlx::query!(
        r#"/* shipments::find */
        select tracking_code, shipment_id, order_id from labels where tracking_code = any($1) order by order_id"#,
        codes
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.tracking_code, row.shipment_id.into(), row.order_id.into())).collect())
}

/// What a carrier said of a parcel.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The provider's id of the event.
    pub event_id: String,
    /// The parcel.
    pub shipment: ShipmentId,
    /// The carrier's word.
    pub status: String,
    /// How far that is.
    pub rank: i16,
    /// When it happened, as the carrier says.
    pub occurred_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Keeps what a carrier said; the parcel's own status never goes back. Returns the rank before and after.
pub async fn scanned(tx: &mut Tx, scan: &Scan) -> Stored<(i16, i16)> {
    sqlx::query!(
        r#"/* shipments::scanned */
        insert into tracking_events (provider, event_id, shipment_id, status, rank, occurred_at)
        values ('easypost', $1, $2, $3, $4, $5) on conflict do nothing"#,
        scan.event_id,
        scan.shipment.uuid(),
        scan.status,
        scan.rank,
        scan.occurred_at
    )
    .execute(tx.conn())
    .await?;
    let before = sqlx::query_scalar!(
        "/* shipments::scanned */ select tracking_rank from shipments where id = $1 for update",
        scan.shipment.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    if scan.rank > before {
        sqlx::query!(
            "/* shipments::scanned */ update shipments set tracking_status = $2, tracking_rank = $3 where id = $1",
            scan.shipment.uuid(),
            scan.status,
            scan.rank
        )
        .execute(tx.conn())
        .await?;
    }
    Ok((before, before.max(scan.rank)))
}

/// A package that parcels go in.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Outside, in millimetres: length, width, height.
    pub size_mm: (i32, i32, i32),
    /// Empty, in grams.
    pub tare_g: i32,
    /// With everything, in grams, at most.
    pub max_weight_g: i32,
}

/// All packages, the smallest first.
pub async fn templates(tx: &mut Tx) -> Stored<Vec<Template>> {
    let rows = sqlx::query!(
        r#"/* shipments::templates */
        select name, length_mm, width_mm, height_mm, tare_g, max_weight_g from package_templates
         order by length_mm::bigint * width_mm * height_mm"#
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Template {
            name: row.name,
            size_mm: (row.length_mm, row.width_mm, row.height_mm),
            tare_g: row.tare_g,
            max_weight_g: row.max_weight_g,
        })
        .collect())
}

/// How many days a method may take to a country, at most.
pub async fn max_days(tx: &mut Tx, method: &str, country: &str) -> Stored<Option<i32>> {
    let days = sqlx::query_scalar!(
        r#"/* shipments::max_days */
        select max_days from shipping_rates where method = $1 and country in ($2, '*') order by (country = '*') limit 1"#,
        method,
        country
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(days)
}

/// Facts of an order's label, for the mails that tell of it; null where there is none. That of the parcel with this code,
/// where one is named, else the newest. A voided one where there is no other: its parcel was scanned all the same, and the
/// mail of that may be written when the order is called off.
pub async fn label_facts(tx: &mut Tx, order: OrderId, tracking_code: Option<&str>) -> Stored<Value> {
    let row = sqlx::query!(
        r#"/* shipments::label_facts */
        select carrier, service, tracking_code from labels where order_id = $1
         order by tracking_code is not distinct from $2 desc, voided_at is null desc, purchased_at desc limit 1"#,
        order.uuid(),
        tracking_code
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map_or(Value::Null, |row| {
        serde_json::json!({ "carrier": row.carrier, "service": row.service, "tracking_code": row.tracking_code })
    }))
}
