//! The load driver: plain HTTP/1.1 over connections that are kept, each request written from bytes that were made before.
//!
//! It knows just enough of HTTP to find the end of an answer, so that it costs a fraction of what it drives; its own
//! ceiling is measured beside every figure. In the open loop a latency counts from the moment at which its request was
//! meant to be sent: a server that stalls is charged for those who would have come meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use orderfleet::time::Stopwatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request whose key changes with every sending.
#[derive(Clone)]
pub(crate) struct Request {
    before: Vec<u8>,
    after: Vec<u8>,
    answers: &'static [u8],
}

impl Request {
    /// A `POST` with a body, to be answered 202.
    pub(crate) fn post(path: &str, bearer: &str, body: &str) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {bearer}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nidempotency-key: ",
            body.len()
        );
        Self {
            before: head.into_bytes(),
            after: format!("\r\n\r\n{body}").into_bytes(),
            answers: b"HTTP/1.1 202",
        }
    }
}

/// One connection.
struct Line {
    stream: TcpStream,
    request: Request,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl Line {
    async fn open(to: SocketAddr, request: &Request) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, request: request.clone(), out: Vec::new(), answer: Vec::new() }
    }

    /// Sends once, under this key, and waits for the whole answer.
    async fn ask(&mut self, key: &str) {
        let Self { stream, request, out, answer } = self;
        out.clear();
        out.extend_from_slice(&request.before);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&request.after);
        stream.write_all(out).await.unwrap();
        answer.clear();
        loop {
            assert!(stream.read_buf(answer).await.unwrap() > 0, "the server hung up");
            if whole(answer) {
                break;
            }
        }
        let shown = String::from_utf8_lossy(answer);
        assert!(answer.starts_with(request.answers), "refused: {shown}");
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

/// Everybody sends as soon as answered; answers requests a second. `round` is in every key.
pub(crate) async fn closed(
    to: SocketAddr,
    request: &Request,
    lines: usize,
    time: Duration,
    round: &str,
) -> f64 {
    let mut open = lines_to(to, request, lines).await;
    let since = Stopwatch::start();
    let sent = join_all(open.iter_mut().enumerate().map(async |(line, open)| {
        let mut sent = 0_u32;
        while since.elapsed() < time {
            open.ask(&format!("{round}-{line}-{sent}")).await;
            sent += 1;
        }
        sent
    }))
    .await;
    f64::from(sent.iter().sum::<u32>()) / since.elapsed().as_secs_f64()
}

/// So many a second whatever the answers do; answers every latency in milliseconds, from the intended moment.
pub(crate) async fn open(
    to: SocketAddr,
    request: &Request,
    (lines, per_second): (usize, f64),
    time: Duration,
    round: &str,
) -> Vec<f64> {
    let mut open = lines_to(to, request, lines).await;
    let count = f64::from(u32::try_from(lines).unwrap());
    let (since, begin) = (Stopwatch::start(), tokio::time::Instant::now());
    let waits = join_all(open.iter_mut().enumerate().map(async |(line, open)| {
        let mut waits = Vec::new();
        for turn in 0_u32.. {
            let place = f64::from(turn) * count + f64::from(u32::try_from(line).unwrap());
            let meant = Duration::from_secs_f64(place / per_second);
            if meant >= time {
                break;
            }
            tokio::time::sleep_until(begin + meant).await;
            open.ask(&format!("{round}-{line}-{turn}")).await;
            waits.push(since.elapsed().saturating_sub(meant).as_secs_f64() * 1_000.0);
        }
        waits
    }))
    .await;
    waits.concat()
}

async fn lines_to(to: SocketAddr, request: &Request, lines: usize) -> Vec<Line> {
    join_all((0..lines).map(|_| Line::open(to, request))).await
}
