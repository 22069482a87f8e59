//! `orderfleet demo`: a web tier and its customers, in small. Places orders through the intake, pays them at the sandbox as
//! a browser would, follows each to its end, and sums up what came of them, audit included.
//!
//! It behaves as a client should: one idempotency key for each order, the same key again after a 503 or a lost answer.
//! It refuses where the providers are not the sandbox: it must never move real money.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::sleep;

use crate::config::Settings;
use crate::dev::read_key;
use crate::domain::catalogue::CatalogueRow;
use crate::ids::{OrderId, random_hex};
use crate::roles::{self, CommandError};
use crate::sandbox::look;
use crate::store::Store;
use crate::store::progress::Progress;
use crate::store::stock::Change;
use crate::terminal::{say, say_json};
use crate::time::Stopwatch;

mod shop;
mod summary;

use shop::{Outcome, Shop};
use summary::Summary;

/// Customers at once: more than a small shop ever has, fewer than connections cost.
const AT_ONCE: usize = 32;
/// Buyers of a herd at once.
const HERD_AT_ONCE: usize = 400;
/// Articles that a run buys: enough that orders meet on one now and then, as in a shop.
const ARTICLES: i64 = 24;
/// How often the fleet's progress is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// The pause after a look is so many times what it took: a run of hundreds that waits for long must not load what it watches.
const SHARE: u32 = 50;
/// How long the sandbox may take to say that it is one.
const FIND: Duration = Duration::from_secs(3);

/// What `orderfleet demo` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArguments {
    /// How many orders to place, pay and follow.
    #[arg(long, default_value_t = 20, conflicts_with = "buyers")]
    orders: usize,
    /// A flash sale: how many buyers come at once for one article. Nobody pays.
    #[arg(long, requires = "stock")]
    buyers: Option<usize>,
    /// A flash sale: how many pieces there are.
    #[arg(long, requires = "buyers")]
    stock: Option<i64>,
    /// The intake, where it is not the one of this folder.
    #[arg(long, value_name = "URL")]
    intake: Option<String>,
    /// An API key of role service, where it is not the one that `dev` made in this folder.
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// How long to follow the orders.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    patience: u64,
    #[arg(long)]
    json: bool,
}

