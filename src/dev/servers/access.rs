//! How to reach the private servers: ports and a password, kept beside the data so that addresses outlive a restart.
//!
//! TCP on loopback rather than sockets: a socket's path may have 107 bytes and a clone's may have more, and not every
//! client that a test or a benchmark brings along can speak to one. The password keeps other users of the machine out.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::error::ServerError;
use crate::ids;

/// The database that is made for the fleet.
pub(super) const DATABASE: &str = "orderfleet";
/// Its owner.
pub(super) const USER: &str = "orderfleet";
/// Ports lie below those that Linux gives to outgoing connections (32768 and above): a client that tries again and again
/// while its server is down would at some time be given that very port, connect to itself, and keep the server out.
const FIRST_PORT: u16 = 20_000;
/// How many ports from there on.
const PORTS: u16 = 12_000;
/// Ports tried before giving up: if a hundred at random are taken, something else is wrong.
const PORT_TRIES: u32 = 100;

/// Ports and password.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) postgres_port: u16,
    pub(super) redis_port: u16,
    pub(super) password: SecretString,
}

/// The same, as it lies in `access.json`.
#[derive(Deserialize, Serialize)]
struct Written {
    postgres_port: u16,
    redis_port: u16,
    password: String,
}

impl Access {
    /// What the last run on `folder` wrote down, with other ports where those are taken by now; else all new.
    pub(super) fn of(folder: &Path, account: Account) -> Result<Self, ServerError> {
        let path = folder.join("access.json");
        let last: Option<Written> = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let password = last.as_ref().map_or_else(random_password, |last| last.password.clone());
        let postgres_port = free_port(last.as_ref().map(|last| last.postgres_port), 0)?;
        let redis_port = free_port(last.as_ref().map(|last| last.redis_port), postgres_port)?;
        let now = Written { postgres_port, redis_port, password };
        let text = serde_json::to_string_pretty(&now).map_err(std::io::Error::other);
        account.write_private(&path, &text.map_err(ServerError::io("write", &path))?)?;
        Ok(Self { postgres_port, redis_port, password: now.password.into() })
    }

    /// `postgres://…`, with the password.
    pub(super) fn database_url(&self) -> SecretString {
        let (password, port) = (self.password.expose_secret(), self.postgres_port);
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/{DATABASE}").into()
    }

    /// `redis://…`, with the password. The user is named: some clients send an empty one otherwise, which is refused.
    pub(super) fn redis_url(&self) -> SecretString {
        format!("redis://default:{}@127.0.0.1:{}", self.password.expose_secret(), self.redis_port).into()
    }
}

/// 128 bits in hexadecimal: nothing in it needs quoting in a URL, a configuration file or SQL.
fn random_password() -> String {
    super::hex(&ids::random_bytes::<16>())
}

/// A port that nobody listens on and that is not `taken`; `wished` where it can be had.
fn free_port(wished: Option<u16>, taken: u16) -> Result<u16, ServerError> {
    let random = || FIRST_PORT + u16::from_le_bytes(ids::random_bytes()) % PORTS;
    let candidates = wished.into_iter().chain((0..PORT_TRIES).map(|_| random()));
    candidates
        .into_iter()
        .find(|port| *port != taken && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(ServerError::NoPort { tries: PORT_TRIES })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_keeps_password_and_ports_unless_they_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let first = Access::of(folder.path(), Account::Own).unwrap();
        let again = Access::of(folder.path(), Account::Own).unwrap();
        assert_eq!(first.redis_url().expose_secret(), again.redis_url().expose_secret());
        assert_eq!(first.database_url().expose_secret(), again.database_url().expose_secret());

        let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, first.redis_port)).unwrap();
        let moved = Access::of(folder.path(), Account::Own).unwrap();
        assert_ne!(first.redis_port, moved.redis_port);
        assert_eq!(first.postgres_port, moved.postgres_port);
        assert_eq!(first.password.expose_secret(), moved.password.expose_secret());
    }
}
