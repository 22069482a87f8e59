//! SMTP's lines on a socket: one line, one answer, one message.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// RFC 5321 asks for 512 bytes of a command and 1000 of a text line; long headers come longer than that.
const LONGEST_LINE: u64 = 64 * 1024;

/// One connection.
pub(super) struct Talk(pub(super) BufReader<TcpStream>);

impl Talk {
    /// Says one answer (its lines joined by CRLF).
    pub(super) async fn say(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(format!("{text}\r\n").as_bytes()).await
    }

    /// The next line without its end; `None` when the other side is gone.
    pub(super) async fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut bytes).await?;
        if bytes.last() != Some(&b'\n') {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// A message up to its dot, the stuffed dots taken out; `None` when it is larger than `most`, after all of it was
    /// read, so that the conversation can go on.
    pub(super) async fn message(&mut self, most: usize) -> io::Result<Option<String>> {
        let mut text = String::new();
        let mut size = 0;
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line == "." {
                return Ok((size <= most).then_some(text));
            }
            let line = line.strip_prefix('.').unwrap_or(&line);
            size += line.len() + 2;
            if size <= most {
                text.push_str(line);
                text.push_str("\r\n");
            }
        }
    }
}
