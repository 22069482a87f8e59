//! The outside world: the clients of Stripe, EasyPost and the mail server, and the one rule of what follows when they fail.
//!
//! A client makes one call and says how it ended; it never tries again, never sleeps and never reads the database. Trying
//! again is the queue's, because only it counts attempts and keeps them over a crash. What decides is not the status code
//! but what may have happened over there: [`Cause`] says that, and the [`Failure`] made of it is what a job returns.
//! A refused key is an outage and not the jobs' fault: no job dies of a rotated secret.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{EasyPostSettings, PaymentProviderSettings, SmtpSettings, StripeSettings};
use crate::job::{Class, Dependency, Failure, ProviderCode};

pub mod configured;
pub mod easypost;
mod http;
#[cfg(test)]
mod replay;
pub mod smtp;
pub mod stripe;

/// The longest wait that a provider may ask for: a longer one is a mistake, and the job's own backoff knows better.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// All that a job may call.
#[derive(Debug)]
pub struct Providers {
    /// Takes the money.
    pub stripe: stripe::Stripe,
    /// Take the money too, and can be asked how it stands; by their names.
    pub configured: BTreeMap<String, configured::StatusRoute>,
    /// Sells the labels.
    pub easypost: easypost::EasyPost,
    /// Carries the mail.
    pub mailer: smtp::Mailer,
}

impl Providers {
    /// Clients made of these settings. Connects to nobody yet.
    pub fn new(
        stripe: &StripeSettings,
        configured: &BTreeMap<String, PaymentProviderSettings>,
        easypost: &EasyPostSettings,
        smtp: &SmtpSettings,
    ) -> Result<Self, BadSettings> {
        Ok(Self {
            stripe: stripe::Stripe::new(stripe)?,
            configured: configured::routes(configured)?,
            easypost: easypost::EasyPost::new(easypost)?,
            mailer: smtp::Mailer::new(smtp)?,
        })
    }
}

/// Everybody whom jobs call with these settings: each has limits and a breaker of its own.
#[must_use]
pub fn called(configured: &BTreeMap<String, PaymentProviderSettings>) -> Vec<Dependency> {
    let asked = configured.iter().filter(|(_, provider)| provider.can_be_asked());
    let asked = asked.map(|(name, _)| Dependency::configured(name));
    Dependency::PROVIDERS.into_iter().chain(asked).collect()
}

/// Why a client can't be made of its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {fault}")]
pub struct BadSettings {
    /// The setting, as the configuration calls it.
    pub setting: &'static str,
    /// What is wrong with it; never its value, which may be a secret.
    pub fault: String,
}

impl BadSettings {
    fn new(setting: &'static str, fault: impl Into<String>) -> Self {
        Self { setting, fault: fault.into() }
    }
}

/// What a call does over there, which decides what a lost answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Changes nothing.
    Look,
    /// Changes something, but once more does no harm: an unbought shipment is free.
    Harmless,
    /// Changes something that counts: money, a label, a mail.
    Counts,
}

/// How a call did not end well, by what may have happened over there. The texts hold codes, field names and request ids,
/// never a provider's sentence: that may quote an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Our own request can't be put into their words.
    #[error("the request can't be made: {0}")]
    Impossible(String),
    /// Nobody was there: nothing was sent.
    #[error("not reached: {0}")]
    NotReached(String),
    /// The connection broke, or nothing came in time, before anything that counts was sent.
    #[error("broke off before it counted: {0}")]
    BrokeOff(String),
    /// It was sent, and then the line was silent.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// Answered with success, or so, in words that we can't read.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
    /// Answered that they have a fault.
    #[error("broken over there: {status} {about}")]
    Broken {
        /// The HTTP status.
        status: u16,
        /// Code and request id.
        about: Said,
    },
    /// Answered that we ask too much.
    #[error("throttled: {about}")]
    Throttled {
        /// When to come again, where they said so.
        after: Option<Duration>,
        /// Code and request id.
        about: Said,
    },
    /// Answered: not now. Nothing was done.
    #[error("not now: {0}")]
    NotNow(Said),
    /// Answered that it does not know us.
    #[error("credentials refused: {0}")]
    Credentials(Said),
    /// Answered: no, now and ever.
    #[error("refused: {0}")]
    Refused(Said),
    /// Answered that something else happened to it before, or still does: look before anything else is done.
    #[error("look first: {about}")]
    LookFirst {
        /// What they call it, in our words.
        code: &'static str,
        /// Code and request id.
        about: Said,
    },
}

/// What a provider answered, in words that may be shown: its code, where it has one, stands in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its code.
    pub code: Option<ProviderCode>,
    /// Code, fields concerned and request id.
    pub text: String,
}

impl Said {
    /// An answer with this code, such as `CARRIER.DOWN`; an empty one is none.
    fn coded(code: &str, text: impl Into<String>) -> Self {
        Self { code: ProviderCode::read(code), text: text.into() }
    }
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { code: None, text }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A call that did not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", .to.name())]
pub struct CallError {
    /// Whom we called.
    pub to: Dependency,
    /// What for.
    pub call: Call,
    /// How it ended.
    pub cause: Cause,
}

impl CallError {
    /// Whether they answered that something else happened to it before: look what.
    #[must_use]
    pub fn says_look_first(&self) -> bool {
        matches!(self.cause, Cause::LookFirst { .. })
    }

