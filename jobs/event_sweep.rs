//! Compares what Stripe says that happened with the events that came: a webhook that was lost for good is taken in all the same.
//!
//! Stripe tries for three days and then never again, and an endpoint that was switched off gets nothing at all; its list
//! keeps thirty days. A window is read page by page, each in a commit of its own, so that a worker that dies goes on with
//! the page that it had. An event that nobody knows becomes the job that its webhook would have become: what came
//! meanwhile, or comes later, finds it in the inbox, and nothing is done twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::payment_confirmation::PaymentConfirmation;
use super::{Called, Job, Loaded, Rules, taken};
use crate::config::OrderSettings;
use crate::domain::offer::STRIPE;
use crate::domain::webhook::WebhookPayload;
use crate::ids::JobId;
use crate::job::{Calls, Dependency, Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::stripe::{EventPage, EventSpan};
use crate::store::event_windows::{self, Window};
use crate::store::{Tx, jobs};

/// One sweep is open at a time.
const KEY: &str = "event-sweep";

/// Whose events are compared; which of them, the table of windows says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSweep {
    /// A provider that has a list of them: `stripe`.
    pub provider: String,
}

impl Payload for EventSweep {
    const KIND: &'static str = "event-sweep";
    const LANE: Lane = Lane::Housekeeping;
    const CALLS: Calls = Calls::Always(Dependency::Stripe);
    const LIMITS: Limits = Limits {
        attempts: 8,
        // Hundreds of pages of a fifth of a second; the next attempt goes on where this one was.
        deadline: Duration::from_mins(2),
        // The next sweep opens the same window again.
        max_age: Duration::from_hours(1),
        slice: 1,
        settle: 1,
        calls: 1,
    };

    fn subject(&self) -> Uuid {
        Uuid::nil()
    }
}

impl Job for EventSweep {
    type Plan = Window;
    type Receipt = EventPage;

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Step<Window>>, Failure> {
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            let window = event_windows::open(tx, &loaded.job.provider, lag(&rules.orders)).await?;
            steps.push(window.map_or(Step::Done, Step::Call));
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Window, to: &Providers) -> Result<EventPage, Failure> {
        let span = EventSpan { from: plan.from, to: plan.to, after: plan.after.clone() };
        Ok(to.stripe.events(&span).await?)
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            verdicts.push(compared(tx, called).await?);
        }
        Ok(verdicts)
    }

    /// Nothing is lost: the window stays open, and the next sweep goes on with it.
    async fn buried(&self, _id: JobId, _failure: &Failure, _tx: &mut Tx) -> Result<(), Failure> {
        Ok(())
    }
}

/// Takes in what a page tells of and nobody knew, and turns it.
async fn compared(tx: &mut Tx, called: &Called<EventSweep>) -> Result<Verdict, Failure> {
    let (provider, page) = (called.loaded.job.provider.as_str(), &called.receipt);
    // What names no event can't be taken in, by whatever way it comes.
    let told: Vec<WebhookPayload> =
        page.events.iter().filter_map(|event| WebhookPayload::stripe(event.clone()).ok()).collect();
    let (seen, missed) = (told.len(), taken::missed(tx, told).await?);
    let names: Vec<&str> = missed.iter().map(|event| event.event_id.as_str()).collect();
    if !names.is_empty() {
        tracing::warn!(events = names.join(" "), "these webhooks never came: their events are taken in now");
    }
    let cause = called.loaded.cause();
    let late = missed.into_iter().map(|event| {
        let key = format!("event:{}:{}", event.provider, event.event_id);
        NewJob::of(&PaymentConfirmation(event), &cause).once(key)
    });
    let added = jobs::insert(tx, late.collect()).await?;
    metrics::counter!("orderfleet_events_compared_total").increment(u64::try_from(seen).unwrap_or_default());
    metrics::counter!("orderfleet_events_missed_total").increment(u64::try_from(added).unwrap_or_default());
    match page.next_after() {
        Some(last) => {
            event_windows::turn(tx, provider, last).await?;
            Ok(Verdict::Again)
        }
        // A window is over when its last page was read, and not when a page says nothing.
        None if page.has_more => {
            Ok(Verdict::Refused(Failure::retry("no_next_page", "the page ends with no event")))
        }
        None => {
            event_windows::close(tx, provider, &called.plan).await?;
            Ok(Verdict::Done)
        }
    }
}

fn lag(settings: &OrderSettings) -> Duration {
    Duration::from_secs(settings.event_sync_seconds)
}

/// Inserts a comparison, where one is due and none is under way.
pub(super) async fn sweep(tx: &mut Tx, settings: &OrderSettings) -> Result<(), Failure> {
    if event_windows::is_due(tx, STRIPE, lag(settings)).await? {
        jobs::insert(tx, vec![NewJob::of(&EventSweep { provider: STRIPE.to_owned() }, "sweep").once(KEY)])
            .await?;
    }
    Ok(())
}
