//! An HTTP/2 client that writes frames by hand, so that it can say what no library would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::soon;
use crate::support::tls::Client;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// How a stream ended.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// With an answer: status and body.
    Answered(u16, String),
    /// By RST_STREAM; the head of an answer came before, or none.
    Reset(Option<u16>),
    /// The whole connection ended.
    Gone,
}

/// A connection.
pub(crate) struct Frames {
    stream: TlsStream<TcpStream>,
    next: u32,
}

impl Frames {
    /// Connects.
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = Client::offering(&["h2"]).connect(address, "a.test").await;
        let mut frames = Self { stream, next: 1 };
        frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.frame(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// Opens a stream with these fields, as they are, and sends `body` on it; then `trailers`, if any.
    pub(crate) async fn ask(&mut self, fields: &[(&str, &[u8])], body: &[&[u8]], trailers: &[(&str, &[u8])]) -> u32 {
        let id = self.next;
        self.next += 2;
        let ends = body.is_empty() && trailers.is_empty();
        self.frame(HEADERS, END_HEADERS | if ends { END_STREAM } else { 0 }, id, &block(fields)).await;
        for (at, data) in body.iter().enumerate() {
            let ends = at + 1 == body.len() && trailers.is_empty();
            self.frame(DATA, if ends { END_STREAM } else { 0 }, id, data).await;
        }
        if !trailers.is_empty() {
            self.frame(HEADERS, END_HEADERS | END_STREAM, id, &block(trailers)).await;
        }
        id
    }

    /// Waits for the end of a stream.
    pub(crate) async fn end(&mut self, stream: u32) -> End {
        let (mut status, mut body) = (None, Vec::new());
        loop {
            let Some((kind, flags, id, payload)) = soon("a frame", self.read()).await else { return End::Gone };
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]).await,
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload).await,
                GOAWAY => return End::Gone,
                RST_STREAM if id == stream => return End::Reset(status),
                HEADERS if id == stream && status.is_none() => status = Some(status_of(&payload)),
                DATA if id == stream => body.extend_from_slice(&payload),
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && id == stream && flags & END_STREAM != 0 {
                return End::Answered(status.unwrap_or_default(), String::from_utf8_lossy(&body).into_owned());
            }
        }
    }

    async fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.write(&bytes).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        // Whether it is taken is seen by what comes back.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }
}

/// Fields in HPACK: each literal, not indexed, not Huffman-coded (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            match u8::try_from(text.len()).unwrap() {
                short @ 0..127 => block.push(short),
                long => block.extend([127, long - 127]),
            }
            block.extend_from_slice(text);
        }
    }
    block
}

/// The status of a block whose first field is one of HPACK's static statuses, or a literal by the static name.
fn status_of(block: &[u8]) -> u16 {
    match block {
        [indexed @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        // A literal with incremental indexing; h2 codes three digits by Huffman only where that is shorter.
        [_, length, rest @ ..] if length & 0x80 == 0 => {
            String::from_utf8_lossy(&rest[..usize::from(*length)]).parse().unwrap_or_default()
        }
        [_, 0x82, a, b, ..] => huffman_digits(u32::from_be_bytes([*a, *b, 0, 0])),
        [_, 0x83, a, b, c, ..] => huffman_digits(u32::from_be_bytes([*a, *b, *c, 0])),
        _ => 0,
    }
}

/// Three digits in Huffman code: 0, 1 and 2 take five bits, the others six (RFC 7541 appendix B).
fn huffman_digits(bits: u32) -> u16 {
    let (mut number, mut at) = (0, 0);
    for _ in 0..3 {
        let five = bits << at >> 27;
        if five < 3 {
            number = number * 10 + five;
            at += 5;
        } else {
            number = number * 10 + (bits << at >> 26) - 0x19 + 3;
            at += 6;
        }
    }
    u16::try_from(number).unwrap()
}
