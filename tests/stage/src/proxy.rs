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
    silent: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port of loopback, for a server.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = Arc::new(watch::channel(false).0);
        let mut tasks = JoinSet::new();
        let heard = Arc::clone(&silent);
        tasks.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let heard = heard.subscribe();
                passing.spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        pass_both(client, server, heard).await;
                    }
                });
            }
        });
        Self { address, silent, _tasks: tasks }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes nothing more, on connections that are open and on new ones.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Passes everything again.
    pub fn speak(&self) {
        self.silent.send_replace(false);
    }
}

async fn pass_both(client: TcpStream, server: TcpStream, silent: watch::Receiver<bool>) {
    // Nagle's delay would be the proxy's, not the network's.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(pass(from_client, to_server, silent.clone()), pass(from_server, to_client, silent));
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silent: watch::Receiver<bool>) {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).await.unwrap_or(0);
        // The sender lives as long as this task.
        let _ = silent.wait_for(|silent| !silent).await;
        if count == 0 || to.write_all(&piece[..count]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
