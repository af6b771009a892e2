//! HTTP/2 frame by frame, over TLS: a client that follows no rule but the test's. What comes is read all the time.

use std::io;
use std::net::SocketAddr;

use sluice::net::h2_frames::{GOAWAY, HEAD, Head, PREFACE, SETTINGS};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::support::soon;
use crate::support::tls::Client;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame that came.
pub(crate) type Frame = (Head, Vec<u8>);

/// One connection.
pub(crate) struct Raw {
    out: WriteHalf<TlsStream<TcpStream>>,
    frames: mpsc::UnboundedReceiver<Frame>,
    next: u32,
    reading: JoinSet<()>,
}

impl Raw {
    /// Connects with the preface and these settings.
    pub(crate) async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = Client::offering(&["h2"]).connect(address, "a.test").await;
        let (read, out) = tokio::io::split(stream);
        let (sender, frames) = mpsc::unbounded_channel();
        let mut reading = JoinSet::new();
        reading.spawn(read_all(read, sender));
        let mut raw = Self { out, frames, next: 1, reading };
        raw.out.write_all(PREFACE).await.unwrap();
        let settings: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        raw.frame(SETTINGS, 0, 0, &settings).await.unwrap();
        raw.frame(SETTINGS, ACK, 0, &[]).await.unwrap();
        raw
    }

    /// Reads nothing from now on.
    pub(crate) fn deafen(&mut self) {
        self.reading.abort_all();
    }

    /// Sends a frame.
    pub(crate) async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.bytes(&frame(kind, flags, stream, payload)).await
    }

    /// Sends bytes.
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon("bytes to be taken", async {
            self.out.write_all(bytes).await?;
            self.out.flush().await
        })
        .await
    }

    /// The number of the next stream.
    pub(crate) fn stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Sends the head of a request on a new stream.
    pub(crate) async fn request(&mut self, flags: u8, head: &[u8]) -> io::Result<u32> {
        let stream = self.stream();
        self.frame(HEADERS, flags | END_HEADERS, stream, head).await?;
        Ok(stream)
    }

    /// Waits until all that was sent was read, told by a PING. False when the connection has ended.
    pub(crate) async fn settled(&mut self) -> bool {
        self.frame(PING, 0, 0, b"settled?").await.is_ok() && self.until(|head| head.kind == PING).await.is_some()
    }

    /// The next frame, `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        soon("a frame", self.frames.recv()).await
    }

    /// The next frame like that; what comes before it is dropped.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Head) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if wanted(&frame.0) {
                return Some(frame);
            }
        }
    }

    /// Reads to the end of the connection; the code of the last GOAWAY, if there was one.
    pub(crate) async fn ended(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some((head, payload)) = self.next().await {
            if head.kind == GOAWAY {
                code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
        code
    }
}

async fn read_all(mut read: ReadHalf<TlsStream<TcpStream>>, into: mpsc::UnboundedSender<Frame>) {
    let mut head = [0; HEAD];
    while read.read_exact(&mut head).await.is_ok() {
        let head = Head::of(head);
        let mut payload = vec![0; head.length as usize];
        if read.read_exact(&mut payload).await.is_err() || into.send((head, payload)).is_err() {
            return;
        }
    }
}

/// A frame in bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = Head { length: u32::try_from(payload.len()).unwrap(), kind, flags, stream };
    [&head.bytes(), payload].concat()
}

/// The fields of a GET, encoded without tables (RFC 7541 §6.2.2).
pub(crate) fn get(path: &str) -> Vec<u8> {
    request("GET", path)
}

/// The fields of a request without others.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    [(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)]
        .iter()
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

/// One field.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

/// A string without Huffman's code (RFC 7541 §5.2).
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if text.len() < 127 {
        bytes.push(u8::try_from(text.len()).unwrap());
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128 + 128).unwrap());
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).unwrap());
    }
    bytes.extend(text.as_bytes());
    bytes
}
