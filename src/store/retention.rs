//! Empties personal data that is older than the shop wants to keep it: rows stay, because ids, money and history hang on them.
//! What ended years ago is deleted as a whole ([`super::archive`]).
//!
//! In pieces, each a transaction of its own: of one day of one subject, some hundred rows at most. A subject's row in `sweeps`
//! says how far it came, and is locked by whoever takes the next piece, so that there is no leader and nothing is done twice.
//! What is still open when its time comes (a mail on its way, an event that waits) is left as it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, Stored, Tx, actions, archive, millis};
use crate::ids::CommunicationId;

mod letters;

pub(super) use letters::empty_letters;

/// Rows in one piece: some ten milliseconds of locks that nobody else asks for.
pub(super) const PIECE: i64 = 500;
/// What one step goes on by. A piece is looked for in that range alone: with a hundred thousand rows a day in a tenth of a
/// second, and a year in which nothing happened is passed in some hundred steps.
const STEP: Duration = Duration::from_hours(24);

/// What is kept for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Outside events: what they said.
    Inbox,
    /// Mails: to whom, and what they said.
    Communications,
    /// Order intents, which are the idempotency keys' rows: what was wished.
    Intents,
    /// Dead letters that were replayed or dropped: what they hold of a person.
    DeadLetters,
    /// What operators did: removed.
    Actions,
    /// Orders that have ended, with all that hangs on them: removed.
    Orders,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Inbox, Self::Communications, Self::Intents, Self::DeadLetters, Self::Actions, Self::Orders];

    /// Its name, in the table and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Communications => "communications",
            Self::Intents => "intents",
            Self::DeadLetters => "dead_letters",
            Self::Actions => "actions",
            Self::Orders => "orders",
        }
    }
}

/// What came of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Rows that were emptied or removed.
    pub rows: u64,
    /// Whether there is more to look at now.
    pub is_more: bool,
}

const NOTHING: Swept = Swept { rows: 0, is_more: false };

impl Store {
    /// Empties one piece of what is older than `keep`.
    pub async fn sweep(&self, subject: Subject, keep: Duration) -> Stored<Swept> {
        let mut tx = self.begin().await?;
        let swept = match subject {
            Subject::DeadLetters => letters::sweep(&mut tx, keep).await?,
            Subject::Actions => {
                let rows = actions::forget(&mut tx, keep, PIECE).await?;
                Swept { rows, is_more: is_full(rows) }
            }
            Subject::Orders => archive::sweep(&mut tx, keep).await?,
            Subject::Inbox | Subject::Communications | Subject::Intents => {
                let Some((from, to)) = window(&mut tx, subject, keep).await? else { return Ok(NOTHING) };
                let rows = match subject {
                    Subject::Inbox => inbox(&mut tx, from, to).await?,
                    Subject::Communications => communications(&mut tx, from, to).await?,
                    Subject::Intents | Subject::DeadLetters | Subject::Actions | Subject::Orders => {
                        intents(&mut tx, from, to).await?
                    }
                };
                // A full piece may have left some of its day.
                if !is_full(rows) {
                    go_on(&mut tx, subject, to).await?;
                }
                Swept { rows, is_more: true }
            }
        };
        tx.commit().await?;
        Ok(swept)
    }
}

pub(super) fn is_full(rows: u64) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= PIECE)
}

/// The next day that is old enough; none where all is swept, or somebody else is at it.
async fn window(
    tx: &mut Tx,
    subject: Subject,
    keep: Duration,
) -> Stored<Option<(DateTime<Utc>, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"/* retention::window */
        with mine as (select subject, swept_until from sweeps where subject = $1 for update skip locked),
        began as (
          select coalesce(m.swept_until, case m.subject
                   when 'inbox' then (select min(received_at) from inbox)
                   when 'communications' then (select min(created_at) from communications)
                   else (select min(created_at) from order_intents) end) as at from mine m)
        select at as "from!", least(at + $3::bigint * interval '1 ms', now() - $2::bigint * interval '1 ms') as "to!"
          from began where at < now() - $2::bigint * interval '1 ms'"#,
        subject.name(),
        millis(keep),
        millis(STEP)
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (row.from, row.to)))
}

async fn go_on(tx: &mut Tx, subject: Subject, to: DateTime<Utc>) -> Stored<()> {
    sqlx::query!(
        "/* retention::go_on */ update sweeps set swept_until = $2 where subject = $1",
        subject.name(),
        to
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What was recorded by hand is kept: it says how much, and of whom it says nothing.
async fn inbox(tx: &mut Tx, from: DateTime<Utc>, to: DateTime<Utc>) -> Stored<u64> {
    let done = sqlx::query!(
        r#"/* retention::inbox */
        update inbox i set payload = '{}'
          from (select provider, account, event_id from inbox
                 where received_at >= $1 and received_at < $2 and payload <> '{}' and not payload ? 'recorded'
                   and state not in ('received', 'parked')
                 order by provider, account, event_id limit $3 for no key update) old
         where i.provider = old.provider and i.account = old.account and i.event_id = old.event_id"#,
        from,
        to,
        PIECE
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

async fn communications(tx: &mut Tx, from: DateTime<Utc>, to: DateTime<Utc>) -> Stored<u64> {
    let mails = sqlx::query_scalar!(
        r#"/* retention::communications */
        select id from communications
         where created_at >= $1 and created_at < $2 and recipient <> '' and state in ('sent', 'failed', 'suppressed')
         order by id limit $3"#,
        from,
        to,
        PIECE
    )
    .fetch_all(tx.conn())
    .await?;
    empty_mails(tx, &mails).await
}

/// Empties mails that have ended: their frozen requests first, as the order of locks wants it. What tells one mail from
/// another is kept by its own id in place of the recipient's hash.
pub(super) async fn empty_mails(tx: &mut Tx, mails: &[Uuid]) -> Stored<u64> {
    let names: Vec<String> = mails.iter().map(|id| format!("mail:{}", CommunicationId::from(*id))).collect();
    empty_effects(tx, &names).await?;
    let done = sqlx::query!(
        r#"/* retention::empty_mails */
        update communications set recipient = '', facts = '{}', recipient_hash = sha256(id::text::bytea)
         where id = any($1) and state in ('sent', 'failed', 'suppressed')"#,
        mails
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Empties what was asked of the outside under these names, where that has an end. Receipts hold ids and amounts.
pub(super) async fn empty_effects(tx: &mut Tx, names: &[String]) -> Stored<()> {
    sqlx::query!(
        r#"/* retention::empty_effects */
        update effects e set request = '{}'
          from (select name from effects where name = any($1) and state in ('done', 'failed') order by name for no key update) old
         where e.name = old.name"#,
        names
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn intents(tx: &mut Tx, from: DateTime<Utc>, to: DateTime<Utc>) -> Stored<u64> {
    let done = sqlx::query!(
        r#"/* retention::intents */
        update order_intents i set payload = '{}'
          from (select id from order_intents where created_at >= $1 and created_at < $2 and payload <> '{}'
                 order by id limit $3 for no key update) old
         where i.id = old.id"#,
        from,
        to,
        PIECE
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
