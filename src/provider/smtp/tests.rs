//! A mail server that misbehaves at every stage, and what the mailer makes of it.

use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::*;
use crate::job::{Class, Failure};

/// What the server does when a line begins with `at`.
#[derive(Clone, Copy)]
enum Act {
    Reply(&'static str),
    ReplyAndDrop(&'static str),
    Drop,
    Silence,
}

/// A mail server for one test: well-behaved, but for one line.
#[derive(Clone)]
struct Sink {
    url: String,
    odd: Option<(&'static str, Act)>,
    mails: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<u32>>,
}

impl Sink {
    async fn start(odd: Option<(&'static str, Act)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let sink = Self { url, odd, mails: Arc::default(), connections: Arc::default() };
        let (server, tasks) = (sink.clone(), TaskTracker::new());
        TaskTracker::new().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *server.connections.lock().unwrap() += 1;
                let server = server.clone();
                tasks.spawn(async move { server.serve(stream).await });
            }
        });
        sink
    }

    /// Talks until either side ends it.
    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        self.act(&mut stream, "CONNECT", "220 sink").await?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let usual = if line.starts_with("DATA") { "354 go on" } else { "250 fine" };
            self.act(&mut stream, &line, usual).await?;
            if line.starts_with("DATA") {
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut mail).await.ok()?;
                }
                self.mails.lock().unwrap().push(mail);
                self.act(&mut stream, ".", "250 queued").await?;
            }
        }
    }

    async fn act(&self, stream: &mut BufReader<TcpStream>, line: &str, usual: &'static str) -> Option<()> {
        let odd = self.odd.filter(|(at, _)| line.starts_with(at)).map(|(_, act)| act);
        match odd.unwrap_or(Act::Reply(usual)) {
            Act::Reply(reply) => stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok(),
            Act::ReplyAndDrop(reply) => {
                stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
                None
            }
            Act::Drop => None,
            Act::Silence => std::future::pending().await,
        }
    }

    fn mailer(&self) -> Mailer {
        Mailer::new(&settings(&self.url, 2)).unwrap()
    }
}

fn settings(url: &str, pool: u32) -> SmtpSettings {
    SmtpSettings { url: SecretString::from(url), ca_file: String::new(), pool, timeout_ms: 300 }
}

fn mail() -> Mail {
    Mail {
        message_id: "msg_1@orders.example.com".into(),
        from: "Shop <orders@example.com>".into(),
        to: "Ä. Büyer <a@example.com>".into(),
        subject: "Your order OF-1001 – thank you".into(),
        text: "Hello,\n\n.a line that begins with a dot\n".into(),
        html: None,
        order_number: Some("OF-1001".into()),
    }
}

#[tokio::test]
async fn a_mail_is_handed_over_and_the_connection_is_used_again() {
    let sink = Sink::start(None).await;
    let mailer = sink.mailer();
    mailer.send(&mail()).await.unwrap();
    mailer.send(&Mail { html: Some("<p>Hello</p>".into()), ..mail() }).await.unwrap();
    let mails = sink.mails.lock().unwrap().clone();
    assert_eq!(mails.len(), 2);
    assert_eq!(*sink.connections.lock().unwrap(), 1);
    for header in ["Message-ID: <msg_1@orders.example.com>\r\n", "X-Order-Number: OF-1001\r\n", "From: Shop"]
    {
        assert!(mails[0].contains(header), "{header} is not in {}", mails[0]);
    }
    assert!(mails[0].contains("\r\n..a line"), "dots are doubled: {}", mails[0]);
    assert!(mails[1].contains("multipart/alternative"));
}

