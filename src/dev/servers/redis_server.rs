//! The private Redis (or Valkey): durable as the queue demands, or a little less for tests.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Durability;
use super::access::Access;
use super::account::Account;
use super::error::ServerError;
use super::leash::{Leashed, Program};
use super::programs::Programs;

pub(super) const NAME: &str = "redis";
/// How long one look may take; a server on loopback answers in microseconds or not at all.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Starts it and waits until it answers, its log read.
pub(super) async fn start(
    folder: &Path,
    programs: &Programs,
    access: &Access,
    account: Account,
    durability: Durability,
) -> Result<Leashed, ServerError> {
    let data = folder.join(NAME);
    account.make_private(&data)?;
    let file = data.join("redis.conf");
    account.write_private(&file, &settings(access, durability))?;
    let program = Program {
        name: NAME,
        path: programs.redis.clone(),
        // The folder stands here and not in the file, where a blank in it would need quoting.
        arguments: vec![
            file.to_string_lossy().into_owned(),
            "--dir".to_owned(),
            data.to_string_lossy().into_owned(),
        ],
        stop: "TERM",
    };
    let mut started = Leashed::start(program, folder, account).await?;
    started
        .wait_for(async |_| timeout(LOOK_LIMIT, answers(access)).await.is_ok_and(|said| said.is_ok()))
        .await?;
    Ok(started)
}

/// The configuration. A file and not arguments: the password would show in every list of processes.
fn settings(access: &Access, durability: Durability) -> String {
    let fsync = match durability {
        Durability::PowerLoss => "always",
        Durability::OneSecond => "everysec",
    };
    let (port, password) = (access.redis_port, access.password.expose_secret());
    format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndaemonize no\n\
         appendonly yes\nappendfsync {fsync}\nno-appendfsync-on-rewrite no\nsave \"\"\n\
         maxmemory-policy noeviction\n"
    )
}

/// Asks for a sign of life in the server's own words; while it still reads its log it answers `-LOADING`.
async fn answers(access: &Access) -> io::Result<()> {
    const EXPECTED: &[u8] = b"+OK\r\n+PONG\r\n";
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, access.redis_port)).await?;
    stream.write_all(format!("AUTH {}\r\nPING\r\n", access.password.expose_secret()).as_bytes()).await?;
    let mut said = [0_u8; EXPECTED.len()];
    stream.read_exact(&mut said).await?;
    if said == EXPECTED { Ok(()) } else { Err(io::Error::other("not ready")) }
}
