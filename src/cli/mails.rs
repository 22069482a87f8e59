//! `orderfleet mails`: see any mail of any order before its customer does, and who gets no mail at all.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{Settings, operator};
use crate::domain::mail_news::recipient_hash;
use crate::domain::notice::Notice;
use crate::jobs::letter::{self, Preview};
use crate::roles::{self, CommandError};
use crate::store::suppressions::{self, Reason};
use crate::store::timeline::OrderName;
use crate::store::{Store, actions};
use crate::terminal::{say, say_json};

#[derive(Debug, Subcommand)]
pub(super) enum MailsCommand {
    /// Show a mail of an order as its customer reads it, or would. Nothing is sent.
    Preview(PreviewArguments),
    /// Send no more mail to an address.
    Refuse(AddressArguments),
    /// Send mail to an address again that bounced, complained or was refused.
    Allow(AddressArguments),
}

#[derive(Debug, Args)]
pub(super) struct PreviewArguments {
    /// The order's id (`ord_…`), its intent's id (`int_…`), or its number (`OF-…`).
    order: String,
    /// Which mail, such as `order_confirmation`.
    #[arg(long)]
    kind: String,
    /// In this language (`en`, `ne`, `am`); else in the customer's.
    #[arg(long)]
    locale: Option<String>,
    /// Write it there: the HTML part where the name ends with .html, the text where it ends with .txt, else the whole mail
    /// as it goes to the mail server.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct AddressArguments {
    /// The address.
    address: String,
}

pub(super) async fn run(command: MailsCommand, settings: &Settings) -> Result<ExitCode, CommandError> {
    let store = Store::new(&settings.postgres)?;
    match command {
        MailsCommand::Preview(arguments) => preview(arguments, settings, &store).await,
        MailsCommand::Refuse(arguments) => refuse(&store, &arguments.address).await,
        MailsCommand::Allow(arguments) => allow(&store, &arguments.address).await,
    }
}

async fn preview(
    arguments: PreviewArguments,
    settings: &Settings,
    store: &Store,
) -> Result<ExitCode, CommandError> {
    let Some(notice) = Notice::named(&arguments.kind) else {
        let known: Vec<&str> = Notice::ALL.iter().map(|notice| notice.name()).collect();
        let known = known.join(", ");
        return Err(CommandError::Refused(format!(
            "there is no mail {:?}; there are {known}",
            arguments.kind
        )));
    };
    let unknown = || {
        CommandError::Refused(format!(
            "there is no order {}. `orderfleet demo --orders 1` makes one in the sandbox",
            arguments.order
        ))
    };
    let order = store.timeline(&OrderName::read(&arguments.order), None).await?.ok_or_else(unknown)?;
    let wording = roles::wording(settings)?;
    let mut tx = store.begin().await?;
    let words = (&settings.shop, &wording);
    let locale = arguments.locale.as_deref();
    let seen = letter::preview(&mut tx, words, (order.order_id, notice), locale)
        .await
        .map_err(|failure| CommandError::Refused(format!("the mail can not be written: {failure}")))?;
    tx.rollback().await?;
    let seen = seen.ok_or_else(unknown)?;
    let detail = serde_json::json!({ "order": order.order_id, "kind": notice.name() });
    store.note(&operator(None), "mails.preview", &detail).await?;
    if let Some(file) = &arguments.to {
        let bytes = part(&seen, file)?;
        std::fs::write(file, bytes)
            .map_err(|error| CommandError::Io(format!("{} can not be written", file.display()), error))?;
    }
    if arguments.json {
        say_json(&serde_json::json!({
            "order_id": order.order_id, "kind": notice.name(), "language": seen.language, "is_told": seen.is_told,
            "from": seen.mail.from, "to": seen.mail.to, "subject": seen.mail.subject, "text": seen.mail.text,
            "html": seen.mail.html,
        }));
    } else {
        show(&seen, notice, arguments.to.as_ref());
    }
    Ok(ExitCode::SUCCESS)
}

/// What goes into a file of this name.
fn part(seen: &Preview, file: &std::path::Path) -> Result<Vec<u8>, CommandError> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "html" => Ok(seen.mail.html.clone().unwrap_or_default().into_bytes()),
        "txt" => Ok(seen.mail.text.clone().into_bytes()),
        _ => seen
            .mail
            .written()
            .map_err(|cause| CommandError::Refused(format!("the mail can not be written: {cause}"))),
    }
}

fn show(seen: &Preview, notice: Notice, file: Option<&PathBuf>) {
    let mail = &seen.mail;
    say(&format!(
        "From: {}\nTo: {}\nSubject: {}\n\n{}\n",
        mail.from,
        mail.to,
        mail.subject,
        mail.text.trim_end()
    ));
    let kind = notice.name();
    let told = if seen.is_told {
        format!("This order's customer was told this ({kind}), or is about to be")
    } else {
        format!("Nobody was told this ({kind}): what the order does not know yet is made up")
    };
    let file = file.map(|file| format!(" Written to {}.", file.display())).unwrap_or_default();
    say(&format!("— {told}; language {}.{file}", seen.language));
}

async fn refuse(store: &Store, address: &str) -> Result<ExitCode, CommandError> {
    let (hash, actor) = (recipient_hash(address), operator(None));
    let mut tx = store.begin().await?;
    let is_new = suppressions::add(&mut tx, &hash, Reason::Asked, &actor).await?;
    noted(&mut tx, &actor, "mails.refuse", &hash).await?;
    tx.commit().await?;
    say(if is_new { "That address gets no more mail." } else { "That address got no mail before either." });
    Ok(ExitCode::SUCCESS)
}

async fn allow(store: &Store, address: &str) -> Result<ExitCode, CommandError> {
    let (hash, actor) = (recipient_hash(address), operator(None));
    let mut tx = store.begin().await?;
    let was_refused = suppressions::lift(&mut tx, &hash).await?;
    noted(&mut tx, &actor, "mails.allow", &hash).await?;
    tx.commit().await?;
    say(if was_refused {
        "That address gets mail again. What was not sent meanwhile is not sent now."
    } else {
        "That address gets mail already."
    });
    Ok(ExitCode::SUCCESS)
}

/// Who did it stands with what was done; the address does not.
async fn noted(
    tx: &mut crate::store::Tx,
    actor: &str,
    action: &str,
    hash: &[u8],
) -> Result<(), CommandError> {
    let detail = serde_json::json!({ "recipient_hash": crate::domain::key::hex(hash) });
    Ok(actions::note(tx, actor, action, &detail).await?)
}