#[tokio::test]
async fn only_a_break_after_the_message_leaves_the_outcome_unknown() {
    let away = Class::Unavailable(Dependency::Smtp);
    for (at, act, class, code) in [
        ("CONNECT", Act::Drop, away, "not_reached"),
        ("CONNECT", Act::Silence, away, "not_reached"),
        ("CONNECT", Act::Reply("554 no service"), away, "not_reached"),
        ("EHLO", Act::Reply("421 later"), away, "not_reached"),
        ("MAIL", Act::Reply("530 authenticate first"), away, "credentials_refused"),
        ("MAIL", Act::Drop, Class::Retry, "broke_off"),
        ("RCPT", Act::Reply("550 no such mailbox"), Class::Permanent, "refused"),
        ("RCPT", Act::Reply("450 mailbox busy"), Class::Retry, "not_now"),
        ("RCPT", Act::Silence, Class::Retry, "broke_off"),
        ("DATA", Act::Drop, Class::Retry, "broke_off"),
        // Said into the text, and hung up before its end.
        ("DATA", Act::ReplyAndDrop("354 go on\r\n550 enough"), Class::Permanent, "refused"),
        ("DATA", Act::ReplyAndDrop("354 go on\r\n421 later"), Class::Retry, "not_now"),
        ("DATA", Act::ReplyAndDrop("354 go on"), Class::Unknown, "no_answer"),
        (".", Act::Reply("554 spam"), Class::Permanent, "refused"),
        (".", Act::Reply("421 later"), Class::Retry, "not_now"),
        (".", Act::Drop, Class::Unknown, "no_answer"),
        (".", Act::Silence, Class::Unknown, "no_answer"),
    ] {
        let sink = Sink::start(Some((at, act))).await;
        let failure = Failure::from(sink.mailer().send(&mail()).await.unwrap_err());
        assert_eq!((failure.class, failure.code), (class, code), "at {at}: {failure}");
        assert!(!failure.detail.contains("example.com"), "{failure}");
    }
}

#[tokio::test]
async fn nobody_there_is_an_outage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let failure = Failure::from(Mailer::new(&settings(&url, 1)).unwrap().send(&mail()).await.unwrap_err());
    assert_eq!(failure.class, Class::Unavailable(Dependency::Smtp), "{failure}");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_costs_nothing() {
    for goodbye in ["250 queued", "250 queued\r\n421 you were idle"] {
        let sink = Sink::start(Some((".", Act::ReplyAndDrop(goodbye)))).await;
        let mailer = sink.mailer();
        mailer.send(&mail()).await.unwrap();
        mailer.send(&mail()).await.unwrap();
        assert_eq!(sink.mails.lock().unwrap().len(), 2);
        assert_eq!(*sink.connections.lock().unwrap(), 2);
    }
}

#[tokio::test]
async fn a_header_can_t_be_smuggled_in() {
    let sink = Sink::start(None).await;
    let smuggled = "x\r\nBcc: b@example.com".to_owned();
    for mail in [
        Mail { subject: smuggled.clone(), ..mail() },
        Mail { order_number: Some(smuggled.clone()), ..mail() },
        Mail { message_id: smuggled.clone(), ..mail() },
        Mail { to: format!("a@example.com{smuggled}"), ..mail() },
        Mail { to: "a@example.com, b@example.com".into(), ..mail() },
    ] {
        let failure = Failure::from(sink.mailer().send(&mail).await.unwrap_err());
        assert_eq!((failure.class, failure.code), (Class::Permanent, "request_impossible"));
    }
    assert!(sink.mails.lock().unwrap().is_empty());
}

#[test]
fn the_url_says_how_the_server_is_reached() {
    for good in
        ["smtp://127.0.0.1:2525", "smtp://u:p%40ss@mail.example.com?tls=required", "smtps://mail.example.com"]
    {
        assert!(Mailer::new(&settings(good, 1)).is_ok(), "{good}");
    }
    for bad in ["", "mail.example.com:25", "http://x", "smtp://mail.example.com?tls=opportunistic", "smtp://"]
    {
        assert_eq!(Mailer::new(&settings(bad, 1)).unwrap_err().setting, "smtp.url", "{bad}");
    }
    assert_eq!(Mailer::new(&settings("smtp://x", 0)).unwrap_err().setting, "smtp.pool");
}
