//! The mailer against Postfix's own test server: each way in which it can fail a mail, and what is made of it.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use orderfleet::config::SmtpSettings;
use orderfleet::job::{Class, Dependency, Failure};
use orderfleet::provider::smtp::{Mail, Mailer};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Where `scripts/test` unpacks it.
const SINK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/smtp-sink");
/// What a stage may take: far longer than a server on this machine needs, far shorter than [`SLOW`].
const TIMEOUT_MS: u64 = 4_000;
/// A server that is too slow, in seconds.
const SLOW: &str = "30";

const AWAY: Class = Class::Unavailable(Dependency::Smtp);

/// Its options, and what becomes of a mail then: sent, or a class of failure and its code.
type Case = (&'static [&'static str], Option<(Class, &'static str)>);

const CASES: &[Case] = &[
    (&[], None),
    (&["-r", "MAIL", "-b", "452 4.2.2 mailbox full"], Some((Class::Retry, "not_now"))),
    (&["-r", "RCPT"], Some((Class::Retry, "not_now"))),
    (&["-r", "."], Some((Class::Retry, "not_now"))),
    (&["-f", "RCPT"], Some((Class::Permanent, "refused"))),
    (&["-f", "."], Some((Class::Permanent, "refused"))),
    // 550 in the middle of the text.
    (&["-A", "0"], Some((Class::Permanent, "refused"))),
    // A server that greets with a refusal is away for everybody.
    (&["-f", "CONNECT"], Some((AWAY, "not_reached"))),
    (&["-q", "CONNECT"], Some((AWAY, "not_reached"))),
    (&["-Q", "."], Some((Class::Retry, "not_now"))),
    (&["-q", "DATA"], Some((Class::Retry, "broke_off"))),
    // Dropped after the text: it may have been delivered.
    (&["-q", "."], Some((Class::Unknown, "no_answer"))),
    (&["-w", SLOW], Some((Class::Retry, "broke_off"))),
];

/// It runs until its value ends.
async fn start(options: &[&str]) -> (SocketAddr, Child) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sink = Path::new(SINK);
    let mut command = Command::new(sink.join("usr/sbin/smtp-sink"));
    command.env("LD_LIBRARY_PATH", sink.join("usr/lib/postfix")).args(options);
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.args(["-u", "root"]);
    }
    command.arg(address.to_string()).arg("10").stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (address, child)
}

#[tokio::test]
async fn each_way_in_which_a_mail_server_fails_is_told_from_the_others() {
    if !Path::new(SINK).join("usr/sbin/smtp-sink").exists() {
        let loud = "\n!!! NOT CHECKED: the mailer against smtp-sink. There is no .tools/smtp-sink; scripts/test unpacks it.\n";
        std::io::Write::write_all(&mut std::io::stderr(), loud.as_bytes()).unwrap(); // past the test runner
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mail = Mail {
        message_id: "msg_1@orders.example.com".into(),
        from: "Shop <orders@example.com>".into(),
        to: "A. Buyer <a@example.com>".into(),
        subject: "Thank you".into(),
        text: "Hello".into(),
        html: None,
        order_number: None,
    };
    for (options, expected) in CASES {
        let (address, _sink) = start(options).await;
        let settings = SmtpSettings {
            url: format!("smtp://{address}").into(),
            ca_file: String::new(),
            pool: 1,
            timeout_ms: TIMEOUT_MS,
        };
        let sent = Mailer::new(&settings).unwrap().send(&mail).await.map_err(Failure::from);
        let found = sent.err().map(|failure| (failure.class, failure.code));
        assert_eq!(found, *expected, "{options:?}");
    }
}
