//! The load driver: plain HTTP/1.1 over connections that are kept, each request written from parts that were made before.
//!
//! It knows just enough of HTTP to find the end of an answer, so that it costs a fraction of what it drives; its own
//! ceiling is measured beside every figure. In the open loop a latency counts from the moment at which its request was
//! meant to be sent: a server that stalls is charged for those who would have come meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::join_all;
use orderfleet::time::Stopwatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A request that is sent again and again, each time under another key.
#[derive(Clone)]
pub struct Request {
    head: String,
    body: Vec<Part>,
    sign: Option<Sign>,
    answers: &'static str,
}

/// Makes the header lines, whole, that prove who wrote a body.
pub type Sign = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A part of a body.
#[derive(Clone)]
enum Part {
    Text(String),
    /// The key under which it is sent.
    Key,
    /// Its number, in four digits.
    Number,
}

impl Request {
    /// A `POST`. In the body, `{key}` is the key and `{number}` the last four digits of the sending's number. `headers` are
    /// whole lines. An answer must begin with the status `answers`.
    #[must_use]
    pub fn post(path: &str, bearer: &str, headers: &str, body: &str, answers: &'static str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {bearer}\r\n\
             content-type: application/json\r\n{headers}"
        );
        let mut parts = Vec::new();
        for (at, text) in body.split("{key}").enumerate() {
            if at > 0 {
                parts.push(Part::Key);
            }
            for (at, text) in text.split("{number}").enumerate() {
                if at > 0 {
                    parts.push(Part::Number);
                }
                parts.push(Part::Text(text.to_owned()));
            }
        }
        Self { head, body: parts, sign: None, answers }
    }

    /// The same, with each body signed.
    #[must_use]
    pub fn signed(self, sign: Sign) -> Self {
        Self { sign: Some(sign), ..self }
    }

    fn write(&self, key: &str, number: u32, body: &mut String, out: &mut Vec<u8>) {
        body.clear();
        for part in &self.body {
            match part {
                Part::Text(text) => body.push_str(text),
                Part::Key => body.push_str(key),
                Part::Number => body.push_str(&format!("{:04}", number % 1_000)),
            }
        }
        let length = body.len();
        let head = &self.head;
        let proof = self.sign.as_ref().map(|sign| sign(body)).unwrap_or_default();
        out.clear();
        out.extend_from_slice(
            format!("{head}{proof}content-length: {length}\r\nidempotency-key: {key}\r\n\r\n").as_bytes(),
        );
        out.extend_from_slice(body.as_bytes());
    }
}

/// One connection.
pub struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    body: String,
    answer: Vec<u8>,
}

impl Line {
    /// Connects.
    pub async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, out: Vec::new(), body: String::new(), answer: Vec::new() }
    }

    /// Sends once, under this key, and waits for the whole answer: head and body.
    pub async fn ask(&mut self, request: &Request, key: &str, number: u32) -> &str {
        let Self { stream, out, body, answer } = self;
        request.write(key, number, body, out);
        stream.write_all(out).await.unwrap();
        answer.clear();
        loop {
            assert!(stream.read_buf(answer).await.unwrap() > 0, "the server hung up");
            if whole(answer) {
                return std::str::from_utf8(answer).unwrap();
            }
        }
    }

    /// The same, and the answer is the one that is wanted.
    async fn must(&mut self, request: &Request, key: &str, number: u32) {
        let answer = self.ask(request, key, number).await;
        let status = answer.strip_prefix("HTTP/1.1 ").unwrap_or_default();
        assert!(status.starts_with(request.answers), "refused: {answer}");
    }
}

/// Whether an answer is there from its first to its last byte.
fn whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    answer.len() >= end + 4 + length.expect("an answer with a length")
}

/// What a closed loop came to.
pub struct Closed {
    /// Answers a second.
    pub per_second: f64,
    /// From sending to the answer, in milliseconds.
    pub waits_ms: Vec<f64>,
}

/// Everybody sends as soon as answered. `round` is in every key.
pub async fn closed(to: SocketAddr, request: &Request, lines: usize, time: Duration, round: &str) -> Closed {
    let mut open = lines_to(to, lines).await;
    let since = Stopwatch::start();
    let waits = join_all(open.iter_mut().enumerate().map(async |(line, open)| {
        let mut waits = Vec::new();
        let mut number = u32::try_from(line).unwrap().wrapping_mul(7_919);
        while since.elapsed() < time {
            let sent = Stopwatch::start();
            open.must(request, &format!("{round}-{line}-{}", waits.len()), number).await;
            waits.push(sent.elapsed().as_secs_f64() * 1_000.0);
            number = number.wrapping_add(37);
        }
        waits
    }))
    .await
    .concat();
    let answers = f64::from(u32::try_from(waits.len()).unwrap());
    Closed { per_second: answers / since.elapsed().as_secs_f64(), waits_ms: waits }
}

/// So many a second whatever the answers do; answers every latency in milliseconds, from the intended moment.
pub async fn open(
    to: SocketAddr,
    request: &Request,
    (lines, per_second): (usize, f64),
    time: Duration,
    round: &str,
) -> Vec<f64> {
    let mut open = lines_to(to, lines).await;
    let pace = Pace { per_second, lines, time, since: Stopwatch::start() };
    let bells: Arc<[Notify]> = (0..lines).map(|_| Notify::new()).collect();
    let ringer = pace.ring(Arc::clone(&bells));
    let waits = join_all(open.iter_mut().enumerate().map(async |(line, open)| {
        let mut waits = Vec::new();
        for turn in 0.. {
            let Some(meant) = pace.meant(turn, line) else { break };
            // A bell that rang while this line still waited for its answer is out of date: the clock decides.
            while pace.since.elapsed() < meant {
                bells[line].notified().await;
            }
            open.must(request, &format!("{round}-{line}-{turn}"), turn).await;
            waits.push(pace.since.elapsed().saturating_sub(meant).as_secs_f64() * 1_000.0);
        }
        waits
    }))
    .await;
    ringer.join().unwrap();
    waits.concat()
}

/// When each request of an open loop is meant to be sent.
#[derive(Clone, Copy)]
struct Pace {
    per_second: f64,
    lines: usize,
    time: Duration,
    since: Stopwatch,
}

impl Pace {
    /// The moment of a line's turn, counted from the start; none behind the end.
    fn meant(&self, turn: u32, line: usize) -> Option<Duration> {
        let of = |count: usize| f64::from(u32::try_from(count).unwrap());
        let meant = Duration::from_secs_f64((f64::from(turn) * of(self.lines) + of(line)) / self.per_second);
        (meant < self.time).then_some(meant)
    }

    /// Rings for every request at its moment, from a thread of its own: the runtime's timer counts whole milliseconds, so
    /// that a dozen would be sent at once and each be charged for the driver's own lateness.
    fn ring(self, bells: Arc<[Notify]>) -> JoinHandle<()> {
        std::thread::spawn(move || {
            for turn in 0.. {
                for (line, bell) in bells.iter().enumerate() {
                    let Some(meant) = self.meant(turn, line) else { return };
                    std::thread::sleep(meant.saturating_sub(self.since.elapsed()));
                    bell.notify_one();
                }
            }
        })
    }
}

async fn lines_to(to: SocketAddr, lines: usize) -> Vec<Line> {
    join_all((0..lines).map(|_| Line::open(to))).await
}
