//! What `dev` brings into a database of its own: a catalogue and an API key.

use std::path::Path;

use secrecy::ExposeSecret;

use super::file::{read_key, write_key};
use crate::auth::{Role, bearer, new_key};
use crate::domain::catalogue;
use crate::roles::CommandError;
use crate::store::Store;
use crate::store::access::KeyToStore;

/// About two hundred pieces of menswear.
const CATALOGUE: &str = include_str!("../../config/catalogue.csv");

/// Brings the catalogue in, where there is none, and returns the API key, a new one where the last is not known.
pub(super) async fn bring_in(store: &Store, folder: &Path) -> Result<String, CommandError> {
    if store.catalogue().await?.skus.is_empty() {
        let rows = catalogue::read(CATALOGUE).map_err(|faults| CommandError::Refused(faults.join("\n")))?;
        store.import_catalogue(&rows).await?;
    }
    if let Some(key) = read_key(folder) {
        let hash = bearer(&format!("Bearer {key}"));
        if store.live_keys().await?.iter().any(|known| Some(known.hash) == hash) {
            return Ok(key);
        }
    }
    let new = new_key();
    let key = new.key.expose_secret().to_owned();
    let stored = KeyToStore {
        tenant: "main".to_owned(),
        name: "dev".to_owned(),
        role: Role::Service,
        hash: new.hash,
        expires_at: None,
    };
    store.create_key(&stored).await?;
    write_key(folder, &key)?;
    Ok(key)
}