/// Runs the demonstration. Ends with 1 where an order did not come to its end, or an invariant does not hold.
pub async fn run(arguments: DemoArguments, settings: Settings) -> Result<ExitCode, CommandError> {
    let sandbox = look::find(&settings.stripe.api_base, FIND).await.ok_or_else(|| {
        CommandError::Refused(
            "the payment provider is not a sandbox that answers, and the demo must never move real money. Start \
             `orderfleet dev` in this folder first, or point STRIPE_API_BASE at a running `orderfleet sandbox`"
                .to_owned(),
        )
    })?;
    let folder = std::path::Path::new(".orderfleet");
    let key = arguments.api_key.clone().or_else(|| read_key(folder)).ok_or_else(|| {
        CommandError::Refused(
            "no API key: give `--api-key`, or run this in the folder of `orderfleet dev`".to_owned(),
        )
    })?;
    let intake = arguments.intake.clone().unwrap_or_else(|| format!("http://{}", settings.intake.address));
    let shop = Arc::new(Shop::new(&intake, &key, sandbox)?);
    let store = Store::new(&settings.postgres)?;
    let summary = match (arguments.buyers, arguments.stock) {
        (Some(buyers), Some(stock)) => herd(&arguments, &shop, &store, (buyers, stock)).await?,
        _ => orders(&arguments, &shop, &store).await?,
    };
    let summary = summary.with_audit(&roles::examine(&settings, true).await?);
    if arguments.json {
        say_json(&summary);
    } else {
        say(&summary.to_string());
    }
    Ok(if summary.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn orders(arguments: &DemoArguments, shop: &Arc<Shop>, store: &Store) -> Result<Summary, CommandError> {
    let (watch, run, count) = (Stopwatch::start(), random_hex::<4>(), arguments.orders);
    let skus = stocked(store, &run, count).await?;
    let bar = bar(arguments, u64::try_from(count).unwrap_or(u64::MAX), "placed and paid");
    let outcomes: Vec<Outcome> = futures::stream::iter(0..count)
        .map(|number| {
            let (shop, run, bar) = (Arc::clone(shop), run.clone(), bar.clone());
            let sku = skus.get(number % skus.len().max(1)).cloned().unwrap_or_default();
            async move {
                let patience = Duration::from_secs(arguments.patience);
                let outcome = shop.buy_and_pay(&run, number, &sku, patience).await;
                bar.inc(1);
                outcome
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    bar.finish_and_clear();
    let ids: Vec<OrderId> = outcomes.iter().filter_map(|outcome| outcome.order).collect();
    let progress = follow(arguments, store, &ids, &watch).await?;
    Ok(Summary::of_orders(count, &outcomes, &progress, shop.mails_of(&run).await, watch.elapsed()))
}

/// The articles that are bought: the best stocked, and each with enough for its share of the orders.
async fn stocked(store: &Store, run: &str, orders: usize) -> Result<Vec<String>, CommandError> {
    let articles = store.best_stocked(ARTICLES).await?;
    if articles.is_empty() {
        let hint =
            "the shop sells nothing: bring articles in with `orderfleet catalog import config/catalogue.csv`";
        return Err(CommandError::Refused(hint.to_owned()));
    }
    let share = i64::try_from(orders.div_ceil(articles.len())).unwrap_or(i64::MAX);
    for (sku, available) in &articles {
        if *available < share {
            store.change_stock(sku, Change::Adjust(share - available), &format!("demo:{run}:{sku}")).await?;
        }
    }
    Ok(articles.into_iter().map(|(sku, _)| sku).collect())
}

/// Waits until every order is labelled and its mails are out, or patience ends.
async fn follow(
    arguments: &DemoArguments,
    store: &Store,
    ids: &[OrderId],
    watch: &Stopwatch,
) -> Result<Progress, CommandError> {
    let bar = bar(arguments, u64::try_from(ids.len()).unwrap_or(u64::MAX), "labelled and mailed");
    loop {
        // A Postgres that is away for a moment is no reason to give up.
        let looking = Stopwatch::start();
        let progress = store.progress(ids).await.unwrap_or_default();
        bar.set_position(progress.complete);
        let done = usize::try_from(progress.complete).is_ok_and(|complete| complete == ids.len());
        if done || watch.elapsed() > Duration::from_secs(arguments.patience) {
            bar.finish_and_clear();
            return Ok(progress);
        }
        sleep(LOOK.max(looking.elapsed() * SHARE)).await;
    }
}

/// Many buyers, few pieces.
async fn herd(
    arguments: &DemoArguments,
    shop: &Arc<Shop>,
    store: &Store,
    (buyers, stock): (usize, i64),
) -> Result<Summary, CommandError> {
    let (run, sku) = (random_hex::<4>(), format!("FLASH-{}", random_hex::<4>().to_uppercase()));
    store.import_catalogue(&[flash_article(&sku, stock)]).await?;
    shop.until_known(&run, &sku).await;
    let watch = Stopwatch::start();
    let bar = bar(arguments, u64::try_from(buyers).unwrap_or(u64::MAX), "answered");
    let outcomes: Vec<Outcome> = futures::stream::iter(0..buyers)
        .map(|number| {
            let (shop, run, sku, bar) = (Arc::clone(shop), run.clone(), sku.clone(), bar.clone());
            async move {
                let outcome = shop.buy(&run, number, &sku, Duration::from_secs(arguments.patience)).await;
                bar.inc(1);
                outcome
            }
        })
        .buffer_unordered(HERD_AT_ONCE)
        .collect()
        .await;
    bar.finish_and_clear();
    Ok(Summary::of_herd(buyers, stock, &outcomes, watch.elapsed()))
}

/// An article that only this flash sale sells.
fn flash_article(sku: &str, stock: i64) -> CatalogueRow {
    CatalogueRow {
        sku: sku.to_owned(),
        name: "Flash sale tie".to_owned(),
        prices: vec![("USD".to_owned(), 1_900)],
        weight_g: 90,
        size_mm: (300, 80, 20),
        customs: ("621510".to_owned(), "NP".to_owned(), "Tie, silk".to_owned()),
        tax_class: "standard".to_owned(),
        vendor: "demo".to_owned(),
        on_hand: stock,
    }
}

fn bar(arguments: &DemoArguments, length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if arguments.json {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("  {bar:40.green/dim} {pos:>5}/{len} {msg}  {elapsed}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}
