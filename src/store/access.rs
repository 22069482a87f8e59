//! API keys, and the sign-ins by them that were ended. What is stored of a key is its SHA-256; whoever reads this table can use
//! none of them.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Stored, Tx};
use crate::auth::{KeyHash, Role};
use crate::ids::ApiKeyId;

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct KeyToStore {
    /// Whose shop.
    pub tenant: String,
    /// What it is called. A customer's or vendor's key is called by the customer's id or the vendor's name: that is whom
    /// it acts for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The key's hash.
    pub hash: KeyHash,
    /// When it ends; never where absent.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A stored key.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose shop.
    pub tenant: String,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// How it is found.
    pub hash: KeyHash,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends; never where absent.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

struct Row {
    id: uuid::Uuid,
    tenant: String,
    name: String,
    role: String,
    hash: Vec<u8>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for StoredKey {
    type Error = StoreError;

    fn try_from(row: Row) -> Stored<Self> {
        let role = Role::named(&row.role)
            .ok_or(StoreError::Unreadable { column: "api_keys.role", value: row.role })?;
        // The value of a bad hash is not repeated: it is nobody's to read.
        let hash = row
            .hash
            .try_into()
            .map_err(|_| StoreError::Unreadable { column: "api_keys.hash", value: String::new() })?;
        Ok(Self {
            id: row.id.into(),
            tenant: row.tenant,
            name: row.name,
            role,
            hash: KeyHash(hash),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }
}

impl Store {
    /// Stores a new key.
    pub async fn create_key(&self, key: &KeyToStore) -> Stored<ApiKeyId> {
        let mut tx = self.begin().await?;
        let id = create_key(&mut tx, key).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Every key, the oldest first, revoked and expired ones too.
    pub async fn list_keys(&self) -> Stored<Vec<StoredKey>> {
        sqlx::query_as!(
            Row,
            r#"/* access::list_keys */
            select id, tenant, name, role, hash, created_at, expires_at, revoked_at from api_keys order by id"#
        )
        .fetch_all(self.pool())
        .await?
        .into_iter()
        .map(StoredKey::try_from)
        .collect()
    }

    /// Keys that are neither revoked nor expired, for the intake's snapshot.
    pub async fn live_keys(&self) -> Stored<Vec<StoredKey>> {
        sqlx::query_as!(
            Row,
            r#"/* access::live_keys */
            select id, tenant, name, role, hash, created_at, expires_at, revoked_at from api_keys
             where revoked_at is null and (expires_at is null or expires_at > now())"#
        )
        .fetch_all(self.pool())
        .await?
        .into_iter()
        .map(StoredKey::try_from)
        .collect()
    }

    /// The key of this hash, where it is neither revoked nor expired by the database's clock.
    pub async fn live_key(&self, hash: KeyHash) -> Stored<Option<StoredKey>> {
        sqlx::query_as!(
            Row,
            r#"/* access::live_key */
            select id, tenant, name, role, hash, created_at, expires_at, revoked_at from api_keys
             where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())"#,
            hash.0.as_slice()
        )
        .fetch_optional(self.pool())
        .await?
        .map(StoredKey::try_from)
        .transpose()
    }

    /// The key of this id, where it is neither revoked nor expired by the database's clock, for a session of this name that
    /// was not ended.
    pub async fn live_key_of(&self, id: ApiKeyId, session: &[u8]) -> Stored<Option<StoredKey>> {
        sqlx::query_as!(
            Row,
            r#"/* access::live_key_of */
            select id, tenant, name, role, hash, created_at, expires_at, revoked_at from api_keys
             where id = $1 and revoked_at is null and (expires_at is null or expires_at > now())
               and not exists (select from ended_sessions where name = $2)"#,
            id.uuid(),
            session
        )
        .fetch_optional(self.pool())
        .await?
        .map(StoredKey::try_from)
        .transpose()
    }

    /// Revokes a key, as [`revoke_key`] does.
    pub async fn revoke_key(&self, id: ApiKeyId) -> Stored<bool> {
        let mut tx = self.begin().await?;
        let was_live = revoke_key(&mut tx, id).await?;
        tx.commit().await?;
        Ok(was_live)
    }
}

/// Stores a new key.
pub async fn create_key(tx: &mut Tx, key: &KeyToStore) -> Stored<ApiKeyId> {
    let id = ApiKeyId::new();
    sqlx::query!(
        r#"/* access::create_key */
        insert into api_keys (id, tenant, name, role, hash, expires_at) values ($1, $2, $3, $4, $5, $6)"#,
        id.uuid(),
        key.tenant,
        key.name,
        key.role.name(),
        key.hash.0.as_slice(),
        key.expires_at
    )
    .execute(tx.conn())
    .await?;
    Ok(id)
}

/// Revokes a key; every intake refuses it one snapshot later. Tells whether it was live: twice is once.
pub async fn revoke_key(tx: &mut Tx, id: ApiKeyId) -> Stored<bool> {
    let done = sqlx::query!(
        "/* access::revoke_key */ update api_keys set revoked_at = now() where id = $1 and revoked_at is null",
        id.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a session before its time, which is `until`, and forgets those whose time is over: clocks are no hour apart.
pub async fn end_session(tx: &mut Tx, name: &[u8], until: DateTime<Utc>) -> Stored<()> {
    sqlx::query!(
        "/* access::end_session */ delete from ended_sessions where until < now() - interval '1 hour'"
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "/* access::end_session */ insert into ended_sessions (name, until) values ($1, $2) on conflict do nothing",
        name,
        until
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
