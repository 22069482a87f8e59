//! What `dev` brings into a database of its own: a catalogue, and keys of the web tier and the staff.

use std::path::Path;

use secrecy::ExposeSecret;

use super::file::{STAFF_KEY, WEB_KEY, keep_key, kept_key};
use crate::auth::{Role, bearer, new_key};
use crate::domain::catalogue;
use crate::roles::CommandError;
use crate::store::Store;
use crate::store::access::KeyToStore;

/// About two hundred pieces of menswear.
const CATALOGUE: &str = include_str!("../../config/catalogue.csv");

/// Whose shop the samples are.
pub(super) const TENANT: &str = "main";

/// The keys of this folder's fleet.
pub(super) struct Keys {
    /// The web tier's.
    pub(super) web: String,
    /// The staff's.
    pub(super) staff: String,
}

/// Brings the catalogue in, where there is none, and returns the keys, a new one where the last is not known.
pub(super) async fn bring_in(store: &Store, folder: &Path) -> Result<Keys, CommandError> {
    if store.catalogue().await?.skus.is_empty() {
        let rows = catalogue::read(CATALOGUE).map_err(|faults| CommandError::Refused(faults.join("\n")))?;
        store.import_catalogue(&rows).await?;
    }
    Ok(Keys {
        web: key(store, folder, (WEB_KEY, Role::Service)).await?,
        staff: key(store, folder, (STAFF_KEY, Role::Administrator)).await?,
    })
}

async fn key(store: &Store, folder: &Path, (name, role): (&str, Role)) -> Result<String, CommandError> {
    if let Some(key) = kept_key(folder, name)
        && let Some(hash) = bearer(&format!("Bearer {key}"))
        && store.live_key(hash).await?.is_some()
    {
        return Ok(key);
    }
    let new = new_key();
    let key = new.key.expose_secret().to_owned();
    let stored = KeyToStore {
        tenant: TENANT.to_owned(),
        name: "dev".to_owned(),
        role,
        hash: new.hash,
        expires_at: None,
    };
    store.create_key(&stored).await?;
    keep_key(folder, name, &key)?;
    Ok(key)
}
