//! Coupons: locked and read, taken with an order, given back when it is called off.
//!
//! A use is held as pieces are, and the row that counts them is one hot row: it is locked last of all, after stock, in the
//! order of the codes, and a slice takes all that it needs in one statement.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::{Store, StoreError, Stored, Tx, exactly};
use crate::domain::coupon::{Coupon, CouponRow, Offer, Terms};
use crate::ids::OrderId;
use crate::time::Stopwatch;

/// One use of a coupon.
#[derive(Clone, Debug)]
pub struct Use {
    /// By which order.
    pub order: OrderId,
    /// Of which coupon.
    pub code: String,
    /// What it takes off, in minor units of the order's currency.
    pub discount_minor: i64,
}

/// Locks these coupons in the order of their codes. Those that nobody knows are absent.
pub async fn lock(tx: &mut Tx, codes: &BTreeSet<String>) -> Stored<HashMap<String, Coupon>> {
    if codes.is_empty() {
        return Ok(HashMap::new());
    }
    let codes: Vec<String> = codes.iter().cloned().collect();
    let watch = Stopwatch::start();
    let rows = sqlx::query!(
        r#"/* coupons::lock */
        select code, basis_points, max_uses - uses as uses_left,
               coalesce(valid_from <= clock_timestamp(), true) and coalesce(clock_timestamp() < valid_until, true) as "is_valid!"
          from coupons where code = any($1) order by code for no key update"#,
        &codes
    )
    .fetch_all(tx.conn())
    .await?;
    tx.waited(watch.elapsed());
    let mut terms = terms_of(tx, &codes).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let terms = terms.remove(&row.code).unwrap_or_default();
            let offer = Offer { basis_points: row.basis_points.map(i64::from), terms };
            let coupon =
                Coupon { code: row.code.clone(), offer, is_valid: row.is_valid, uses_left: row.uses_left };
            (row.code, coupon)
        })
        .collect())
}

async fn terms_of(tx: &mut Tx, codes: &[String]) -> Stored<HashMap<String, BTreeMap<String, Terms>>> {
    let rows = sqlx::query!(
        r#"/* coupons::terms_of */
        select code, currency, amount_minor, minimum_minor from coupon_terms where code = any($1)"#,
        codes
    )
    .fetch_all(tx.conn())
    .await?;
    let mut terms: HashMap<String, BTreeMap<String, Terms>> = HashMap::new();
    for row in rows {
        let of = Terms { amount_minor: row.amount_minor, minimum_minor: row.minimum_minor };
        terms.entry(row.code).or_default().insert(row.currency, of);
    }
    Ok(terms)
}

/// Writes the uses of a slice, whose coupons this transaction has locked and counted.
pub async fn take(tx: &mut Tx, uses: &[Use]) -> Stored<()> {
    if uses.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = uses.iter().map(|one| one.order.uuid()).collect();
    let codes: Vec<String> = uses.iter().map(|one| one.code.clone()).collect();
    let discounts: Vec<i64> = uses.iter().map(|one| one.discount_minor).collect();
    let done = sqlx::query!(
        r#"/* coupons::take */
        insert into coupon_uses (order_id, code, discount_minor)
        select * from unnest($1::uuid[], $2::text[], $3::bigint[])"#,
        &orders,
        &codes,
        &discounts
    )
    .execute(tx.conn())
    .await?;
    exactly("coupons::take", uses.len(), done.rows_affected())
}

/// Locks the coupons that these orders use: what a slice that may call several of them off does once, as it locks their
/// stock, so that two slices do not meet in other orders.
pub async fn lock_used(tx: &mut Tx, orders: &[OrderId]) -> Stored<()> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
    sqlx::query_scalar!(
        r#"/* coupons::lock_used */
        select code from coupons
         where code in (select code from coupon_uses where order_id = any($1) and given_back_at is null)
         order by code for no key update"#,
        &orders
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(())
}

/// Gives back what an order uses, once: the next order can use it. An order without a coupon stays as it is.
pub async fn give_back(tx: &mut Tx, order: OrderId) -> Stored<()> {
    sqlx::query!(
        r#"/* coupons::give_back */
        update coupon_uses set given_back_at = clock_timestamp() where order_id = $1 and given_back_at is null"#,
        order.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

impl Store {
    /// Imports coupons as [`import`] does.
    pub async fn import_coupons(&self, rows: &[CouponRow]) -> Stored<()> {
        let mut tx = self.begin().await?;
        import(&mut tx, rows).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Writes coupons and their terms; how often each was used stays. Importing the same file again changes nothing.
pub async fn import(tx: &mut Tx, rows: &[CouponRow]) -> Stored<()> {
    let by_code: BTreeMap<&str, &CouponRow> = rows.iter().map(|row| (row.code.as_str(), row)).collect();
    for row in by_code.into_values() {
        import_one(tx, row).await?;
    }
    Ok(())
}

async fn import_one(tx: &mut Tx, row: &CouponRow) -> Stored<()> {
    sqlx::query!(
        r#"/* coupons::import */
        insert into coupons (code, basis_points, max_uses, valid_from, valid_until) values ($1, $2::bigint::int, $3, $4, $5)
        on conflict (code) do update set (basis_points, max_uses, valid_from, valid_until)
          = (excluded.basis_points, excluded.max_uses, excluded.valid_from, excluded.valid_until)"#,
        row.code,
        row.offer.basis_points,
        row.max_uses,
        row.valid_from,
        row.valid_until
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!("/* coupons::import */ delete from coupon_terms where code = $1", row.code)
        .execute(tx.conn())
        .await?;
    for (currency, terms) in &row.offer.terms {
        sqlx::query!(
            r#"/* coupons::import */
            insert into coupon_terms (code, currency, amount_minor, minimum_minor) values ($1, $2, $3, $4)"#,
            row.code,
            currency,
            terms.amount_minor,
            terms.minimum_minor
        )
        .execute(tx.conn())
        .await?;
    }
    Ok(())
}

/// Why the database refused a coupon, where the file is to blame.
#[must_use]
pub fn refusal(error: &StoreError) -> Option<&'static str> {
    let StoreError::Data(inner) = error else { return None };
    match inner.as_database_error().and_then(sqlx::error::DatabaseError::constraint)? {
        "coupons_not_overdrawn" => Some("max_uses is less than a coupon is used already"),
        "coupon_terms_currency_fkey" => Some("it names a currency that the shop does not sell in"),
        _ => None,
    }
}
