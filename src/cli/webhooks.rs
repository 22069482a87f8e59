//! `orderfleet webhooks verify`: why is this webhook refused? The intake's own verdict on a request that was kept.
//!
//! It judges by the code that the routes judge by, and adds what a person would try next: another time, the body as it
//! was before an editor added a line. It sends and stores nothing, and shows no secret.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, TimeZone, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::{Need, Settings};
use crate::domain::webhook::WebhookPayload;
use crate::ids::JobId;
use crate::intake::{NotTaken, Sender, Sent};
use crate::roles::{CommandError, verifiers};
use crate::signature::Refused;
use crate::terminal::{say, say_json};
use crate::time::Clock;

#[derive(Debug, Subcommand)]
pub(super) enum WebhooksCommand {
    /// Say whether the intake would take a webhook in, and if not, why. The body comes on standard input.
    Verify(VerifyArguments),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// Who sent it: `stripe`, `easypost`, or the name of a configured payment provider or mail service.
    provider: String,
    /// A header of the request, such as 'Stripe-Signature: t=…,v1=…'; once for each.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What stood behind the question mark of its address, for providers that send their message there.
    #[arg(long, value_name = "NAME=VALUE&…")]
    query: Option<String>,
    /// When it came: a time (RFC 3339), or unix seconds; now, if not said.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<DateTime<Utc>>,
    #[arg(long)]
    json: bool,
}

/// What the intake would answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Verdict {
    provider: String,
    accepted: bool,
    /// The HTTP status.
    status: u16,
    /// In one word, as in the metric `orderfleet_webhook_refused_total`.
    reason: &'static str,
    detail: String,
    /// What to do next.
    advice: Vec<String>,
    event: Option<Event>,
    judged_at: DateTime<Utc>,
    body_bytes: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    object_id: String,
    job_id: JobId,
}

/// What this command needs: one provider's secrets, and no server.
pub(super) fn needs(command: &WebhooksCommand) -> &'static [Need] {
    let WebhooksCommand::Verify(arguments) = command;
    match arguments.provider.as_str() {
        "stripe" => &[Need::StripeWebhook],
        "easypost" => &[Need::EasyPostWebhook],
        _ => &[],
    }
}

