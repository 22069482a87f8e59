//! The mail server: one mail, handed over once.
//!
//! SMTP has no idempotency key, and a line that breaks after the message was sent leaves both sides with another opinion.
//! So a mail is handed over in three stages, each with a time-out: reach the server, name sender and recipient, send the
//! message. Only the last can leave the outcome unknown; before it, nothing was sent. The library's own transport can't
//! tell these apart and never stops reading, so its connections are used one command at a time.
//! Every try carries the same Message-ID, by which a second copy can be recognised.

use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailCommand, Rcpt};
use lettre::transport::smtp::extension::{Extension, MailParameter};
use lettre::{Address, Message};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{BadSettings, Call, CallError, Cause, Said};
use crate::config::SmtpSettings;
use crate::job::Dependency;
use crate::telemetry::spans::{Side, below_current};

mod server;

pub use server::Protection;
use server::Server;

/// Replies that mean our login, not this mail: authentication required, refused, too weak, encryption wanted.
const LOGIN_REPLIES: [u16; 4] = [530, 534, 535, 538];

/// A mail, as it is frozen in the effect's row. Printed for debugging it shows no more than its id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The Message-ID, without brackets: the same on every try.
    pub message_id: String,
    /// `Name <address>`.
    pub from: String,
    /// `Name <address>`, or the address alone.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same in HTML, where there is one.
    pub html: Option<String>,
    /// The order that it is about, for the header `X-Order-Number`.
    pub order_number: Option<String>,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

/// The mail server, with connections kept open.
#[derive(Debug)]
pub struct Mailer {
    server: Server,
    /// The longest stage.
    timeout: Duration,
}

impl Mailer {
    /// A mailer with these settings. Connects to nobody yet.
    pub fn new(settings: &SmtpSettings) -> Result<Self, BadSettings> {
        Ok(Self { server: Server::new(settings)?, timeout: Duration::from_millis(settings.timeout_ms) })
    }

    /// Hands one mail over. Done means: the server said 250 and answers for it from now on.
    pub async fn send(&self, mail: &Mail) -> Result<(), CallError> {
        let begun = below_current();
        let handed_over = self.hand_over(mail).await;
        if let Some(begun) = begun {
            let span = begun.end("send mail", Side::Client).with("server.address", self.place());
            let span = span.with("orderfleet.message", mail.message_id.clone());
            span.failed(handed_over.as_ref().err().map(Cause::name)).record();
        }
        handed_over.map_err(|cause| CallError { to: Dependency::Smtp, call: Call::Counts, cause })
    }

    /// Whether the server is there and takes our login: greets it, and says goodbye.
    pub async fn check(&self) -> Result<(), CallError> {
        let mut connection = self.reach().await.map_err(|cause| CallError {
            to: Dependency::Smtp,
            call: Call::Look,
            cause,
        })?;
        // It has said all that was asked; how it says goodbye is its own affair.
        let _ = timeout(self.timeout, connection.quit()).await;
        Ok(())
    }

