//! Notices and the mails that they become. One for each kind, key and recipient, whatever asks for it again.

use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::{StoreError, Stored, Tx, exactly};
use crate::domain::notice::{Notice, Once};
use crate::ids::{CommunicationId, OrderId};

/// Decides that somebody is told something. None where that was decided before.
pub async fn notify(
    tx: &mut Tx,
    order: OrderId,
    notice: Notice,
    once: Once,
    facts: Value,
) -> Stored<Option<CommunicationId>> {
    let customer = sqlx::query_scalar!(
        "/* communications::notify */ select customer from orders where id = $1",
        order.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    let recipient = customer["email"].as_str().unwrap_or_default();
    let locale = customer["locale"].as_str().unwrap_or("en");
    let hash = digest(&SHA256, recipient.trim().to_lowercase().as_bytes());
    let row = sqlx::query!(
        r#"/* communications::notify */
        insert into communications (id, order_id, kind, dedupe_key, recipient, recipient_hash, locale, facts, state)
        values ($1, $2, $3, $4, $5, $6, $7, $8, 'queued')
        on conflict (kind, dedupe_key, recipient_hash) do nothing returning id"#,
        CommunicationId::new().uuid(),
        order.uuid(),
        notice.name(),
        once.key(),
        recipient,
        hash.as_ref(),
        locale,
        facts
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| row.id.into()))
}

/// A notice that is to be sent.
#[derive(Clone, Debug)]
pub struct Communication {
    /// Its id.
    pub id: CommunicationId,
    /// The order that it is about.
    pub order: Option<OrderId>,
    /// Its kind.
    pub notice: Notice,
    /// To whom.
    pub recipient: String,
    /// In which language.
    pub locale: String,
    /// What it tells beside what its order's rows hold.
    pub facts: Value,
}

/// Locks a notice that is still to be sent. None where it was sent, suppressed or given up.
pub async fn take(tx: &mut Tx, id: CommunicationId) -> Stored<Option<Communication>> {
    let row = sqlx::query!(
        r#"/* communications::take */
        select order_id, kind, recipient, locale, facts, state from communications where id = $1 for update"#,
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row.filter(|row| matches!(row.state.as_str(), "queued" | "sending")) else {
        return Ok(None);
    };
    let notice = Notice::ALL.into_iter().find(|notice| notice.name() == row.kind);
    let notice = notice.ok_or(StoreError::Unreadable { column: "communications.kind", value: row.kind })?;
    Ok(Some(Communication {
        id,
        order: row.order_id.map(OrderId::from),
        notice,
        recipient: row.recipient,
        locale: row.locale,
        facts: row.facts,
    }))
}

/// It is about to be handed to the mail server; `maybe_sent` says that it may be there already.
pub async fn sending(tx: &mut Tx, id: CommunicationId, message_id: &str, maybe_sent: bool) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* communications::sending */
        update communications set state = 'sending', message_id = $2,
               possible_duplicates = possible_duplicates + case when $3 then 1 else 0 end where id = $1"#,
        id.uuid(),
        message_id,
        maybe_sent
    )
    .execute(tx.conn())
    .await?;
    exactly("communications::sending", 1, done.rows_affected())
}

/// The mail server has it.
pub async fn sent(tx: &mut Tx, id: CommunicationId) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* communications::sent */
        update communications set state = 'sent', sent_at = clock_timestamp() where id = $1 and state <> 'sent'"#,
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    exactly("communications::sent", 1, done.rows_affected())
}

/// It was given up.
pub async fn failed(tx: &mut Tx, id: CommunicationId) -> Stored<()> {
    sqlx::query!(
        "/* communications::failed */ update communications set state = 'failed' where id = $1 and state <> 'sent'",
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
