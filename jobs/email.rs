//! Sends one notice, settled right after the mail server's 250.
//!
//! SMTP has no idempotency key: if this process dies between the server's yes and our commit, nobody knows whether the
//! mail went out. It is sent again under the same Message-ID, so that a second copy can be recognised, and counted as a
//! possible duplicate. What provably did not go out is no such thing. An address that bounced or complained gets none: the
//! notice says so, and no dead letter.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Called, Job, Loaded, Rules, letter};
use crate::ids::{CommunicationId, JobId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::smtp::Mail;
use crate::store::communications::{self, Communication};
use crate::store::effects::{self, EffectState, NewEffect, Proof};
use crate::store::{Tx, suppressions};

/// Which notice.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The notice.
    pub communication: CommunicationId,
}

impl Payload for Email {
    const KIND: &'static str = "email";
    const LANE: Lane = Lane::Mail;
    const CALLS: Calls = Calls::Always(Dependency::Smtp);
    const LIMITS: Limits = Limits {
        attempts: 15,
        // Above the mail server's time-out of 8 s for each of a few commands.
        deadline: Duration::from_secs(30),
        // As long as mail servers try among themselves.
        max_age: Duration::from_hours(72),
        slice: 16,
        // One by one: each receipt is written the moment it is there.
        settle: 1,
        calls: 4,
    };

    fn subject(&self) -> Uuid {
        self.communication.uuid()
    }
}

/// The mail, as it was first written.
#[derive(Clone, Debug)]
pub struct Send {
    effect: String,
    mail: Mail,
}

impl Job for Email {
    type Plan = Send;
    type Receipt = ();

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Step<Send>>, Failure> {
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            let step = match communications::take(tx, loaded.job.communication).await? {
                Some(notice) => {
                    notice.order.inspect(|order| tx.about(loaded.id, *order));
                    plan(tx, rules, loaded, &notice).await?
                }
                None => Step::Done,
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Send, to: &Providers) -> Result<(), Failure> {
        Ok(to.mailer.send(&plan.mail).await?)
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        for called in back {
            communications::sent(tx, called.loaded.job.communication).await?;
        }
        Ok(back.iter().map(|_| Verdict::Done).collect())
    }

    async fn buried(&self, _id: JobId, _failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        Ok(communications::failed(tx, self.communication).await?)
    }

    /// What was refused for good was not sent: it waits to be sent again.
    async fn replayed(jobs: &[Loaded<Self>], tx: &mut Tx) -> Result<(), Failure> {
        let ids: Vec<CommunicationId> = jobs.iter().map(|loaded| loaded.job.communication).collect();
        let taken_up = communications::take_up(tx, &ids).await?;
        let names: Vec<String> = taken_up.into_iter().map(effect_name).collect();
        Ok(effects::take_up(tx, &names).await?)
    }

    fn effect(plan: &Send) -> Option<&str> {
        Some(&plan.effect)
    }

    fn proof(plan: &Send, _receipt: &()) -> Option<Proof> {
        Some(Proof {
            effect: plan.effect.clone(),
            provider_ref: plan.mail.message_id.clone(),
            receipt: serde_json::json!({ "accepted": true }),
        })
    }
}

fn effect_name(notice: CommunicationId) -> String {
    format!("mail:{notice}")
}

/// Writes the mail once, and freezes it.
async fn plan(
    tx: &mut Tx,
    rules: &Rules,
    loaded: &Loaded<Email>,
    notice: &Communication,
) -> Result<Step<Send>, Failure> {
    let name = effect_name(notice.id);
    if suppressions::holds(tx, &notice.recipient_hash).await? && suppress(tx, notice, &name).await? {
        return Ok(Step::Done);
    }
    let (mail, _language) = letter::write(tx, (&rules.shop, &rules.wording), notice).await?;
    let request = serde_json::to_value(&mail).unwrap_or(Value::Null);
    let wanted = NewEffect { name: name.clone(), request, job: loaded.id };
    let effect = effects::begin(tx, &[wanted]).await?.remove(&name);
    let effect = effect.ok_or_else(|| Failure::retry("no_effect", "the effect's row is gone"))?;
    if effect.before == EffectState::Done {
        communications::sent(tx, notice.id).await?;
        return Ok(Step::Done);
    }
    let maybe_sent = matches!(effect.before, EffectState::InFlight | EffectState::Unknown);
    communications::sending(tx, notice.id, &mail.message_id, maybe_sent).await?;
    if maybe_sent {
        // A try that provably sent nothing must not be counted as a second doubt.
        effects::sent_again(tx, &name).await?;
        metrics::counter!("orderfleet_email_possible_duplicate_total").increment(1);
    }
    let mail = serde_json::from_value(effect.request)
        .map_err(|error| Failure::permanent("unreadable_mail", error))?;
    Ok(Step::Call(Send { effect: name, mail }))
}

/// Its address gets no mail: this one is over, unless it may be there already; then it is seen to its end.
async fn suppress(tx: &mut Tx, notice: &Communication, effect: &str) -> Result<bool, Failure> {
    match effects::state_of(tx, effect).await? {
        Some(EffectState::InFlight | EffectState::Unknown | EffectState::Done) => return Ok(false),
        Some(EffectState::Pending | EffectState::Failed) | None if notice.is_in_doubt => return Ok(false),
        Some(EffectState::Pending | EffectState::Failed) | None => {}
    }
    effects::mark(tx, effect, EffectState::Failed).await?;
    communications::suppressed(tx, notice.id).await?;
    metrics::counter!("orderfleet_email_suppressed_total").increment(1);
    Ok(true)
}
