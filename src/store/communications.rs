//! Notices and the mails that they become. One for each kind, key and recipient, whatever asks for it again.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, Stored, Tx, exactly};
use crate::domain::mail_news::{Outcome, recipient_hash};
use crate::domain::notice::{Notice, Once};
use crate::ids::{CommunicationId, OrderId};

/// What somebody is to be told of an order.
#[derive(Clone, Debug)]
pub struct Telling {
    /// Which order; its customer is told.
    pub order: OrderId,
    /// What.
    pub notice: Notice,
    /// What it is told once for.
    pub key: String,
    /// What the order's rows do not hold.
    pub facts: Value,
}

/// Decides that these are told. Answers which of them are new, with their order: the others were decided before.
pub async fn notify(tx: &mut Tx, tellings: Vec<Telling>) -> Stored<Vec<(OrderId, CommunicationId)>> {
    if tellings.is_empty() {
        return Ok(Vec::new());
    }
    let orders: Vec<Uuid> = tellings.iter().map(|telling| telling.order.uuid()).collect();
    let customers = sqlx::query!(
        r#"/* communications::notify */
        select id, coalesce(customer ->> 'email', '') as "email!", coalesce(customer ->> 'locale', 'en') as "locale!"
          from orders where id = any($1)"#,
        &orders
    )
    .fetch_all(tx.conn())
    .await?;
    let customers: HashMap<Uuid, (String, String)> =
        customers.into_iter().map(|row| (row.id, (row.email, row.locale))).collect();
    let mut rows: Vec<Row> =
        tellings.into_iter().filter_map(|telling| Row::of(telling, &customers)).collect();
    // Sorted by the key that others conflict on: two slices that insert in different orders would deadlock.
    rows.sort_by(|a, b| (a.kind, &a.key, &a.hash).cmp(&(b.kind, &b.key, &b.hash)));
    insert(tx, rows).await
}

/// A notice's row, before it is written.
struct Row {
    order: Uuid,
    kind: &'static str,
    key: String,
    recipient: String,
    hash: Vec<u8>,
    locale: String,
    facts: Value,
}

impl Row {
    /// None where there is no such order, or nobody to be told: an erased customer.
    fn of(telling: Telling, customers: &HashMap<Uuid, (String, String)>) -> Option<Self> {
        let (recipient, locale) =
            customers.get(&telling.order.uuid()).filter(|(recipient, _)| !recipient.is_empty())?.clone();
        Some(Self {
            order: telling.order.uuid(),
            kind: telling.notice.name(),
            key: telling.key,
            hash: recipient_hash(&recipient).to_vec(),
            recipient,
            locale,
            facts: telling.facts,
        })
    }
}

async fn insert(tx: &mut Tx, rows: Vec<Row>) -> Stored<Vec<(OrderId, CommunicationId)>> {
    let ids: Vec<Uuid> = rows.iter().map(|_| CommunicationId::new().uuid()).collect();
    let orders: Vec<Uuid> = rows.iter().map(|row| row.order).collect();
    let kinds: Vec<String> = rows.iter().map(|row| row.kind.to_owned()).collect();
    let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
    let recipients: Vec<String> = rows.iter().map(|row| row.recipient.clone()).collect();
    let hashes: Vec<Vec<u8>> = rows.iter().map(|row| row.hash.clone()).collect();
    let locales: Vec<String> = rows.iter().map(|row| row.locale.clone()).collect();
    let facts: Vec<Value> = rows.into_iter().map(|row| row.facts).collect();
    let added = sqlx::query!(
        r#"/* communications::notify */
        insert into communications (id, order_id, kind, dedupe_key, recipient, recipient_hash, locale, facts, state)
        select id, order_id, kind, dedupe_key, recipient, recipient_hash, locale, facts, 'queued'
          from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::jsonb[])
               as n(id, order_id, kind, dedupe_key, recipient, recipient_hash, locale, facts)
        on conflict (kind, dedupe_key, recipient_hash) do nothing
        returning id, order_id as "order_id!""#,
        &ids,
        &orders,
        &kinds,
        &keys,
        &recipients,
        &hashes,
        &locales,
        &facts
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(added.into_iter().map(|row| (row.order_id.into(), row.id.into())).collect())
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
    /// The same, as the list of who gets none has it.
    pub recipient_hash: Vec<u8>,
    /// In which language.
    pub locale: String,
    /// What it tells beside what its order's rows hold.
    pub facts: Value,
    /// Whether a copy of it may have been sent already.
    pub is_in_doubt: bool,
}