    /// How mails are protected on their way there.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.server.protection()
    }

    /// Where it is: `host:port`, without the login.
    #[must_use]
    pub fn place(&self) -> String {
        self.server.place()
    }

    async fn hand_over(&self, mail: &Mail) -> Result<(), Cause> {
        let message = mail.message()?;
        let (Some(from), [to]) = (message.envelope().from(), message.envelope().to()) else {
            return Err(Cause::Impossible("it has not one sender and one recipient".to_owned()));
        };
        let slot = self.server.slot().await;
        let kept = self.server.kept();
        let mut connection = match kept {
            Some(mut connection) => match self.introduce(&mut connection, from, to).await {
                Ok(()) => connection,
                // The server closed it while it was idle, or says so now. Nothing was sent: once more, on a new one.
                Err(Cause::BrokeOff(_) | Cause::NotNow(_)) => self.reach_and_introduce(from, to).await?,
                Err(cause) => return Err(cause),
            },
            None => self.reach_and_introduce(from, to).await?,
        };
        match timeout(self.timeout, say(&mut connection, &message.formatted())).await {
            Ok(Ok(())) => {
                self.server.keep(connection);
                drop(slot);
                Ok(())
            }
            Ok(Err(error)) => Err(replied(&error).unwrap_or_else(|| Cause::NoAnswer(error.to_string()))),
            Err(_elapsed) => Err(Cause::NoAnswer("no reply to the message in time".to_owned())),
        }
    }

    async fn reach_and_introduce(&self, from: &Address, to: &Address) -> Result<AsyncSmtpConnection, Cause> {
        let mut connection = self.reach().await?;
        self.introduce(&mut connection, from, to).await?;
        Ok(connection)
    }

    async fn reach(&self) -> Result<AsyncSmtpConnection, Cause> {
        timeout(self.timeout, self.server.connect())
            .await
            .map_err(|_elapsed| Cause::NotReached("no connection in time".to_owned()))?
            .map_err(|error| match replied(&error) {
                Some(Cause::Credentials(about)) => Cause::Credentials(about),
                // A server that greets with a refusal is away for every mail, not for this one.
                _ => Cause::NotReached(error.to_string()),
            })
    }

    /// Everything up to the message itself. Nothing counts before that.
    async fn introduce(
        &self,
        connection: &mut AsyncSmtpConnection,
        from: &Address,
        to: &Address,
    ) -> Result<(), Cause> {
        let mut parameters = Vec::new();
        if !(AsRef::<str>::as_ref(from).is_ascii() && AsRef::<str>::as_ref(to).is_ascii()) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Cause::Refused("the server takes no addresses beyond ASCII".to_owned().into()));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let commands = async {
            connection.command(MailCommand::new(Some(from.clone()), parameters)).await?;
            connection.command(Rcpt::new(to.clone(), Vec::new())).await?;
            connection.command(Data).await
        };
        match timeout(self.timeout, commands).await {
            Ok(Ok(_go_ahead)) => Ok(()),
            Ok(Err(error)) => Err(replied(&error).unwrap_or_else(|| Cause::BrokeOff(error.to_string()))),
            Err(_elapsed) => Err(Cause::BrokeOff("no reply to a command in time".to_owned())),
        }
    }
}

/// Says the whole text. Where the line breaks meanwhile, a refusal that the server sent before it hung up can still be read;
/// a yes of before the end can't have been meant for this text.
async fn say(connection: &mut AsyncSmtpConnection, text: &[u8]) -> Result<(), SmtpError> {
    let broken = match connection.message(text).await {
        Ok(_accepted) => return Ok(()),
        Err(error) if error.status().is_some() => return Err(error),
        Err(error) => error,
    };
    match connection.read_response().await {
        Err(refused) if refused.status().is_some() => Err(refused),
        Ok(_) | Err(_) => Err(broken),
    }
}

/// What a negative reply means. The server's sentence is left out: it often quotes the address.
fn replied(error: &SmtpError) -> Option<Cause> {
    let code = error.status()?;
    let number: u16 = code.to_string().parse().unwrap_or_default();
    let about = Said::coded(&number.to_string(), format!("reply {number}"));
    Some(if LOGIN_REPLIES.contains(&number) {
        Cause::Credentials(about)
    } else if error.is_permanent() {
        Cause::Refused(about)
    } else {
        Cause::NotNow(about)
    })
}

impl Mail {
    /// The whole mail, as it goes to the server.
    pub fn written(&self) -> Result<Vec<u8>, Cause> {
        Ok(self.message()?.formatted())
    }

    fn message(&self) -> Result<Message, Cause> {
        let impossible = |part: &str| Cause::Impossible(format!("its {part} is malformed"));
        let mut builder = Message::builder()
            .message_id(Some(format!("<{}>", self.message_id)))
            .from(self.from.parse::<Mailbox>().map_err(|_| impossible("sender"))?)
            .to(self.to.parse::<Mailbox>().map_err(|_| impossible("recipient"))?)
            .subject(self.subject.as_str());
        if let Some(number) = &self.order_number {
            let name = HeaderName::new_from_ascii_str("X-Order-Number");
            builder = builder.raw_header(HeaderValue::new(name, number.clone()));
        }
        let single_lines = [&self.message_id, &self.subject].into_iter().chain(&self.order_number);
        if single_lines.into_iter().any(|line| line.contains(['\r', '\n'])) {
            return Err(impossible("header"));
        }
        let built = match &self.html {
            Some(html) => {
                builder.multipart(MultiPart::alternative_plain_html(self.text.clone(), html.clone()))
            }
            None => builder.singlepart(SinglePart::plain(self.text.clone())),
        };
        built.map_err(|error| Cause::Impossible(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
