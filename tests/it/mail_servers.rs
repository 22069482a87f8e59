//! The mailer judged by a mail server that nobody here wrote: STARTTLS, TLS from the first byte, logins, and what arrives.

use std::path::Path;
use std::process::Stdio;

use orderfleet::config::SmtpSettings;
use orderfleet::job::{Class, Dependency, Failure};
use orderfleet::provider::smtp::{Mail, Mailer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// aiosmtpd with a certificate of its own authority; it ends with its value.
struct Server {
    port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _input: ChildStdin,
    _child: Child,
}

/// An authority, and a certificate for `localhost` that it signed.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    for line in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
    ] {
        let mut openssl = std::process::Command::new("openssl");
        let made = openssl.args(line.split(' ')).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    }
    folder
}

impl Server {
    /// None, and a loud line, where the counterparties are not installed.
    async fn start(folder: &Path, tls: &str, login: Option<&str>) -> Option<Self> {
        let python = Path::new(ROOT).join(".tools/venv/bin/python");
        if !python.exists() {
            let loud = "\n!!! NOT CHECKED: the mailer against aiosmtpd. There is no .tools/venv; scripts/test makes it.\n";
            std::io::Write::write_all(&mut std::io::stderr(), loud.as_bytes()).unwrap(); // past the test runner
            return None;
        }
        let mut command = Command::new(python);
        command.arg(Path::new(ROOT).join("tests/counterparty/mail_server.py")).current_dir(folder);
        command.args(["--tls", tls, "--cert", "cert.pem", "--key", "key.pem"]);
        command.args(login.into_iter().flat_map(|login| ["--login", login]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next_line().await.unwrap().expect("it says where it listens");
        let port = first.rsplit(' ').next().unwrap().parse().unwrap();
        Some(Self { port, lines, _input: child.stdin.take().unwrap(), _child: child })
    }

    async fn told(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }
}

fn mailer(url: &str, ca_file: &Path) -> Mailer {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca_file = ca_file.to_str().unwrap().to_owned();
    Mailer::new(&SmtpSettings { url: url.into(), ca_file, pool: 1, timeout_ms: 8_000 }).unwrap()
}

fn mail() -> Mail {
    Mail {
        message_id: "msg_1@orders.example.com".into(),
        from: "Shop <orders@example.com>".into(),
        to: "A. Buyer <a@example.com>".into(),
        subject: "धन्यवाद, OF-1".into(),
        text: "नमस्ते,\n\n.a line that begins with a dot".into(),
        html: Some("<p>ሰላም፣</p>".into()),
        order_number: Some("OF-1".into()),
    }
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written_in_plain_by_starttls_and_by_tls() {
    let folder = certificates();
    let ca = folder.path().join("ca.pem");
    for (tls, login, scheme, end) in [
        ("none", None, "smtp://", ""),
        ("starttls", Some("shop:p@ss"), "smtp://shop:p%40ss@", "?tls=required"),
        ("implicit", Some("shop:p@ss"), "smtps://shop:p%40ss@", ""),
    ] {
        let Some(mut server) = Server::start(folder.path(), tls, login).await else { return };
        let mailer = mailer(&format!("{scheme}localhost:{}{end}", server.port), &ca);
        mailer.check().await.unwrap();
        mailer.send(&mail()).await.unwrap();
        let told = server.told().await;
        assert_eq!(told["tls"], tls != "none", "{tls}: {told}");
        assert_eq!(told["login"] == true, login.is_some(), "{tls}: {told}");
        assert_eq!(
            (&told["subject"], &told["type"]),
            (&"धन्यवाद, OF-1".into(), &"multipart/alternative".into())
        );
        assert_eq!(told["message_id"], "<msg_1@orders.example.com>");
        let text = told["text"].as_str().unwrap().replace("\r\n", "\n");
        assert_eq!(text.trim_end(), "नमस्ते,\n\n.a line that begins with a dot");
        assert_eq!(told["html"].as_str().unwrap().trim_end(), "<p>ሰላም፣</p>");
    }
}

/// Nothing is sent to who can't prove who they are, and a wrong password is no mail's fault.
#[tokio::test]
async fn an_unknown_authority_and_a_wrong_password_send_nothing() {
    let folder = certificates();
    let (other, login) = (certificates(), Some("shop:secret"));
    let Some(server) = Server::start(folder.path(), "starttls", login).await else { return };
    let url = |password: &str| format!("smtp://shop:{password}@localhost:{}?tls=required", server.port);
    let away = Class::Unavailable(Dependency::Smtp);
    for (password, authority, code) in
        [("secret", other.path(), "not_reached"), ("wrong", folder.path(), "credentials_refused")]
    {
        let sent = mailer(&url(password), &authority.join("ca.pem")).send(&mail()).await;
        let failure = Failure::from(sent.unwrap_err());
        assert_eq!((failure.class, failure.code), (away, code), "{failure}");
    }
    // One who takes the offer of STARTTLS away gets no mail either.
    let Some(plain) = Server::start(folder.path(), "none", None).await else { return };
    let stripped =
        mailer(&format!("smtp://localhost:{}?tls=required", plain.port), &folder.path().join("ca.pem"));
    assert_eq!(Failure::from(stripped.send(&mail()).await.unwrap_err()).class, away);
}
