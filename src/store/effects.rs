//! Outside mutations: a row with a frozen request and a key before every call, a receipt after it.
//!
//! The receipt is written unconditionally, once, whatever became of the order meanwhile. A second, different receipt (a
//! stale worker's call) is evidence: dropping it would be money taken and nobody told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, Stored, Tx, from_millis};
use crate::ids::{EffectId, JobId};

pub mod evidence;

/// What is known of an outside mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectState {
    /// It was never sent, or it provably did not happen.
    Pending,
    /// It may be under way: whoever finds it so must look before it is sent again.
    InFlight,
    /// Its receipt is here.
    Done,
    /// The provider refused it for good.
    Failed,
    /// It was sent and nobody knows what became of it.
    Unknown,
}

impl EffectState {
    const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InFlight => "in_flight",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    fn named(name: &str) -> Stored<Self> {
        [Self::Pending, Self::InFlight, Self::Done, Self::Failed, Self::Unknown]
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| StoreError::Unreadable { column: "effects.state", value: name.to_owned() })
    }
}

/// An outside mutation that a job is about to ask for.
#[derive(Clone, Debug)]
pub struct NewEffect {
    /// Deterministic: `label:{order}:{parcel}:{epoch}:buy`.
    pub name: String,
    /// What would be sent; an effect that is there keeps the request that it began with.
    pub request: Value,
    /// The job that asks.
    pub job: JobId,
}

/// An outside mutation, as it stood before this load.
#[derive(Clone, Debug)]
pub struct Effect {
    /// Its name.
    pub name: String,
    /// What the provider gets as idempotency key.
    pub key: String,
    /// The frozen request.
    pub request: Value,
    /// What was known before this load took it up.
    pub before: EffectState,
    /// The provider's id of what was done.
    pub provider_ref: Option<String>,
}

/// Takes effects up: makes their rows where they are new, and marks those that were never sent as in flight. What was in
/// flight already is in doubt from now on, until a receipt or a look says what became of it. What is returned says how each
/// stood before.
pub async fn begin(tx: &mut Tx, effects: &[NewEffect]) -> Stored<HashMap<String, Effect>> {
    let mut sorted: Vec<&NewEffect> = effects.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<String> = sorted.iter().map(|effect| effect.name.clone()).collect();
    let ids: Vec<Uuid> = sorted.iter().map(|_| EffectId::new().uuid()).collect();
    let requests: Vec<Value> = sorted.iter().map(|effect| effect.request.clone()).collect();
    let jobs: Vec<Uuid> = sorted.iter().map(|effect| effect.job.uuid()).collect();
    sqlx::query!(
        r#"/* effects::begin */
        insert into effects (name, id, request, state, job_id)
        select name, id, request, 'pending', job_id
          from unnest($1::text[], $2::uuid[], $3::jsonb[], $4::uuid[]) as n(name, id, request, job_id)
        on conflict (name) do nothing"#,
        &names,
        &ids,
        &requests,
        &jobs
    )
    .execute(tx.conn())
    .await?;
    let rows = sqlx::query!(
        r#"/* effects::begin */
        select name, id, n, request, state, provider_ref from effects where name = any($1) order by name for update"#,
        &names
    )
    .fetch_all(tx.conn())
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let key = format!("{}-{}", EffectId::from(row.id), row.n);
        let before = EffectState::named(&row.state)?;
        let effect =
            Effect { key, request: row.request, before, provider_ref: row.provider_ref, name: row.name };
        found.insert(effect.name.clone(), effect);
    }
    sqlx::query!(
        r#"/* effects::begin */
        update effects set state = case state when 'pending' then 'in_flight' else 'unknown' end,
                           sent_at = case state when 'pending' then clock_timestamp() else sent_at end
         where name = any($1) and state in ('pending', 'in_flight')"#,
        &names
    )
    .execute(tx.conn())
    .await?;
    Ok(found)
}

