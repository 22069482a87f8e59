//! `orderfleet orders`: one order's whole timeline, and what is stuck.

use std::process::ExitCode;

use clap::Subcommand;

use crate::config::Settings;
use crate::domain::money::Amount;
use crate::ops::stuck;
use crate::roles::CommandError;
use crate::store::Store;
use crate::store::timeline::{OrderName, Timeline};
use crate::terminal::{say, say_json};
use crate::time::Clock;

#[derive(Debug, Subcommand)]
pub(super) enum OrdersCommand {
    /// Show an order's whole life.
    Show {
        /// Its id (`ord_…`), its intent's id (`int_…`), or its number (`OF-…`).
        id: String,
        #[arg(long)]
        json: bool,
    },
    /// List what does not go on by itself, why, and what can safely be done about each.
    Stuck {
        /// How many for each reason, the oldest first.
        #[arg(long, value_name = "N", default_value_t = stuck::SHOWN, value_parser = clap::value_parser!(i64).range(1..=1_000))]
        limit: i64,
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: OrdersCommand, settings: &Settings) -> Result<ExitCode, CommandError> {
    let store = Store::new(&settings.postgres)?;
    let (id, json) = match command {
        OrdersCommand::Show { id, json } => (id, json),
        OrdersCommand::Stuck { limit, json } => {
            let lines = stuck::look(&store, &settings.orders, limit).await?;
            if json {
                say_json(&lines);
            } else {
                say(stuck::render(&lines, Clock::real().now()).trim_end());
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    let Some(timeline) = store.timeline(&OrderName::read(&id), None).await? else {
        return Err(CommandError::Refused(format!(
            "there is no order {id}. An intent that was rejected has none: \
             `GET /v1/order-intents/{{id}}` says why; one that is still queued has none yet"
        )));
    };
    if json {
        say_json(&timeline);
    } else {
        show(&timeline);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(order: &Timeline) {
    let money = |minor: i64| money(minor, &order.currency);
    say(&format!("{}  {}", order.order_number, order.status));
    say(&format!("  order {}   intent {}   customer {}", order.order_id, order.intent_id, order.customer_id));
    if let Some(trace) = &order.trace_id {
        say(&format!("  trace {trace}"));
    }
    say(&format!(
        "  total {}   captured {}   refunded {}\n",
        money(order.total_minor),
        money(order.captured_minor),
        money(order.refunded_minor)
    ));
    let mut day = String::new();
    for moment in &order.moments {
        let today = moment.at.format("%Y-%m-%d").to_string();
        if today != day {
            say(&format!("  {today} (UTC)"));
            day = today;
        }
        let amount = moment.minor.zip(moment.currency.as_deref());
        let amount =
            amount.map(|(minor, currency)| format!("  {}", self::money(minor, currency))).unwrap_or_default();
        let letter = moment.letter.map(|letter| format!("  {letter}")).unwrap_or_default();
        let time = moment.at.format("%H:%M:%S%.3f");
        say(&format!("  {time}  {:11} {}{amount}{letter}", moment.about, moment.what));
    }
    if !order.open.is_empty() {
        say("\n  open:");
        order.open.iter().for_each(|open| say(&format!("    {open}")));
    }
}

fn money(minor: i64, currency: &str) -> String {
    match currency.parse() {
        Ok(currency) => Amount::new(minor, currency).to_string(),
        Err(_) => format!("{minor} {currency}"),
    }
}
