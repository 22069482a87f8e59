//! Erasing a customer: what stands in the way, and the pages of it.

use serde::Serialize;

use crate::ids::random_hex;
use crate::store::erasure::{Erased, Whose};
use crate::store::{Store, StoreError};

/// Why a customer was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseRefused {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of theirs is needed yet.
    #[error(
        "nothing was erased: something of theirs is still under way, and needs to know who they are: {0}. Deliver or cancel \
         it, replay or drop its dead letters (`orderfleet dead list --order`), then say it again"
    )]
    UnderWay(String),
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What stands in the customer's place from now on; none where there was nothing of theirs.
    pub instead: Option<String>,
    /// What was erased.
    #[serde(flatten)]
    pub erased: Erased,
}

/// Erases this customer of this shop. Said twice, or after it was killed midway, it does what is left, which may be nothing.
pub async fn erase(
    store: &Store,
    (tenant, customer): (&str, &str),
    actor: &str,
    reason: &str,
) -> Result<Report, EraseRefused> {
    let open = store.within(store.under_way(tenant, customer)).await?;
    if !open.is_empty() {
        return Err(EraseRefused::UnderWay(open.join(", ")));
    }
    // By chance, and kept nowhere: what is derived from the id could be found by trying ids.
    let instead = format!("erased-{}", random_hex::<8>());
    let whose = Whose { tenant, customer, instead: &instead };
    let mut erased = Erased::default();
    loop {
        let page = store.within(store.erase(whose, actor, reason)).await?;
        if page.is_nothing() {
            break;
        }
        erased = erased.and(page);
    }
    Ok(Report { instead: (!erased.is_nothing()).then_some(instead), erased })
}