/// It is sent once more although an earlier call may have worked: who sends it has kept that doubt elsewhere, and from here
/// on the state tells of this call alone.
pub async fn sent_again(tx: &mut Tx, name: &str) -> Stored<()> {
    sqlx::query!(
        r#"/* effects::sent_again */
        update effects set state = 'in_flight', sent_at = clock_timestamp() where name = $1 and state = 'unknown'"#,
        name
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Which of these may have happened without anybody knowing: sent, and no receipt yet. Whatever became of the order
/// meanwhile, they have to be looked up.
pub async fn unresolved(tx: &mut Tx, names: &[String]) -> Stored<HashSet<String>> {
    let rows = sqlx::query_scalar!(
        r#"/* effects::unresolved */
        select name from effects where name = any($1) and state in ('in_flight', 'unknown')"#,
        names
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().collect())
}

/// How long ago the last call of an effect was begun.
pub async fn sent_ago(tx: &mut Tx, name: &str) -> Stored<Duration> {
    let ms = sqlx::query_scalar!(
        r#"/* effects::sent_ago */
        select (extract(epoch from clock_timestamp() - coalesce(sent_at, created_at)) * 1000)::bigint as "ms!"
          from effects where name = $1"#,
        name
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(from_millis(ms.unwrap_or_default()))
}

/// What is known of an effect; none where it was never begun.
pub async fn state_of(tx: &mut Tx, name: &str) -> Stored<Option<EffectState>> {
    let state =
        sqlx::query_scalar!("/* effects::state_of */ select state from effects where name = $1", name)
            .fetch_optional(tx.conn())
            .await?;
    state.as_deref().map(EffectState::named).transpose()
}

/// What a provider answered to a mutation.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The effect that it answers.
    pub effect: String,
    /// The provider's id of what was done.
    pub provider_ref: String,
    /// The answer, without secrets.
    pub receipt: Value,
}

/// Writes receipts, whatever became of the job meanwhile. A second receipt that tells of another thing is kept as
/// evidence under the `run` that brought it.
pub async fn record(tx: &mut Tx, proofs: &[(Proof, i32)]) -> Stored<()> {
    let mut sorted: Vec<&(Proof, i32)> = proofs.iter().collect();
    sorted.sort_by(|a, b| a.0.effect.cmp(&b.0.effect));
    for (proof, run) in sorted {
        let first = sqlx::query!(
            r#"/* effects::record */
            update effects set state = 'done', receipt = $2, provider_ref = $3, settled_at = clock_timestamp()
             where name = $1 and state <> 'done'"#,
            proof.effect,
            proof.receipt,
            proof.provider_ref
        )
        .execute(tx.conn())
        .await?;
        if first.rows_affected() == 0 {
            sqlx::query!(
                r#"/* effects::record */
                insert into effect_evidence (name, run, receipt, provider_ref)
                select name, $2, $3, $4 from effects where name = $1 and provider_ref <> $4"#,
                proof.effect,
                run,
                proof.receipt,
                proof.provider_ref
            )
            .execute(tx.conn())
            .await?;
        }
    }
    Ok(())
}

/// The call that took this effect up provably did nothing. That says nothing of an earlier one: an effect in doubt stays so.
pub async fn not_sent(tx: &mut Tx, name: &str) -> Stored<()> {
    sqlx::query!(
        "/* effects::not_sent */ update effects set state = 'pending' where name = $1 and state = 'in_flight'",
        name
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes what is known of an effect that did not bring a receipt. A settled one stays as it is.
pub async fn mark(tx: &mut Tx, name: &str, state: EffectState) -> Stored<()> {
    sqlx::query!(
        "/* effects::mark */ update effects set state = $2 where name = $1 and state <> 'done'",
        name,
        state.name()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What was refused for good provably did not happen: it may be asked for again, under the same key, and is then in flight
/// like every other.
pub async fn take_up(tx: &mut Tx, names: &[String]) -> Stored<()> {
    sqlx::query!(
        r#"/* effects::take_up */
        update effects set state = 'pending' where name in
          (select name from effects where name = any($1) and state = 'failed' order by name for update)"#,
        names
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// It provably never happened, and is to be asked for in other words: under a new key, which an effect that was never begun
/// does not need. One that may have happened is left as it is.
pub async fn reword(tx: &mut Tx, name: &str, request: &Value) -> Stored<()> {
    sqlx::query!(
        r#"/* effects::reword */
        update effects set request = $2, n = n + 1, state = 'pending' where name = $1 and state in ('pending', 'failed')"#,
        name,
        request
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A look-up proved that nothing happened under the last key: the next call gets a new one. A settled effect stays as it
/// is: another job of the same payment may have been faster.
pub async fn renew_key(tx: &mut Tx, name: &str) -> Stored<()> {
    sqlx::query!(
        "/* effects::renew_key */ update effects set n = n + 1, state = 'pending' where name = $1 and state <> 'done'",
        name
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
