//! A TCP proxy that can fall silent: it keeps every connection open and passes nothing, as a network does that lost one.
//!
//! What either side sends while it is silent is kept by the kernels, and passed on once it speaks again. Closing is not
//! passed on either: a dead client's session lives on at the server, as after the loss of a machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that are passed on at once.
const PIECE: usize = 64 * 1024;

/// A running proxy; dropped, it closes all of its connections.
pub struct Proxy {
    address: SocketAddr,
    silence: Arc<watch::Sender<Silence>>,
    _tasks: JoinSet<()>,
}

/// Who is silent.
#[derive(Clone, Copy, Default)]
struct Silence {
    /// Every connection.
    all: bool,
    /// Those that were accepted before this one, for good.
    before: u64,
    accepted: u64,
}

impl Proxy {
    /// Listens on a free port of loopback, for a server.
    pub async fn start(server: SocketAddr) -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), server).await
    }

    /// Listens here, for a server. Dropped, nobody does, and calls are refused.
    pub async fn at(address: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let silence = Arc::new(watch::channel(Silence::default()).0);
        let mut tasks = JoinSet::new();
        let heard = Arc::clone(&silence);
        tasks.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                heard.send_modify(|silence| silence.accepted += 1);
                let (number, heard) = (heard.borrow().accepted, heard.subscribe());
                passing.spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        pass_both(client, server, heard, number).await;
                    }
                });
            }
        });
        Self { address, silence, _tasks: tasks }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes nothing more, on connections that are open and on new ones.
    pub fn fall_silent(&self) {
        self.silence.send_modify(|silence| silence.all = true);
    }

    /// Passes everything again.
    pub fn speak(&self) {
        self.silence.send_modify(|silence| silence.all = false);
    }

    /// Passes nothing more on connections that are open, for good; new ones are as usual. So it is after a firewall or a
    /// router forgot them.
    pub fn forget_all(&self) {
        self.silence.send_modify(|silence| silence.before = silence.accepted + 1);
    }
}

async fn pass_both(client: TcpStream, server: TcpStream, silence: watch::Receiver<Silence>, number: u64) {
    // Nagle's delay would be the proxy's, not the network's.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(
        pass(from_client, to_server, silence.clone(), number),
        pass(from_server, to_client, silence, number)
    );
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut silence: watch::Receiver<Silence>,
    number: u64,
) {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).await.unwrap_or(0);
        // The sender lives as long as this task.
        let _ = silence.wait_for(|silence| !silence.all && number >= silence.before).await;
        if count == 0 || to.write_all(&piece[..count]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
