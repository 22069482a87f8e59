//! Stock, as everyone outside the database speaks of it.

/// What is left of an article after a change of its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The article.
    pub sku: String,
    /// The version of its stock row: news that come late have a lower one.
    pub version: i64,
    /// Pieces that can still be held.
    pub available: i64,
}
