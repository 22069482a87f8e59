//! What an HTTP bench is measured beside: this program again, as a process of its own that serves a bare router.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use axum::Router;
use stage::fleet::Fleet;
use stage::process::Process;
use tokio::net::TcpListener;

/// Starts the bench `name`, which [`serve`]s, and says where it listens.
pub(crate) async fn start(name: &str, fleet: &Fleet) -> (Process, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(name);
    let mut process = Process::start("floor", fleet.folder.path(), command);
    process.says("listens at").await;
    let address = process.log().trim().rsplit(' ').next().unwrap().parse().unwrap();
    (process, address)
}

/// Serves until the process is killed.
pub(crate) async fn serve(router: Router) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    eprintln!("the floor listens at {}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}
