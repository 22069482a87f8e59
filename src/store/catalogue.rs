//! What the shop sells and what it costs, as the worker judges it.

use std::collections::{BTreeSet, HashMap};

use super::{Store, Stored, Tx};
use crate::domain::catalogue::CatalogueRow;
use crate::domain::pricing::Article;

/// An article in a currency, going to a country.
pub type Wanted = (String, String, String);

/// The articles asked for, with price and tax. What the shop does not sell is absent.
pub async fn articles(tx: &mut Tx, wanted: &BTreeSet<Wanted>) -> Stored<HashMap<Wanted, Article>> {
    let (skus, currencies, countries) = columns(wanted);
    let rows = sqlx::query!(
        r#"/* catalogue::articles */
        select w.sku as "sku!", w.currency as "currency!", w.country as "country!", s.name, s.weight_g, s.vendor,
               p.unit_minor as "unit_minor?", coalesce(t.basis_points, e.basis_points, 0) as "tax!"
          from unnest($1::text[], $2::text[], $3::text[]) as w(sku, currency, country)
          join skus s on s.sku = w.sku and s.is_sold
          left join prices p on p.sku = w.sku and p.currency = w.currency
          left join tax_rates t on t.country = w.country and t.tax_class = s.tax_class
          left join tax_rates e on e.country = '*' and e.tax_class = s.tax_class"#,
        &skus,
        &currencies,
        &countries
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let article = Article {
                name: row.name,
                unit_minor: row.unit_minor,
                weight_g: row.weight_g,
                tax_basis_points: row.tax,
                vendor: row.vendor,
            };
            ((row.sku, row.currency, row.country), article)
        })
        .collect())
}

/// What the customer pays for shipping, by (method, country, currency). A country's own rate wins over "*".
pub async fn shipping(tx: &mut Tx, wanted: &BTreeSet<Wanted>) -> Stored<HashMap<Wanted, i64>> {
    let (methods, countries, currencies) = columns(wanted);
    let rows = sqlx::query!(
        r#"/* catalogue::shipping */
        select w.method as "method!", w.country as "country!", w.currency as "currency!", r.amount_minor
          from unnest($1::text[], $2::text[], $3::text[]) as w(method, country, currency)
          join lateral (select amount_minor from shipping_rates
                         where method = w.method and currency = w.currency and country in (w.country, '*')
                         order by (country = '*') limit 1) r on true"#,
        &methods,
        &countries,
        &currencies
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| ((row.method, row.country, row.currency), row.amount_minor)).collect())
}

fn columns(wanted: &BTreeSet<Wanted>) -> (Vec<String>, Vec<String>, Vec<String>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for (first, second, third) in wanted {
        columns.0.push(first.clone());
        columns.1.push(second.clone());
        columns.2.push(third.clone());
    }
    columns
}

impl Store {
    /// Imports articles as [`import`] does.
    pub async fn import_catalogue(&self, rows: &[CatalogueRow]) -> Stored<()> {
        let mut tx = self.begin().await?;
        import(&mut tx, rows).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Writes articles and prices, and gives articles that have no stock row yet their first stock. Importing the same file again
/// changes nothing.
pub async fn import(tx: &mut Tx, rows: &[CatalogueRow]) -> Stored<()> {
    for row in rows {
        import_one(tx, row).await?;
    }
    Ok(())
}

async fn import_one(tx: &mut Tx, row: &CatalogueRow) -> Stored<()> {
    let (length, width, height) = row.size_mm;
    let (hs_code, origin, description) = &row.customs;
    sqlx::query!(
        r#"/* catalogue::import */
        insert into skus (sku, name, weight_g, length_mm, width_mm, height_mm, hs_code, origin, customs_description, tax_class, vendor)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        on conflict (sku) do update set (name, weight_g, length_mm, width_mm, height_mm, hs_code, origin, customs_description, tax_class, vendor)
          = (excluded.name, excluded.weight_g, excluded.length_mm, excluded.width_mm, excluded.height_mm, excluded.hs_code,
             excluded.origin, excluded.customs_description, excluded.tax_class, excluded.vendor)"#,
        row.sku, row.name, row.weight_g, length, width, height, hs_code, origin, description, row.tax_class, row.vendor
    )
    .execute(tx.conn())
    .await?;
    for (currency, unit_minor) in &row.prices {
        sqlx::query!(
            r#"/* catalogue::import */
            insert into prices (sku, currency, unit_minor) values ($1, $2, $3)
            on conflict (sku, currency) do update set unit_minor = excluded.unit_minor"#,
            row.sku,
            currency,
            unit_minor
        )
        .execute(tx.conn())
        .await?;
    }
    sqlx::query!(
        r#"/* catalogue::import */
        with added as (insert into stock (sku, on_hand) values ($1, $2) on conflict (sku, location) do nothing
                       returning sku, location, on_hand)
        insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved)
        select sku, location, 'receipt', 'catalogue', on_hand, 0 from added"#,
        row.sku,
        row.on_hand
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
