//! Where Redis is: `redis.url` and `redis.mode`, read into clients.
//!
//! One URL names all: its hosts stand with commas between, scheme, login and database hold for each. An error says what is
//! wrong and never quotes what was given: it may hold a password.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult, TlsMode};
use secrecy::{ExposeSecret, SecretString};

use crate::config::{RedisMode, RedisSettings};
use crate::queue::QueueError;

/// A connection whose sent bytes nobody acknowledges for so long is given up by the kernel too, so that none outlives its
/// replacement for minutes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);

/// The parts of `redis.url`.
#[derive(Clone)]
pub(super) struct Address {
    before: SecretString,
    hosts: Vec<String>,
    after: String,
}

impl Address {
    pub(super) fn read(settings: &RedisSettings) -> Result<Self, QueueError> {
        let url = settings.url.expose_secret();
        let start = url.find("://").map_or(0, |at| at + 3);
        let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
        let hosts = url[start..end].rfind('@').map_or(start, |at| start + at + 1);
        let address = Self {
            before: SecretString::from(&url[..hosts]),
            hosts: url[hosts..end].split(',').map(|host| host.trim().to_owned()).collect(),
            after: url[end..].to_owned(),
        };
        for host in &address.hosts {
            address.client(host).map_err(|error| QueueError::Address(error.category().to_owned()))?;
        }
        Ok(address)
    }

    /// `host:port` of each node that is named.
    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The first one, which is the only one of a single server.
    pub(super) fn first(&self) -> RedisResult<Client> {
        self.client(self.hosts.first().map_or("", String::as_str))
    }

    /// A client of one node, with the login of all.
    pub(super) fn client(&self, host: &str) -> RedisResult<Client> {
        Client::open(self.info(host)?)
    }

    fn info(&self, host: &str) -> RedisResult<ConnectionInfo> {
        let info = format!("{}{host}{}", self.before.expose_secret(), self.after).into_connection_info()?;
        // Without Nagle's delay: a small command behind an unanswered one would wait for its acknowledgement.
        let tcp = TcpSettings::default().set_nodelay(true);
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(UNACKNOWLEDGED);
        Ok(info.set_tcp_settings(tcp))
    }

    /// A client of whichever server the Sentinels at these hosts call the master. The login is that of the server.
    pub(super) fn sentinels(&self, settings: &RedisSettings) -> RedisResult<SentinelClient> {
        let infos = self.hosts.iter().map(|host| self.info(host)).collect::<RedisResult<Vec<_>>>()?;
        let places: Vec<ConnectionAddr> = infos.iter().map(|info| info.addr().clone()).collect();
        let is_encrypted = places.iter().any(|place| matches!(place, ConnectionAddr::TcpTls { .. }));
        let mut builder =
            SentinelClientBuilder::new(places, &settings.sentinel_master, SentinelServerType::Master)?;
        if let Some(info) = infos.first() {
            let (server, tcp) = (info.redis_settings(), info.tcp_settings());
            builder = builder.set_client_to_redis_db(server.db());
            builder = builder.set_client_to_redis_tcp_settings(tcp.clone());
            builder = builder.set_client_to_sentinel_tcp_settings(tcp.clone());
            if let Some(name) = server.username() {
                builder = builder.set_client_to_redis_username(name);
            }
            if let Some(password) = server.password() {
                builder = builder.set_client_to_redis_password(password);
            }
        }
        if is_encrypted {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        let password = settings.sentinel_password.expose_secret();
        if !password.is_empty() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        builder.build()
    }
}

/// Where Redis is, for operators: `host:port` or a socket, without the login.
pub fn place(settings: &RedisSettings) -> Result<String, QueueError> {
    let address = Address::read(settings)?;
    let places = address.hosts().iter().map(|host| Ok(address.info(host)?.addr().to_string()));
    let places = places.collect::<RedisResult<Vec<_>>>()?.join(", ");
    Ok(match settings.mode {
        RedisMode::Single => places,
        RedisMode::Cluster => format!("the cluster of {places}"),
        RedisMode::Sentinel => format!("the master {} of the Sentinels {places}", settings.sentinel_master),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> RedisSettings {
        RedisSettings {
            url: SecretString::from(url),
            mode: RedisMode::Cluster,
            sentinel_master: String::new(),
            sentinel_password: SecretString::from(""),
            prefix: "of".to_owned(),
            connect_timeout_ms: 1,
            response_timeout_ms: 1,
            require_durable: true,
            wait_replicas: 0,
            wait_ms: 1,
        }
    }

    #[test]
    fn every_host_has_the_scheme_the_login_and_the_database() {
        let address = Address::read(&settings("redis://me:p%2Cw@a:1,b:2,[::1]:3/4")).unwrap();
        assert_eq!(address.hosts(), ["a:1", "b:2", "[::1]:3"]);
        let info = address.info("b:2").unwrap();
        assert_eq!((info.addr().to_string().as_str(), info.redis_settings().db()), ("b:2", 4));
        assert_eq!(info.redis_settings().password(), Some("p,w"));
        assert!(info.tcp_settings().nodelay());
    }

    #[test]
    fn a_place_shows_no_login_and_a_fault_quotes_nothing() {
        assert_eq!(place(&settings("redis://:hidden@a:1,b:2")).unwrap(), "the cluster of a:1, b:2");
        let single = RedisSettings { mode: RedisMode::Single, ..settings("redis+unix:///run/redis.sock") };
        assert_eq!(place(&single).unwrap(), "/run/redis.sock");
        let error = place(&settings("redis://:hidden@a:port,b:2")).unwrap_err().to_string();
        assert!(!error.contains("hidden") && !error.contains("port,"), "{error}");
    }
}