pub(super) fn run(command: WebhooksCommand, settings: &Settings) -> Result<ExitCode, CommandError> {
    let WebhooksCommand::Verify(arguments) = command;
    let (offers, mail) = (verifiers::offers(settings)?, verifiers::mail(settings)?);
    let (stripe, easypost);
    let sender = match arguments.provider.as_str() {
        "stripe" => {
            stripe = verifiers::stripe(settings)?;
            Sender::Stripe(&stripe)
        }
        "easypost" => {
            easypost = verifiers::easypost(settings)?;
            Sender::EasyPost(&easypost)
        }
        name => match (offers.configured(name), mail.get(name)) {
            (Some(provider), _) => Sender::Payments(name, provider),
            (None, Some(service)) => Sender::Mail(name, service),
            (None, None) => return Err(unknown(name, settings)),
        },
    };
    let body = body(settings.intake.max_webhook_bytes)?;
    let headers: HeaderMap = arguments.headers.into_iter().collect();
    let sent = Sent { headers: &headers, query: arguments.query.as_deref(), body: &body };
    let at = arguments.at.unwrap_or_else(|| Clock::real().now());
    let verdict = judge(&sender, &sent, at, settings.intake.max_webhook_bytes);
    if arguments.json {
        say_json(&verdict);
    } else {
        show(&verdict);
    }
    Ok(if verdict.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge(sender: &Sender<'_>, sent: &Sent<'_>, at: DateTime<Utc>, most: usize) -> Verdict {
    let length = sent.body.len();
    let verdict = Verdict {
        provider: sender.name().to_owned(),
        accepted: false,
        status: 400,
        reason: "accepted",
        detail: String::new(),
        advice: Vec::new(),
        event: None,
        judged_at: at,
        body_bytes: length,
    };
    if length > most {
        let detail =
            format!("the body is longer than the {most} bytes that are taken (intake.max_webhook_bytes)");
        return Verdict { status: 413, reason: "too_large", detail, ..verdict };
    }
    match sender.event(sent, at.timestamp()) {
        Ok(event) => {
            let event = Event::of(event);
            let advice = format!("`orderfleet queues why {}` says what became of its job", event.job_id);
            let detail = "authentic, and it names an event".to_owned();
            Verdict {
                accepted: true,
                status: 200,
                detail,
                advice: vec![advice],
                event: Some(event),
                ..verdict
            }
        }
        Err(cause) => Verdict {
            reason: cause.code(),
            detail: cause.to_string(),
            advice: advice(sender, sent, at, &cause),
            ..verdict
        },
    }
}

impl Event {
    fn of(event: WebhookPayload) -> Self {
        let job_id = event.job_id();
        Self { id: event.event_id, kind: event.event_type, object_id: event.object_id, job_id }
    }
}

/// What a person would try next.
fn advice(sender: &Sender<'_>, sent: &Sent<'_>, at: DateTime<Utc>, cause: &NotTaken) -> Vec<String> {
    match cause {
        NotTaken::Refused(Refused::Mismatch) => mismatch(sender, sent, at),
        NotTaken::Refused(Refused::Missing) => {
            let given: Vec<&str> = sent.headers.keys().map(HeaderName::as_str).collect();
            let given = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
            vec![format!(
                "give the header that has the signature, as it came: {}. Headers given: {given}",
                example(sender)
            )]
        }
        NotTaken::Refused(Refused::Malformed(_) | Refused::NoScheme(_)) => {
            vec![format!("copy the header whole, as it came: {}", example(sender))]
        }
        NotTaken::Refused(Refused::TooOld { .. }) => vec![
            "--at TIME judges it as of when it came: where that is accepted, only this look is late".to_owned(),
            "where the intake refused it then: let NTP set this machine's clock (`orderfleet doctor` compares it), \
             and see what held it up on its way"
                .to_owned(),
        ],
        NotTaken::Refused(Refused::TooNew { .. }) => vec![
            "let NTP set this machine's clock (`orderfleet doctor` compares it), or see whether --at was meant earlier"
                .to_owned(),
        ],
        NotTaken::NotJson(_) | NotTaken::NoEvent(_) => vec![
            "whoever has the secret sent this: see which of their events or addresses it belongs to. A retry would \
             bring the same"
                .to_owned(),
        ],
    }
}

/// A mismatch says nothing by itself: what is known to have been the reason is tried, the rest is named.
fn mismatch(sender: &Sender<'_>, sent: &Sent<'_>, at: DateTime<Utc>) -> Vec<String> {
    let trimmed = sent.body.trim_ascii_end();
    let is_taken = |body| {
        let verdict = sender.event(&Sent { body, ..*sent }, at.timestamp());
        !matches!(verdict, Err(NotTaken::Refused(Refused::Mismatch)))
    };
    if trimmed.len() < sent.body.len() && is_taken(trimmed) {
        return vec![
            "without the line break at its end the body is what was signed: it was added when the body was saved. \
             Keep it byte for byte, such as by `printf %s`"
                .to_owned(),
        ];
    }
    let secret = match sender {
        Sender::Stripe(_) => {
            "compare the endpoint's signing secret in Stripe's dashboard (whsec_…; each endpoint has its own, and \
             `stripe listen` another) with STRIPE_WEBHOOK_SECRET"
                .to_owned()
        }
        Sender::EasyPost(_) => {
            "compare the webhook's secret in EasyPost's settings with EASYPOST_WEBHOOK_SECRET".to_owned()
        }
        Sender::Payments(name, _) => configured("payment_providers", name),
        Sender::Mail(name, _) => configured("mail_providers", name),
    };
    vec![
        secret,
        "give the body byte for byte as it came: a log, an editor or a JSON formatter changes it".to_owned(),
        "see whether a proxy in front of the intake rewrites bodies".to_owned(),
    ]
}

fn configured(section: &str, name: &str) -> String {
    format!(
        "compare the secret or key, and what is signed (`signs`, `fields`, `pair`, `join`, `encoding`), in \
         [{section}.{name}.signature] with the provider's documentation"
    )
}

fn example(sender: &Sender<'_>) -> &'static str {
    match sender {
        Sender::Stripe(_) => "--header 'Stripe-Signature: t=…,v1=…'",
        Sender::EasyPost(_) => "--header 'X-Hmac-Signature: hmac-sha256-hex=…'",
        Sender::Payments(..) | Sender::Mail(..) => {
            "--header 'NAME: VALUE', where `signature.place` says; --query for a redirect's message"
        }
    }
}

fn show(verdict: &Verdict) {
    let word = if verdict.accepted { "accepted" } else { "refused" };
    say(&format!(
        "{word}  {}, {} bytes, as of {}",
        verdict.provider,
        verdict.body_bytes,
        verdict.judged_at.format("%Y-%m-%d %H:%M:%S UTC")
    ));
    if let Some(Event { id, kind, object_id, job_id }) = &verdict.event {
        let about = if object_id.is_empty() { "nothing it names" } else { object_id };
        say(&format!("  event {id}, {kind}, about {about}: {job_id}"));
    } else {
        say(&format!("  {} {}: {}", verdict.status, verdict.reason, verdict.detail));
    }
    verdict.advice.iter().for_each(|line| say(&format!("  → {line}")));
}

fn unknown(name: &str, settings: &Settings) -> CommandError {
    let configured =
        settings.payment_providers.keys().chain(settings.mail_providers.keys()).map(String::as_str);
    let known = ["stripe", "easypost"].into_iter().chain(configured).collect::<Vec<_>>().join(", ");
    CommandError::Refused(format!(
        "no provider {name:?} sends webhooks here; those that do are {known}. Name one of them, or give the \
         configuration that has [payment_providers.{name}] by --config"
    ))
}

/// Standard input, up to one byte more than is taken: what is longer is too large, however long.
fn body(most: usize) -> Result<Vec<u8>, CommandError> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(CommandError::Refused(
            "the webhook's body comes on standard input: end the command with `< body.json`, where that file has the \
             body byte for byte"
                .to_owned(),
        ));
    }
    let mut body = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    input
        .take(most)
        .read_to_end(&mut body)
        .map_err(|error| CommandError::Io("standard input can not be read".to_owned(), error))?;
    Ok(body)
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written 'NAME: VALUE'")?;
    let name = name.trim().parse().map_err(|_| format!("{:?} is no header's name", name.trim()))?;
    let value = value.trim().parse().map_err(|_| "the value can't stand in a header".to_owned())?;
    Ok((name, value))
}

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    let seconds = text.parse().ok().and_then(|seconds| Utc.timestamp_opt(seconds, 0).single());
    let time = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    seconds.or_else(time).ok_or_else(|| "neither 2026-11-21T02:14:00Z nor unix seconds".to_owned())
}

#[cfg(test)]
mod tests;