/// Locks a notice that is still to be sent. None where it was sent, suppressed or given up.
pub async fn take(tx: &mut Tx, id: CommunicationId) -> Stored<Option<Communication>> {
    let row = sqlx::query!(
        r#"/* communications::take */
        select order_id, kind, recipient, recipient_hash, locale, facts, state, possible_duplicates
          from communications where id = $1 for update"#,
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row.filter(|row| matches!(row.state.as_str(), "queued" | "sending")) else {
        return Ok(None);
    };
    let notice = Notice::named(&row.kind);
    let notice = notice.ok_or(StoreError::Unreadable { column: "communications.kind", value: row.kind })?;
    Ok(Some(Communication {
        id,
        order: row.order_id.map(OrderId::from),
        notice,
        recipient: row.recipient,
        recipient_hash: row.recipient_hash,
        locale: row.locale,
        facts: row.facts,
        is_in_doubt: row.possible_duplicates > 0,
    }))
}

/// The newest notice of a kind about an order, whatever became of it; not locked.
pub async fn newest(tx: &mut Tx, order: OrderId, notice: Notice) -> Stored<Option<Communication>> {
    let row = sqlx::query!(
        r#"/* communications::newest */
        select id, recipient, recipient_hash, locale, facts, possible_duplicates from communications
         where order_id = $1 and kind = $2 order by id desc limit 1"#,
        order.uuid(),
        notice.name()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Communication {
        id: row.id.into(),
        order: Some(order),
        notice,
        recipient: row.recipient,
        recipient_hash: row.recipient_hash,
        locale: row.locale,
        facts: row.facts,
        is_in_doubt: row.possible_duplicates > 0,
    }))
}

/// The notice of a kind that was decided once for this, with its facts; whoever it goes to.
pub async fn named(tx: &mut Tx, notice: Notice, once: Once<'_>) -> Stored<Option<(CommunicationId, Value)>> {
    let row = sqlx::query!(
        "/* communications::named */ select id, facts from communications where kind = $1 and dedupe_key = $2",
        notice.name(),
        once.key()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (row.id.into(), row.facts)))
}

/// How often an order's customer was told of a kind in the last hour.
pub async fn told_lately(tx: &mut Tx, order: OrderId, notice: Notice) -> Stored<i64> {
    Ok(sqlx::query_scalar!(
        r#"/* communications::told_lately */
        select count(*) as "count!" from communications
         where order_id = $1 and kind = $2 and created_at > clock_timestamp() - interval '1 hour'"#,
        order.uuid(),
        notice.name()
    )
    .fetch_one(tx.conn())
    .await?)
}

/// It is not sent: its address gets no mail.
pub async fn suppressed(tx: &mut Tx, id: CommunicationId) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* communications::suppressed */
        update communications set state = 'suppressed', outcome = 'suppressed', outcome_at = clock_timestamp()
         where id = $1 and state in ('queued', 'sending')"#,
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    exactly("communications::suppressed", 1, done.rows_affected())
}

/// What was heard of a mail that was handed over, by its Message-ID; a graver word stays. Tells whether it is one of ours,
/// and the address that it went to.
pub async fn heard(tx: &mut Tx, message_id: &str, outcome: Outcome) -> Stored<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar!(
        r#"/* communications::heard */
        update communications set
               outcome = case when array_position($3::text[], outcome) >= array_position($3::text[], $2) then outcome else $2 end,
               outcome_at = case when array_position($3::text[], outcome) >= array_position($3::text[], $2) then outcome_at
                                 else clock_timestamp() end
         where message_id = $1 returning recipient_hash"#,
        message_id,
        outcome.name(),
        &Outcome::BY_GRAVITY.map(|outcome| outcome.name().to_owned())
    )
    .fetch_optional(tx.conn())
    .await?)
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

/// Those of these that were given up are to be sent again. Returns them.
pub async fn take_up(tx: &mut Tx, ids: &[CommunicationId]) -> Stored<Vec<CommunicationId>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let taken_up = sqlx::query_scalar!(
        r#"/* communications::take_up */
        update communications set state = 'queued' where id in
          (select id from communications where id = any($1) and state = 'failed' order by id for update)
        returning id"#,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(taken_up.into_iter().map(CommunicationId::from).collect())
}
