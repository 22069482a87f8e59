//! Addresses that get no more mail, known by their hash alone.

use super::{Stored, Tx};

/// Why an address gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A mail came back for good.
    Bounced,
    /// Its reader said that a mail was spam.
    Complained,
    /// Somebody asked for it.
    Asked,
}

impl Reason {
    const fn name(self) -> &'static str {
        match self {
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Asked => "asked",
        }
    }
}

/// Whether this address gets no mail.
pub async fn holds(tx: &mut Tx, hash: &[u8]) -> Stored<bool> {
    Ok(sqlx::query_scalar!(
        r#"/* suppressions::holds */ select exists (select from suppressions where recipient_hash = $1) as "holds!""#,
        hash
    )
    .fetch_one(tx.conn())
    .await?)
}

/// From now on this address gets no mail. The first reason stays. Tells whether it is new.
pub async fn add(tx: &mut Tx, hash: &[u8], reason: Reason, source: &str) -> Stored<bool> {
    let done = sqlx::query!(
        r#"/* suppressions::add */
        insert into suppressions (recipient_hash, reason, source) values ($1, $2, $3) on conflict do nothing"#,
        hash,
        reason.name(),
        source
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// This address gets mail again. Tells whether it did not.
pub async fn lift(tx: &mut Tx, hash: &[u8]) -> Stored<bool> {
    let done =
        sqlx::query!("/* suppressions::lift */ delete from suppressions where recipient_hash = $1", hash)
            .execute(tx.conn())
            .await?;
    Ok(done.rows_affected() > 0)
}
