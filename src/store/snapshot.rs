//! What the intake holds in memory of the catalogue, so that checking an intent at the door asks nobody.

use std::collections::HashSet;

use super::{Store, Stored};

/// Names of what can be ordered, paid with and shipped by.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Articles that are sold.
    pub skus: HashSet<String>,
    /// Currencies that the shop sells in.
    pub currencies: HashSet<String>,
    /// Ways to ship.
    pub shipping_methods: HashSet<String>,
}

impl Store {
    /// The catalogue as it is now.
    pub async fn catalogue(&self) -> Stored<Catalogue> {
        let mut conn = self.pool().acquire().await?;
        let skus = sqlx::query_scalar!("/* snapshot::catalogue */ select sku from skus where is_sold")
            .fetch_all(&mut *conn)
            .await?;
        let currencies = sqlx::query_scalar!("/* snapshot::catalogue */ select code from currencies")
            .fetch_all(&mut *conn)
            .await?;
        let methods =
            sqlx::query_scalar!("/* snapshot::catalogue */ select distinct method from shipping_rates")
                .fetch_all(&mut *conn)
                .await?;
        Ok(Catalogue {
            skus: skus.into_iter().collect(),
            currencies: currencies.into_iter().collect(),
            shipping_methods: methods.into_iter().collect(),
        })
    }
}