    /// Whether they answered that a bank wants the same money back: nothing went back beside it.
    #[must_use]
    pub fn says_disputed(&self) -> bool {
        matches!(self.cause, Cause::LookFirst { code: stripe::DISPUTED, .. })
    }

    /// Whether they answered that its key came with other words before: what was done under it is not known.
    #[must_use]
    pub fn says_key_reused(&self) -> bool {
        matches!(self.cause, Cause::LookFirst { code: stripe::KEY_REUSED, .. })
    }

    /// Whether they answered that what was to be bought is not offered any more: nothing was bought.
    #[must_use]
    pub fn says_rate_gone(&self) -> bool {
        matches!(self.cause, Cause::LookFirst { code: easypost::RATE_GONE, .. })
    }
}

/// Whether a look at something that there is not was answered as they answer it: then they are there and know our key.
fn known_here<T>(looked: Result<T, CallError>, absent: &str) -> Result<(), CallError> {
    match looked {
        Err(CallError { cause: Cause::Refused(about), .. }) if about.text.contains(absent) => Ok(()),
        other => other.map(drop),
    }
}

impl Cause {
    /// What they call it, where they answered with a code.
    fn provider_code(&self) -> Option<ProviderCode> {
        match self {
            Self::Broken { about, .. }
            | Self::Throttled { about, .. }
            | Self::NotNow(about)
            | Self::Credentials(about)
            | Self::Refused(about)
            | Self::LookFirst { about, .. } => about.code.clone(),
            Self::Impossible(_)
            | Self::NotReached(_)
            | Self::BrokeOff(_)
            | Self::NoAnswer(_)
            | Self::Unreadable(_) => None,
        }
    }

    /// Whether an answer was lost on its way, so that the next may come.
    const fn is_loss(&self) -> bool {
        match self {
            Self::BrokeOff(_) | Self::NoAnswer(_) | Self::Unreadable(_) | Self::Broken { .. } => true,
            Self::Impossible(_)
            | Self::NotReached(_)
            | Self::Throttled { .. }
            | Self::NotNow(_)
            | Self::Credentials(_)
            | Self::Refused(_)
            | Self::LookFirst { .. } => false,
        }
    }
}

impl From<CallError> for Failure {
    /// THE rule of what follows from a provider's failure.
    fn from(error: CallError) -> Self {
        let unless_it_counts = |class| if error.call == Call::Counts { Class::Unknown } else { class };
        let (class, code) = match &error.cause {
            Cause::Impossible(_) => (Class::Permanent, "request_impossible"),
            Cause::NotReached(_) => (Class::Unavailable(error.to), "not_reached"),
            Cause::BrokeOff(_) => (Class::Retry, "broke_off"),
            Cause::NoAnswer(_) => (unless_it_counts(Class::Retry), "no_answer"),
            Cause::Unreadable(_) => (unless_it_counts(Class::Retry), "unreadable_answer"),
            // 502 to 504 come from a gateway whose service is away; what counts may have got through all the same.
            Cause::Broken { status: 502..=504, .. } => {
                (unless_it_counts(Class::Unavailable(error.to)), "provider_away")
            }
            Cause::Broken { .. } => (unless_it_counts(Class::Retry), "provider_broken"),
            Cause::Throttled { after: Some(after), .. } => {
                (Class::RetryAfter((*after).min(LONGEST_RETRY_AFTER)), "throttled")
            }
            Cause::Throttled { after: None, .. } => (Class::Retry, "throttled"),
            Cause::NotNow(_) => (Class::Retry, "not_now"),
            Cause::Credentials(_) => {
                tracing::error!(provider = error.to.name(), "the provider refuses our credentials: {error}");
                (Class::Unavailable(error.to), "credentials_refused")
            }
            Cause::Refused(_) => (Class::Permanent, "refused"),
            Cause::LookFirst { code, .. } => (Class::Unknown, *code),
        };
        Self::new(class, code, &error).as_told(error.cause.provider_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(call: Call, cause: Cause) -> Class {
        Failure::from(CallError { to: Dependency::EasyPost, call, cause }).class
    }

    #[test]
    fn what_counts_is_looked_up_after_a_lost_answer_and_nothing_else_is() {
        let lost = || Cause::NoAnswer("timed out".into());
        assert_eq!(class(Call::Counts, lost()), Class::Unknown);
        assert_eq!(class(Call::Harmless, lost()), Class::Retry);
        assert_eq!(class(Call::Look, lost()), Class::Retry);
        let away = || Cause::Broken { status: 503, about: Said::default() };
        assert_eq!(class(Call::Counts, away()), Class::Unknown);
        assert_eq!(class(Call::Look, away()), Class::Unavailable(Dependency::EasyPost));
        assert_eq!(class(Call::Counts, Cause::BrokeOff(String::new())), Class::Retry);
    }

    #[test]
    fn an_outage_and_a_rotated_key_spend_no_attempt() {
        for cause in [Cause::NotReached("refused".into()), Cause::Credentials("401".to_owned().into())] {
            let error = CallError { to: Dependency::Stripe, call: Call::Counts, cause };
            assert!(!Failure::from(error).spends_an_attempt());
        }
    }

    #[test]
    fn a_provider_can_t_put_a_job_off_for_days() {
        let cause = Cause::Throttled { after: Some(Duration::from_hours(99)), about: Said::default() };
        assert_eq!(class(Call::Look, cause), Class::RetryAfter(LONGEST_RETRY_AFTER));
    }
}
