//! `POST /webhooks/stripe`, `POST /webhooks/easypost`, `/webhooks/payments/{provider}` and
//! `/webhooks/mail/{provider}` of the configured ones.
//!
//! Verified over the raw bytes before anything reads them, pushed, answered: milliseconds, and never Postgres. The job's
//! id is made of the event's, so that the queue knows a repetition; one that comes after the job is done finds the
//! event in the inbox. Unknown types are taken in as well: what an event means is the job's to say. What is refused
//! leaves a count and its reason, nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::Extensions;
use axum::http::request::Parts;
use serde_json::{Value, json};
use tracing::{debug, error, warn};

use super::problem::{Code, Problem};
use super::refusals::Refusals;
use super::request::pushing;
use super::sender::{NotTaken, Sender, Sent};
use super::{Door, request};
use crate::domain::webhook::WebhookPayload;
use crate::ids::JobId;
use crate::job::{Band, Listed};
use crate::jobs::mail_news::MailTold;
use crate::jobs::payment_confirmation::PaymentConfirmation;
use crate::jobs::tracking::Tracking;
use crate::queue::{Copy, Origin, Pushed};
use crate::telemetry::spans::Begun;

pub(super) async fn stripe(State(door): State<Arc<Door>>, request: Request) -> Result<Json<Value>, Problem> {
    let (head, event) = proved(&door, Sender::Stripe(&door.stripe), request).await?;
    let (id, job) = (event.job_id(), PaymentConfirmation(event));
    take_in(&door, id, &job, &head.extensions).await
}

pub(super) async fn easypost(
    State(door): State<Arc<Door>>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (head, event) = proved(&door, Sender::EasyPost(&door.easypost), request).await?;
    let (id, job) = (event.job_id(), Tracking(event));
    take_in(&door, id, &job, &head.extensions).await
}

/// A configured provider posts its message, or has its customer's browser bring it.
pub(super) async fn configured(
    State(door): State<Arc<Door>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let unknown = || Problem::new(Code::NotFound, "no payment provider of this name is set up here");
    let Path(name) = name.map_err(|_| unknown())?;
    let provider = door.offers.configured(&name).ok_or_else(unknown)?;
    let (head, event) = proved(&door, Sender::Payments(&name, provider), request).await?;
    let (id, job) = (event.job_id(), PaymentConfirmation(event));
    take_in(&door, id, &job, &head.extensions).await
}

/// A mail service tells what became of mails.
pub(super) async fn mail(
    State(door): State<Arc<Door>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let unknown = || Problem::new(Code::NotFound, "no mail service of this name is set up here");
    let Path(name) = name.map_err(|_| unknown())?;
    let service = door.mail.get(&name).ok_or_else(unknown)?;
    let (head, event) = proved(&door, Sender::Mail(&name, service), request).await?;
    let (id, job) = (event.job_id(), MailTold(event));
    take_in(&door, id, &job, &head.extensions).await
}

/// What this sender said, once that is proved.
async fn proved(
    door: &Door,
    sender: Sender<'_>,
    request: Request,
) -> Result<(Parts, WebhookPayload), Problem> {
    let (head, body) = request.into_parts();
    let bytes = request::body(&head.headers, body, door.settings.max_webhook_bytes).await?;
    let sent = Sent { headers: &head.headers, query: head.uri.query(), body: &bytes };
    let event = sender
        .event(&sent, door.clock.unix_seconds())
        .map_err(|cause| refused(&door.refusals, &sender, &cause))?;
    Ok((head, event))
}

async fn take_in<J: Listed>(
    door: &Door,
    id: JobId,
    job: &J,
    extensions: &Extensions,
) -> Result<Json<Value>, Problem> {
    if let Some(wait) = door.capacity.webhooks(J::LANE) {
        let detail = "nothing was taken in: too many events wait";
        return Err(Problem::new(Code::OverCapacity, detail).retry_after(wait));
    }
    let body = serde_json::to_vec(job).map_err(|fault| {
        error!(%fault, "an event can not be written");
        Problem::new(Code::Internal, "the event can not be written")
    })?;
    let copy = Copy {
        id,
        kind: J::KIND.to_owned(),
        lane: J::LANE,
        band: Band::Normal,
        origin: Origin::Intake,
        attempts: 0,
        delay: Duration::ZERO,
        body,
        traceparent: request::trace(extensions),
    };
    let begun = Begun::under(copy.traceparent);
    let pushed = door.queue.push(&[copy]).await;
    if let Some(begun) = begun {
        pushing(begun, J::KIND, pushed.as_ref().err()).with("orderfleet.job", id.to_string()).record();
    }
    let pushed = pushed?;
    let is_new = pushed.first() == Some(&Pushed::Queued);
    debug!(job = %id, kind = J::KIND, is_new, "webhook taken in");
    Ok(Json(json!({ "received": true })))
}

/// What its sender is told. One that is not believed is counted, and leaves nothing else.
fn refused(refusals: &Refusals, sender: &Sender<'_>, cause: &NotTaken) -> Problem {
    let code = match cause {
        NotTaken::Refused(_) => Code::BadSignature,
        NotTaken::NotJson(_) => return Problem::new(Code::MalformedJson, cause.to_string()),
        NotTaken::NoEvent(_) => return Problem::new(Code::NoEvent, cause.to_string()),
    };
    let (provider, reason) = (sender.name(), cause.code());
    metrics::counter!("orderfleet_webhook_refused_total", "provider" => provider.to_owned(), "reason" => reason)
        .increment(1);
    refusals.add(provider, reason);
    warn!(provider, reason, "webhook refused");
    Problem::new(code, cause.to_string()).because(reason)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::signature::{Refused, StripeSignature};

    /// What is authentic and says nothing is another matter: nobody tries to deceive us.
    #[test]
    fn p10_what_is_not_believed_is_counted_once_by_who_is_said_to_have_sent_it_and_why() {
        let signature = StripeSignature::new(["whsec_ours"], 300).unwrap();
        let sender = Sender::Stripe(&signature);
        let causes = [
            Refused::Missing,
            Refused::Malformed("no time"),
            Refused::NoScheme("v1"),
            Refused::Mismatch,
            Refused::TooOld { age_seconds: 301, tolerance_seconds: 300 },
            Refused::TooNew { ahead_seconds: 301, tolerance_seconds: 300 },
        ];
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let authentic =
                [NotTaken::NotJson("line 1".to_owned()), NotTaken::NoEvent("it has no id".to_owned())];
            let all = causes.iter().cloned().map(NotTaken::Refused).chain(authentic);
            all.for_each(|cause| drop(refused(&Refusals::default(), &sender, &cause)));
        });
        let shown = recorder.handle().render();
        for cause in &causes {
            let reason = cause.code();
            let line =
                format!("orderfleet_webhook_refused_total{{provider=\"stripe\",reason=\"{reason}\"}} 1\n");
            assert!(shown.contains(&line), "{reason}: {shown}");
        }
        assert_eq!(shown.matches("orderfleet_webhook_refused_total{").count(), causes.len(), "{shown}");
    }
}
