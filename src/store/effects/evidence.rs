//! Second receipts of one effect, kept under the run that brought them, until somebody has seen to what they prove.

use crate::store::{Stored, Tx};

/// A receipt that tells of another thing than the one that its effect has.
#[derive(Clone, Debug)]
pub struct Second {
    /// Its row.
    pub id: i64,
    /// The effect that was carried out twice.
    pub effect: String,
    /// Which run of its job brought it.
    pub run: i32,
    /// The provider's id of what was done the second time.
    pub provider_ref: String,
    /// The provider's id of what was done the first time.
    pub first_ref: Option<String>,
}

/// Up to `limit` of those that nobody has seen to, taken: who comes at the same time finds others.
pub async fn take(tx: &mut Tx, limit: i64) -> Stored<Vec<Second>> {
    Ok(sqlx::query_as!(
        Second,
        r#"/* evidence::take */
        select v.id, v.name as effect, v.run, v.provider_ref, f.provider_ref as first_ref
          from effect_evidence v join effects f on f.name = v.name
         where v.resolved_at is null order by v.id limit $1 for update of v skip locked"#,
        limit
    )
    .fetch_all(tx.conn())
    .await?)
}

/// They are seen to.
pub async fn resolve(tx: &mut Tx, seconds: &[Second]) -> Stored<()> {
    let ids: Vec<i64> = seconds.iter().map(|second| second.id).collect();
    sqlx::query!(
        "/* evidence::resolve */ update effect_evidence set resolved_at = clock_timestamp() where id = any($1)",
        &ids
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
