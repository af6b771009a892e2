//! HTTP/1 by hand, for either side: sends bytes as they are given, reads messages as they come.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// One end of a connection.
pub struct Wire<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
}

/// A request or an answer.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first line and the fields, as they came, without the empty line.
    pub head: String,
    /// The body, chunks joined.
    pub body: Vec<u8>,
}

impl Message {
    /// `GET / HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub fn first_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.first_line().split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// All values of a field.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The value of a field that comes once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() <= 1, "{name} comes {} times", values.len());
        values.first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl Wire {
    /// Connects.
    pub async fn to(address: SocketAddr) -> Self {
        // By the blocking call, since it succeeds also where the other side resets at once: that is the next read's to tell.
        let stream = std::net::TcpStream::connect(address).expect("connected");
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(stream)
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Whether all that was read has been used.
    pub fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }

    /// What was read and not used yet.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("sent");
    }

    /// Sends bytes, if the other side still takes them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon("bytes to be taken", async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Says that nothing more is sent.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.expect("shut down");
    }

    /// The same, if the other side is still there.
    pub async fn finish_quietly(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads more into the buffer; how much.
    async fn fill(&mut self) -> io::Result<usize> {
        soon("bytes", self.stream.read_buf(&mut self.buffer)).await
    }

    /// Waits until the other side ends the stream, however it does.
    pub async fn end(&mut self) {
        // What comes until then is of no interest.
        let _ = self.rest().await;
    }

    /// Reads to the end of the stream: what came, and how it ended.
    pub async fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let end = loop {
            match self.fill().await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        (std::mem::take(&mut self.buffer), end)
    }

    /// Reads just so many bytes.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert_ne!(self.fill().await.expect("bytes"), 0, "ended after {} of {count} bytes", self.buffer.len());
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads up to and with `end`.
    pub async fn until(&mut self, end: &str) -> Option<Vec<u8>> {
        loop {
            let found = self.buffer.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            if !matches!(self.fill().await, Ok(1..)) {
                return None;
            }
        }
    }

    /// Reads a head. `None` when the stream ended before it did.
    pub async fn head(&mut self) -> Option<Message> {
        let bytes = self.until("\r\n\r\n").await?;
        let head = String::from_utf8(bytes).expect("a head in text");
        Some(Message { head: head.trim_end_matches("\r\n").to_owned(), body: Vec::new() })
    }

    /// Reads a request or an answer with its body. `None` when the stream ended before.
    pub async fn message(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        let is_answer = message.head.starts_with("HTTP/");
        let bodiless = is_answer && (message.status() < 200 || matches!(message.status(), 204 | 304));
        if message.field("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                if chunk.is_empty() {
                    return Some(message);
                }
                message.body.extend(chunk);
            }
            return None;
        }
        if let Some(length) = message.field("content-length").filter(|_| !bodiless) {
            message.body = self.exactly(length.parse().expect("a length")).await;
        } else if is_answer && !bodiless {
            message.body = self.rest().await.0;
        }
        Some(message)
    }

    /// Reads one chunk of a chunked body; the last one is empty. `None` when the stream ended before.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until("\r\n").await?;
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a chunk's size");
        if size == 0 {
            // The last chunk may be followed by trailers.
            while self.until("\r\n").await? != b"\r\n" {}
            return Some(Vec::new());
        }
        let mut chunk = self.exactly(size + 2).await;
        chunk.truncate(size);
        Some(chunk)
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request).await;
        self.message().await.expect("an answer")
    }

    /// Sends `GET path` for a host and reads the answer.
    pub async fn get(&mut self, host: &str, path: &str) -> Message {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }
}
