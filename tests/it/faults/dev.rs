//! `orderfleet dev`, as a stranger runs it: in a folder of its own, with nothing set but ports that are free here.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use stage::figures::Figures;
use stage::fleet::{alone, answer, free};
use stage::process::{Process, orderfleet, run, until, with};

/// A folder and the ports of its fleet.
struct Place {
    folder: TempDir,
    ports: [SocketAddr; 6],
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // For root the servers run as somebody else, who has to come in.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder, ports: std::array::from_fn(|_| free()) }
    }

    fn dev(&self) -> Process {
        let [intake, intake_health, worker_health, ops, sandbox, smtp] = self.ports;
        let mut command = with(orderfleet(self.folder.path()), ["dev"]);
        command
            .env("ORDERFLEET__INTAKE__ADDRESS", intake.to_string())
            .env("ORDERFLEET__INTAKE__HEALTH_PORT", intake_health.port().to_string())
            .env("ORDERFLEET__WORKER__HEALTH_PORT", worker_health.port().to_string())
            .env("ORDERFLEET__OPS__ADDRESS", ops.to_string())
            .env("ORDERFLEET__SANDBOX__ADDRESS", sandbox.to_string())
            .env("ORDERFLEET__SANDBOX__SMTP_ADDRESS", smtp.to_string());
        Process::start("dev", self.folder.path(), command)
    }

    /// Starts it, and waits until it has told the stranger everything.
    async fn ready(&self) -> Process {
        let mut dev = self.dev();
        until("the welcome", async || {
            assert!(!dev.has_ended(), "it ended before it was ready");
            dev.out().contains("Ctrl-C stops everything.").then_some(())
        })
        .await;
        dev
    }

    /// A command in this folder, without any setting.
    fn here(&self, arguments: &[&str]) -> Command {
        with(orderfleet(self.folder.path()), arguments)
    }

    /// The address of one of its servers.
    fn server(&self, section: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join(".orderfleet/dev.toml")).unwrap();
        let known: toml::Table = text.parse().unwrap();
        known[section]["url"].as_str().unwrap().to_owned()
    }

    /// Where it listens, servers included.
    fn addresses(&self) -> Vec<SocketAddr> {
        let servers = ["postgres", "redis"].map(|section| {
            let url = self.server(section);
            let (_, rest) = url.rsplit_once('@').unwrap();
            rest.split('/').next().unwrap().parse().unwrap()
        });
        self.ports.into_iter().chain(servers).collect()
    }

    /// The number of an order that was placed.
    async fn some_order(&self) -> String {
        use sqlx::{Connection, Row};
        let mut connection = sqlx::PgConnection::connect(&self.server("postgres")).await.unwrap();
        let found = sqlx::raw_sql("select order_number from orders limit 1").fetch_one(&mut connection).await;
        found.unwrap().get(0)
    }
}

/// Nobody listens there any more.
async fn silence(addresses: &[SocketAddr]) {
    for address in addresses {
        until(&format!("silence at {address}"), async || TcpStream::connect(address).err()).await;
    }
}

#[tokio::test]
async fn everything_runs_in_one_folder_without_a_setting_and_ctrl_c_ends_it() {
    let _turn = alone();
    let place = Place::new();
    let mut dev = place.ready().await;
    let addresses = place.addresses();
    for address in &addresses {
        assert!(TcpStream::connect(address).is_ok(), "{address} is silent");
    }
    let welcome = dev.out();
    let key = std::fs::read_to_string(place.folder.path().join(".orderfleet/api-key")).unwrap();
    for told in ["Orderfleet is ready.", "curl -s -X POST http://", key.trim()] {
        assert!(welcome.contains(told), "{told:?} is not in the welcome");
    }

    let figures = answer(&mut place.here(&["demo", "--orders", "5", "--json"]));
    Figures::read(&figures).must_be_whole(5, "dev");
    let one = answer(&mut place.here(&["orders", "show", &place.some_order().await, "--json"]));
    let one: Value = serde_json::from_str(&one).unwrap();
    assert!(one["moments"].as_array().unwrap().len() > 5, "{one}");
    answer(&mut place.here(&["audit", "--quiescent"]));
    let doctor = run(&mut place.here(&["doctor"]));
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));

    dev.signal("INT");
    let status = dev.ended().await;
    assert!(status.success(), "{status}");
    silence(&addresses).await;
}

#[tokio::test]
async fn kill_9_of_dev_leaves_nothing_running_and_the_next_one_goes_on() {
    let _turn = alone();
    let place = Place::new();
    let dev = place.ready().await;
    let addresses = place.addresses();
    dev.kill();
    silence(&addresses).await;

    let mut again = place.ready().await;
    assert_eq!(place.addresses(), addresses, "it is found where it was");
    again.signal("TERM");
    assert!(again.ended().await.success());
    silence(&addresses).await;
}

#[tokio::test]
async fn a_worker_that_can_not_start_ends_dev_and_says_why() {
    let _turn = alone();
    let place = Place::new();
    let taken = TcpListener::bind(place.ports[2]).unwrap();
    let mut dev = place.dev();
    assert_eq!(dev.ended().await.code(), Some(1));
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(dev.log().contains(&port), "{}", dev.log());
    drop(taken);
    silence(&place.addresses()).await;
}
