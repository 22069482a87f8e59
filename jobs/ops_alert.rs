//! Writes to the people on call, where the shop names them: letters that died, articles that run out, webhooks that nobody
//! believes.
//!
//! For a shop without Prometheus, whose alerts are more and sharper; a mail is the least. Each rule tells at most once in a
//! window, and what it tells is told once: a letter that died, an article until there is more of it again. By ids and
//! figures alone, because a mail is read by anybody.

use serde_json::json;

use super::email::Email;
use crate::config::AlertSettings;
use crate::job::{Failure, NewJob};
use crate::store::alerts::{self, Figures, Look};
use crate::store::{Tx, jobs};

/// Things that one mail names: more is read in the console.
const NAMED: usize = 10;
/// Articles that are looked at: a shop of which more run out knows it.
const ARTICLES: i64 = 1_000;

/// What people on call are told of.
#[derive(Clone, Copy, Debug)]
enum Rule {
    DeadLetters,
    StockLow,
    RefusedWebhooks,
}

/// What is new, and what the next look has to know.
struct Finding {
    alert: String,
    reason: String,
    named: Figures,
}

impl Rule {
    const ALL: [Self; 3] = [Self::DeadLetters, Self::StockLow, Self::RefusedWebhooks];

    const fn name(self) -> &'static str {
        match self {
            Self::DeadLetters => "dead_letters",
            Self::StockLow => "stock_low",
            Self::RefusedWebhooks => "refused_webhooks",
        }
    }

    async fn find(
        self,
        tx: &mut Tx,
        look: &Look,
        settings: &AlertSettings,
    ) -> Result<Option<Finding>, Failure> {
        match self {
            Self::DeadLetters => dead_letters(tx, look).await,
            Self::StockLow => stock_low(tx, look, settings.stock_low).await,
            Self::RefusedWebhooks => refused_webhooks(tx, look, settings.refused_webhooks).await,
        }
    }
}

/// Tells what is new, where somebody is to be told.
pub(super) async fn sweep(tx: &mut Tx, settings: &AlertSettings) -> Result<(), Failure> {
    if settings.mail_to.is_empty() {
        return Ok(());
    }
    for rule in Rule::ALL {
        let Some(look) = alerts::take(tx, rule.name(), settings.window_minutes).await? else { continue };
        let Some(found) = rule.find(tx, &look, settings).await? else { continue };
        let facts = json!({ "alert": found.alert, "reason": found.reason });
        let told = (&facts, &found.named);
        let new = alerts::tell(tx, (rule.name(), &look), told, &settings.mail_to).await?;
        let mails = new.into_iter().map(|communication| NewJob::of(&Email { communication }, "alert"));
        jobs::insert(tx, mails.collect()).await?;
    }
    Ok(())
}

async fn dead_letters(tx: &mut Tx, look: &Look) -> Result<Option<Finding>, Failure> {
    let groups = alerts::dead_letters(tx, look).await?;
    let letters: i64 = groups.iter().map(|(_, count)| count).sum();
    Ok((letters > 0).then(|| Finding {
        alert: format!("{} died since {}", counted(letters, "job"), look.since.format("%Y-%m-%d %H:%M UTC")),
        reason: format!("{}. `orderfleet dead list` shows them", list(&groups)),
        named: Figures::new(),
    }))
}

/// What was told and is low still is no news; what there is more of again can become it.
async fn stock_low(tx: &mut Tx, look: &Look, left: i64) -> Result<Option<Finding>, Failure> {
    let low = alerts::low_stock(tx, left, ARTICLES).await?;
    let new: Vec<(String, i64)> = low
        .iter()
        .filter(|(sku, _)| !look.told.contains_key(*sku))
        .map(|(sku, left)| (sku.clone(), *left))
        .collect();
    if !new.is_empty() {
        let alert = format!("{} run out", counted(new.len().try_into().unwrap_or(i64::MAX), "article"));
        return Ok(Some(Finding { alert, reason: list(&new), named: low }));
    }
    if look.told.keys().any(|sku| !low.contains_key(sku)) {
        alerts::forget(tx, Rule::StockLow.name(), &low).await?;
    }
    Ok(None)
}

async fn refused_webhooks(tx: &mut Tx, look: &Look, enough: i64) -> Result<Option<Finding>, Failure> {
    let all = alerts::refused_webhooks(tx).await?;
    let mut new: Vec<(String, i64)> = all
        .iter()
        .map(|(what, count)| (what.clone(), count - look.told.get(what).unwrap_or(&0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    new.sort_by_key(|(_, count)| -count);
    let refused: i64 = new.iter().map(|(_, count)| count).sum();
    Ok((refused >= enough).then(|| Finding {
        alert: format!("{} were not believed", counted(refused, "webhook")),
        reason: format!("{}. `orderfleet webhooks verify` says why one is refused", list(&new)),
        named: all,
    }))
}

fn counted(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn list(all: &[(String, i64)]) -> String {
    let mut words: Vec<String> =
        all.iter().take(NAMED).map(|(what, count)| format!("{what}: {count}")).collect();
    if all.len() > NAMED {
        words.push(format!("and {} more", all.len() - NAMED));
    }
    words.join(", ")
}
