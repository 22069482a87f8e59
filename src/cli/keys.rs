//! `orderfleet keys`: API keys are shown once and stored as their hash. Who makes and revokes them is written down.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::auth::{Role, new_key};
use crate::config::operator;
use crate::ids::ApiKeyId;
use crate::roles::CommandError;
use crate::store::access::{self, KeyToStore};
use crate::store::{Store, actions};
use crate::terminal::{say, say_json};
use crate::time::Clock;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key. It is shown once.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it may do: service, vendor, viewer, processor, manager, administrator.
        #[arg(long, default_value = "service")]
        role: String,
        /// Whose shop.
        #[arg(long, default_value = "main")]
        tenant: String,
        /// How many days it is good for; for ever where absent.
        #[arg(long, value_name = "DAYS")]
        days: Option<u64>,
    },
    /// List keys, never their secrets.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Make a key useless. Intakes notice within two seconds.
    Revoke {
        /// The key's id (`key_…`), not its secret.
        id: ApiKeyId,
    },
}

pub(super) async fn run(command: KeysCommand, store: &Store) -> Result<ExitCode, CommandError> {
    match command {
        KeysCommand::Create { name, role, tenant, days } => create(store, name, &role, tenant, days).await?,
        KeysCommand::List { json } => list(store, json).await?,
        KeysCommand::Revoke { id } => {
            let mut tx = store.begin().await?;
            let was_live = access::revoke_key(&mut tx, id).await?;
            if was_live {
                actions::note(&mut tx, &operator(None), "keys.revoke", &json!({ "key": id })).await?;
            }
            tx.commit().await?;
            if !was_live {
                return Err(CommandError::Refused(format!(
                    "there is no live key {id}; see `orderfleet keys list`"
                )));
            }
            say(&format!("{id} is revoked."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(
    store: &Store,
    name: String,
    role: &str,
    tenant: String,
    days: Option<u64>,
) -> Result<(), CommandError> {
    let known = Role::named(role).filter(|role| role.has_keys());
    let role = known.ok_or_else(|| CommandError::Refused(format!("{role:?} is no role that has keys")))?;
    let key = new_key();
    let expires_at =
        days.map(|days| Clock::real().now() + Duration::from_secs(days.saturating_mul(86_400).min(MAX_LIFE)));
    let stored = KeyToStore { tenant, name, role, hash: key.hash, expires_at };
    let mut tx = store.begin().await?;
    let id = access::create_key(&mut tx, &stored).await?;
    // Without its name: a customer's key is called by the customer's.
    let detail = json!({ "key": id, "tenant": stored.tenant, "role": role.name(), "expires_at": expires_at });
    actions::note(&mut tx, &operator(None), "keys.create", &detail).await?;
    tx.commit().await?;
    say(&format!(
        "{id}\n{}\nKeep it now: it is stored as a hash and can't be shown again.",
        key.key.expose_secret()
    ));
    Ok(())
}

/// A century: more is a slip of the hand, and the database's calendar ends somewhere.
const MAX_LIFE: u64 = 100 * 365 * 86_400;

async fn list(store: &Store, json: bool) -> Result<(), CommandError> {
    let keys = store.list_keys().await?;
    if json {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({ "id": key.id, "tenant": key.tenant, "name": key.name, "role": key.role.name(),
                    "created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at })
            })
            .collect();
        say_json(&keys);
        return Ok(());
    }
    for key in keys {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => format!("revoked {at:.0?}"),
            (None, Some(at)) => format!("until {at:.0?}"),
            (None, None) => "live".to_owned(),
        };
        say(&format!("{}  {:14} {:10} {:20} {state}", key.id, key.role.name(), key.tenant, key.name));
    }
    Ok(())
}
