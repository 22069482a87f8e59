//! Which mail server, how it is reached, and its idle connections.
//!
//! A URL says it all: `smtp://` is plain (a local sink) or, with `?tls=required`, STARTTLS; `smtps://` is TLS from the
//! first byte. There is no "TLS if it happens to be offered": whoever sits between could take the offer away.
//! A connection is kept only after a mail went through it; any other state is not worth guessing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::ExposeSecret;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::SmtpSettings;
use crate::provider::BadSettings;

/// Where the setting stands.
const SETTING: &str = "smtp.url";
/// How long to wait for a connection: a server that is up answers in a fraction of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// When TLS begins.
enum Tls {
    Never,
    AfterHello(TlsParameters),
    AtOnce(TlsParameters),
}

/// How mails are protected on their way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// By TLS, from the greeting or the first byte on.
    pub is_encrypted: bool,
    /// Whether we log in.
    pub has_login: bool,
    /// Whether it is on this machine.
    pub is_local: bool,
}

/// A mail server.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<Credentials>,
    /// Connections that a mail went through, waiting for the next.
    idle: Mutex<Vec<AsyncSmtpConnection>>,
    /// One for each connection that may be open.
    slots: Semaphore,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// The authority that the shop trusts beside the public ones.
fn authority(file: &str) -> Result<Certificate, BadSettings> {
    let bad = |fault: String| BadSettings::new("smtp.ca_file", format!("{file}: {fault}"));
    let pem = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    Certificate::from_pem(&pem).map_err(|error| bad(error.to_string()))
}

impl Server {
    /// The server that the settings name.
    pub(super) fn new(settings: &SmtpSettings) -> Result<Self, BadSettings> {
        let bad = |fault: &str| BadSettings::new(SETTING, fault);
        let url = Url::parse(settings.url.expose_secret()).map_err(|error| bad(&error.to_string()))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it has no host"))?;
        let wanted = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let parameters = || {
            let mut parameters = TlsParameters::builder(host.to_owned());
            if !settings.ca_file.is_empty() {
                parameters = parameters.add_root_certificate(authority(&settings.ca_file)?);
            }
            parameters.build().map_err(|error| bad(&error.to_string()))
        };
        let (tls, usual_port) = match (url.scheme(), wanted.as_deref()) {
            ("smtp", None) => (Tls::Never, 25),
            ("smtp", Some("required")) => (Tls::AfterHello(parameters()?), 587),
            ("smtps", None) => (Tls::AtOnce(parameters()?), 465),
            _ => return Err(bad("it is none of smtp://, smtp://…?tls=required and smtps://")),
        };
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let password = url.password().map(decoded);
        if settings.pool == 0 {
            return Err(BadSettings::new("smtp.pool", "without a connection no mail is sent"));
        }
        Ok(Self {
            host: host.to_owned(),
            port: url.port().unwrap_or(usual_port),
            tls,
            login: password.map(|password| Credentials::new(decoded(url.username()), password)),
            idle: Mutex::default(),
            slots: Semaphore::new(usize::try_from(settings.pool).map_err(|_| bad("the pool is too large"))?),
        })
    }

    /// Where it is.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// How mails are protected on their way there.
    pub(super) fn protection(&self) -> Protection {
        Protection {
            is_encrypted: !matches!(self.tls, Tls::Never),
            has_login: self.login.is_some(),
            is_local: matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "[::1]"),
        }
    }

    /// The right to hold a connection; waits while all are in use.
    pub(super) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.slots.acquire().await.ok()
    }

    /// A connection that was kept; the server may have closed it since.
    pub(super) fn kept(&self) -> Option<AsyncSmtpConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a connection for the next mail.
    pub(super) fn keep(&self, connection: AsyncSmtpConnection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Opens a connection: greeting, TLS, login.
    pub(super) async fn connect(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        let hello = ClientId::default();
        let at_once = match &self.tls {
            Tls::AtOnce(parameters) => Some(parameters.clone()),
            Tls::Never | Tls::AfterHello(_) => None,
        };
        let address = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_TIMEOUT), &hello, at_once, None)
                .await?;
        if let Tls::AfterHello(parameters) = &self.tls {
            connection.starttls(parameters.clone(), &hello).await?;
        }
        if let Some(login) = &self.login {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], login).await?;
        }
        Ok(connection)
    }
}
