//! Hears what became of mails: marks the notices, and takes addresses that bounced or complained off the mail.
//!
//! News are no orders: a word of less weight changes nothing, one about a mail of somebody else's changes no notice, and an
//! address that came back for good gets none whoever wrote to it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Called, Job, Loaded, Never, Rules, taken};
use crate::domain::key::unhex;
use crate::domain::mail_news::{MailNews, Outcome};
use crate::domain::webhook::WebhookPayload;
use crate::ids::JobId;
use crate::job::{Failure, Lane, Limits, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::store::inbox::Fate;
use crate::store::suppressions::{self, Reason};
use crate::store::{Tx, communications};

/// A message of a mail service, as the intake took it in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailTold(pub WebhookPayload);

impl Payload for MailTold {
    const KIND: &'static str = "mail-news";
    // Not the mails' own lane: that stands still while the mail server is away, and these call nobody.
    const LANE: Lane = Lane::Housekeeping;
    const LIMITS: Limits = Limits {
        attempts: 8,
        // Nothing outside is asked; a message may tell of a thousand mails.
        deadline: Duration::from_secs(15),
        max_age: Duration::from_hours(24),
        slice: 8,
        settle: 8,
        calls: 1,
    };

    fn subject(&self) -> Uuid {
        self.0.subject()
    }
}

impl Job for MailTold {
    type Plan = Never;
    type Receipt = Never;

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Never>>, Failure> {
        let settled = taken::take(tx, jobs, |job| &job.0).await?;
        let new: Vec<&WebhookPayload> = jobs
            .iter()
            .zip(settled)
            .filter(|(_, settled)| !settled)
            .map(|(loaded, _)| &loaded.job.0)
            .collect();
        let mut ends = BTreeMap::new();
        let mut marks = BTreeMap::new();
        for webhook in &new {
            for news in read(webhook)? {
                take(news, &webhook.event_id, &mut marks, &mut ends);
            }
        }
        // Both in the order of their keys: two slices that wrote in different orders would deadlock.
        for (message_id, (outcome, source)) in marks {
            let hash = communications::heard(tx, &message_id, outcome).await?;
            if let (Some(hash), Some(reason)) = (hash, reason(outcome)) {
                ends.entry(hash).or_insert((reason, source));
            }
        }
        for (hash, (reason, source)) in ends {
            if suppressions::add(tx, &hash, reason, &source).await? {
                metrics::counter!("orderfleet_email_addresses_suppressed_total").increment(1);
            }
        }
        for webhook in new {
            taken::resolve(tx, webhook, Fate::Applied, "heard").await?;
        }
        Ok(jobs.iter().map(|_| Step::Done).collect())
    }

    async fn call(&self, plan: &Never, _to: &Providers) -> Result<Never, Failure> {
        match *plan {}
    }

    async fn settle(_back: &[Called<Self>], _tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        Ok(Vec::new())
    }

    /// The inbox says that it was given up; a replay takes it up again.
    async fn buried(&self, _id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        taken::give_up(tx, &self.0, failure.code).await
    }
}

/// What was heard of each mail, and of whom no mail wants to be.
fn take(
    news: MailNews,
    event: &str,
    marks: &mut BTreeMap<String, (Outcome, String)>,
    ends: &mut BTreeMap<Vec<u8>, (Reason, String)>,
) {
    let MailNews { outcome, message_id, recipient } = news;
    if let (Some(hash), Some(reason)) = (recipient.and_then(|hash| unhex(&hash)), reason(outcome)) {
        ends.entry(hash).or_insert((reason, event.to_owned()));
    }
    if let Some(message_id) = message_id {
        let known = marks.entry(message_id).or_insert((outcome, event.to_owned()));
        if outcome > known.0 {
            *known = (outcome, event.to_owned());
        }
    }
}

fn read(webhook: &WebhookPayload) -> Result<Vec<MailNews>, Failure> {
    serde_json::from_value(webhook.event.clone())
        .map_err(|error| Failure::new(crate::job::Class::Data, "unreadable_event", error))
}

const fn reason(outcome: Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Bounced => Some(Reason::Bounced),
        Outcome::Complained => Some(Reason::Complained),
        Outcome::Deferred | Outcome::Delivered => None,
    }
}
