//! Staff writes to an order's customer: once for each name that the letter was given, whoever asks again.

use serde_json::{Value, json};

use crate::domain::notice::{Notice, Once};
use crate::ids::{CommunicationId, OrderId};
use crate::job::Failure;
use crate::jobs::telling::tell_with;
use crate::store::{Tx, actions, communications, orders};

/// What somebody writes.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The caller's name for it.
    pub key: String,
    /// One line.
    pub subject: String,
    /// The text.
    pub message: String,
    /// Who writes.
    pub actor: String,
}

/// A letter that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The mail that it is.
    pub mail: CommunicationId,
    /// Whether the key already named it.
    pub is_replay: bool,
}

/// Why nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The customer was erased.
    #[error("the order has nobody to write to any more: its customer was erased")]
    Nobody,
    /// The key already names another letter.
    #[error("this key already names another letter; this one needs a new key")]
    KeyReused,
}

/// Takes a letter, and inserts the job that sends it.
pub async fn write_mail(
    tx: &mut Tx,
    id: OrderId,
    wish: &Wish,
    cause: &str,
) -> Result<Result<Written, Refused>, Failure> {
    // Two who send the same at once come one after the other.
    orders::lock(tx, &[id]).await?;
    let name = format!("{id}:{}", wish.key);
    let once = Once::Request(&name);
    let facts = json!({ "subject": wish.subject, "message": wish.message });
    if let Some((mail, written)) = communications::named(tx, Notice::Manual, once).await? {
        let is_same = written == facts;
        return Ok(if is_same { Ok(Written { mail, is_replay: true }) } else { Err(Refused::KeyReused) });
    }
    tell_with(tx, id, (Notice::Manual, once), facts, cause).await?;
    let Some((mail, _)) = communications::named(tx, Notice::Manual, once).await? else {
        return Ok(Err(Refused::Nobody));
    };
    actions::note(tx, &wish.actor, "mails.write", &noted(id, mail)).await?;
    Ok(Ok(Written { mail, is_replay: false }))
}

/// Without the text: that is the customer's, and is erased with them.
fn noted(order: OrderId, mail: CommunicationId) -> Value {
    json!({ "order": order, "mail": mail })
}
